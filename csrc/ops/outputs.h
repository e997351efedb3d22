// outputs: y[b] = f(theta[b]; x[b])   (D1).   out [batch][equations]. Cost: one forward pass per student.
#pragma once
#include "core/parallel.h"
#include "ops/isa.h"
#include "ops/students.h"

namespace sl {
template <class T> struct OutputsArgs {
  Students<T> students;
  T* out;
  int threads;
};
SL_PER_ISA(void outputs(const OutputsArgs<float>&, Control&); void outputs(const OutputsArgs<double>&, Control&);)

// The same over complex numbers, for complex-step derivatives: outputs at theta + i direction, x real.
struct OutputsComplexArgs {
  const Shape* shape;
  int64_t batch;
  const double* theta;  // [batch][size][2]: real and imaginary parts
  const double* x;      // [batch][inputs_size]
  double* out;          // [batch][equations][2]
  int threads;
};
void outputs_complex(const OutputsComplexArgs&, Control&);

// The same over GF(p), p = kPrimes[0], exactly, for linear networks. Entries in [0, p).
struct OutputsModArgs {
  const Shape* shape;
  int64_t batch;
  const int64_t* theta;  // [batch][size]
  const int64_t* x;      // [batch][inputs_size]
  int64_t* out;          // [batch][equations]
  int threads;
};
void outputs_mod(const OutputsModArgs&, Control&);
}  // namespace sl
