// jacobian: out[b][e][k] = d y_e / d theta[index[b][k]]   (D6), equations in C order of y.
//   indices [batch or 1][budget]: ascending flat positions; index_stride 0 where all students share them.
// Cost per student: one forward pass, the adjoint chains, budget columns (see network/recurrent.h, network/feedforward.h).
// jacobian_mod: the same for all weights over GF(p), exactly, relu excepted; entries in [0, p). Linear networks read no hidden_seed; for
// tanh
//   it draws the activities of student b from stream b (see docs/theory.md, exact ranks).
#pragma once
#include "core/parallel.h"
#include "ops/isa.h"
#include "ops/students.h"

namespace sl {
template <class T> struct JacobianArgs {
  Students<T> students;
  const int* indices;
  int64_t index_stride;
  int budget;
  T* out;
  int threads;
};
SL_PER_ISA(void jacobian(const JacobianArgs<float>&, Control&); void jacobian(const JacobianArgs<double>&, Control&);)

struct JacobianModArgs {
  const Shape* shape;
  int64_t batch;
  const int64_t* theta;  // [batch][size], entries in [0, p)
  const int64_t* x;  // [batch][inputs_size]
  uint64_t hidden_seed;
  uint32_t p;  // one of kPrimes (core/primes.h)
  int64_t* out;  // [batch][equations][size]
  int threads;
};
SL_PER_ISA(void jacobian_mod(const JacobianModArgs&, Control&);)
}  // namespace sl
