// rank_modp: exact rank over GF(p) of a batch of integer matrices. a [batch][m][n] row-major, entries in [0, p), p prime < 2^31.
// Division-free elimination (row_i <- pivot row_i - factor row_pivot), one Montgomery reduction per entry. Cost m n min(m, n) / 2 .. 1.
#pragma once
#include "core/parallel.h"
#include "ops/isa.h"

namespace sl {
struct RankModpArgs {
  const int64_t* a;
  int64_t batch;
  int m, n;
  uint32_t p;
  int64_t* rank_out;
  int threads;
};
SL_PER_ISA(void rank_modp(const RankModpArgs&, Control&);)
bool is_prime(uint64_t);
}  // namespace sl
