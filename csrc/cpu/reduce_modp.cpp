// Row reduction mod p with pivots in a given order of columns. See ops/reduce_modp.h.
//
// A row x loses f times the pivot row, f fixed: with f' = floor(f 2^32 / p), the quotient q = floor(f' v / 2^32) of f v by p is too small by
// at most one (Shoup), so f v - q p lies in [0, 2p): two multiplications and no division for an entry. Only the non-zero entries of the
// pivot row are visited.
#include "ops/reduce_modp.h"

#include "core/error.h"
#include "core/scratch.h"

namespace sl {
namespace {

uint64_t power(uint64_t base, uint64_t exponent, uint64_t p) {
  uint64_t out = 1;
  for (; exponent; exponent >>= 1, base = base * base % p)
    if (exponent & 1) out = out * base % p;
  return out;
}

class Reduction {
 public:
  Reduction(const ReduceModpArgs& a, Scratch& scratch)
      : a_(a), place_(take_array<int64_t>(scratch, a.n)), pivot_(take_array<uint32_t>(scratch, a.n)) {}

  // Column e becomes a unit vector; false if it depends on the held columns.
  bool hold(int64_t e) {
    int64_t r = 0;
    while (r < a_.rows && (a_.held[r] >= 0 || at(r)[e] == 0)) ++r;
    if (r == a_.rows) return false;
    scale(r, e);
    for (int64_t i = 0; i < a_.rows; ++i)
      if (i != r && at(i)[e] != 0) subtract(at(i), static_cast<uint64_t>(at(i)[e]));
    a_.held[r] = e;
    a_.row_of[e] = r;
    return true;
  }

 private:
  int64_t* at(int64_t row) const { return a_.table + row * a_.n; }

  // Row r times the inverse of its entry in column e; its non-zero entries are noted.
  void scale(int64_t r, int64_t e) {
    int64_t* row = at(r);
    const uint64_t p = a_.p, inverse = power(static_cast<uint64_t>(row[e]), p - 2, p);
    used_ = 0;
    for (int64_t c = 0; c < a_.n; ++c) {
      if (row[c] == 0) continue;
      const uint64_t v = static_cast<uint64_t>(row[c]) * inverse % p;
      row[c] = static_cast<int64_t>(v);
      place_[used_] = c;
      pivot_[used_++] = static_cast<uint32_t>(v);
    }
  }

  void subtract(int64_t* row, uint64_t f) const {
    const uint64_t p = a_.p, quotient = (f << 32) / p;
    for (int64_t k = 0; k < used_; ++k) {
      const uint64_t v = pivot_[k], less = f * v - (quotient * v >> 32) * p;  // in [0, 2p)
      int64_t x = row[place_[k]] - static_cast<int64_t>(less);  // in (-2p, p)
      x += x >> 63 & static_cast<int64_t>(p);
      x += x >> 63 & static_cast<int64_t>(p);
      row[place_[k]] = x;
    }
  }

  const ReduceModpArgs& a_;
  int64_t* place_;  // columns of the non-zero entries of the pivot row, and these
  uint32_t* pivot_;
  int64_t used_ = 0;
};

}  // namespace

int64_t reduce_modp(const ReduceModpArgs& a, Control& control) {
  Scratch scratch;
  Reduction reduction(a, scratch);
  int64_t found = 0;
  for (int64_t k = 0; k < a.count && found < a.most; ++k) {
    if (a.row_of[a.order[k]] >= 0) continue;
    found += reduction.hold(a.order[k]);
    if (control.should_stop(0)) throw Interrupted();
  }
  return found;
}

}  // namespace sl
