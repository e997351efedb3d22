// rank_modp: exact rank over GF(p) of a batch of integer matrices. a [batch][m][n] row-major, entries in [0, p), p prime < 2^31.
// On the CPU *outside is set to 1 where an entry is not in [0, p); the ranks are meaningless then.
// Elimination, about m n r - (m + n) r^2 / 2 + r^3 / 3 multiplications at rank r. Small matrices lie side by side in SIMD lanes
// (cpu/rank_modp.cpp), large ones are eliminated in blocks of columns, by several threads (cpu/rank_modp_large.cpp).
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
  int* outside = nullptr;
};
SL_PER_ISA(void rank_modp(const RankModpArgs&, Control&);)
}  // namespace sl
