// Exact rank over GF(p), one matrix at a time, vector lanes along a row. See ops/rank_modp.h.
//
// Division-free elimination: row_i <- pivot row_i - f_i row_pivot, so no modular inverse is ever taken. Each new entry is one
// Montgomery reduction of a sum of two products: with R = 2^32 and q = -p^-1 mod R, t = v pivot + b (p - f) < 2 p^2 < 2^63,
// (t + p (t q mod R)) / R = t / R (mod p) and < 2p. The factor 1 / R scales whole rows and does not change a rank.
// p = 2 has no Montgomery form and takes the same elimination with xor.
#include "ops/rank_modp.h"

#include <cstring>

#include "core/hostdev.h"
#include "core/scratch.h"

#ifndef SL_ISA
#define SL_ISA base
#endif

namespace sl {
namespace SL_ISA {
namespace {

SL_INLINE void eliminate_row(uint32_t* x, const uint32_t* b, uint32_t pivot, uint32_t minus_f, int from, int to, uint32_t p,
                             uint32_t q) {
  for (int c = from; c < to; ++c) {
    const uint64_t t = uint64_t{x[c]} * pivot + uint64_t{b[c]} * minus_f;
    const uint32_t m = static_cast<uint32_t>(t) * q;
    const uint32_t y = static_cast<uint32_t>((t + uint64_t{m} * p) >> 32);
    const uint32_t z = y - p;
    x[c] = y < z ? y : z;  // y - p wraps to a huge number when y < p
  }
}

void rank_one(void* context, int worker, int64_t item, Control& control) {
  const RankModpArgs& a = *static_cast<const RankModpArgs*>(context);
  // The shorter side becomes the rows: elimination stops as soon as they are used up.
  const bool flip = a.m > a.n;
  const int rows = flip ? a.n : a.m, columns = flip ? a.m : a.n, stride = (columns + 15) / 16 * 16;
  Scratch scratch(sizeof(uint32_t) * static_cast<size_t>(rows) * stride + sizeof(uint32_t*) * rows + 128);
  uint32_t* data = static_cast<uint32_t*>(scratch.take(sizeof(uint32_t) * static_cast<size_t>(rows) * stride));
  uint32_t** row = static_cast<uint32_t**>(scratch.take(sizeof(uint32_t*) * rows));
  const int64_t* in = a.a + item * a.m * a.n;
  for (int i = 0; i < rows; ++i) {
    row[i] = data + static_cast<size_t>(i) * stride;
    for (int c = 0; c < columns; ++c) row[i][c] = static_cast<uint32_t>(flip ? in[static_cast<int64_t>(c) * a.n + i] : in[static_cast<int64_t>(i) * a.n + c]);
  }
  const uint32_t p = a.p;
  uint32_t inverse = p;  // p^-1 mod 2^32 by Newton's iteration (odd p)
  for (int k = 0; k < 5; ++k) inverse *= 2 - p * inverse;
  const uint32_t q = -inverse;
  int rank = 0;
  for (int c = 0; c < columns && rank < rows; ++c) {
    int i = rank;
    while (i < rows && row[i][c] == 0) ++i;
    if (i == rows) continue;
    uint32_t* swap = row[i];
    row[i] = row[rank];
    row[rank] = swap;
    const uint32_t* b = row[rank];
    const uint32_t pivot = b[c];
    const int from = c / 16 * 16;
    for (i = rank + 1; i < rows; ++i) {
      const uint32_t f = row[i][c];
      if (f == 0) continue;
      if (p == 2) {
        for (int k = from; k < stride; ++k) row[i][k] ^= b[k];
      } else {
        eliminate_row(row[i], b, pivot, p - f, from, stride, p, q);
        row[i][c] = 0;
      }
    }
    ++rank;
    if ((c & 63) == 63 && control.should_stop(worker)) break;
  }
  a.rank_out[item] = rank;
}

}  // namespace

void rank_modp(const RankModpArgs& a, Control& control) {
  parallel_for(a.batch, a.threads, control, rank_one, const_cast<RankModpArgs*>(&a));
}

}  // namespace SL_ISA
}  // namespace sl
