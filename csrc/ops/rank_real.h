// rank_real: numerical rank of a batch of real matrices: singular values above rtol * (largest one).
//   a [batch][m][n] row-major. rank_out int64; certified_out: 1 where the rank is proven to be the singular-value verdict,
//   0 where the caller must ask an SVD. finite_out: 0 where an entry is nan or inf (rank_out is then meaningless).
// Householder QR of the shorter side, after scaling by a power of two, and a proof (method/rank_proof.h). Cost about 2 m n min(m, n).
#pragma once
#include "core/parallel.h"
#include "ops/isa.h"

namespace sl {
template <class T> struct RankRealArgs {
  const T* a;
  int64_t batch;
  int m, n;
  double rtol;
  int64_t* rank_out;
  int8_t* certified_out;
  int8_t* finite_out;
  int threads;
};
SL_PER_ISA(void rank_real(const RankRealArgs<float>&, Control&); void rank_real(const RankRealArgs<double>&, Control&);)
}  // namespace sl
