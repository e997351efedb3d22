// Exact rank over GF(p) of many small matrices, one matrix per 32-bit lane; p = 2 by bits. See ops/rank_modp.h.
// Large matrices, and the few that would leave a pack nearly empty: rank_modp_large.cpp. Arithmetic of the lanes: modp_pack.h.
//
// Division-free elimination, up to three pivots at a time. One pivot a in row r turns a row x with entry t below a into
//   x <- (a x - t r) / R                                            (R = 2^32: one Montgomery reduction of two products),
// so no inverse is ever taken; factors on a whole row do not change the rank. Three such steps with pivots a0, a1, a2 are
//   x <- (A x - t0 s0 - t1 s1 - t2 s2) / R,   A = a0 a1 a2 / R^2,   s0 = r0 a1 a2 / R^2,   s1 = r1 a2 / R,   s2 = r2,
// where t1, t2 are the entries after the earlier steps: four products and one reduction instead of six and three (operands <= p
// < 2^31, so the sum is <= 4 p^2 < 2^64). The t need columns j, j+1, j+2 only: these are eliminated first, one pivot at a time.
//
// All lanes take pivot (j, j) in step j, so that nothing diverges. A lane with 0 there gets a lower row with a non-zero entry in
// column j added to row j; failing that, a later column added to column j; a lane with nothing left is finished: its rank is j, and
// being all zero it takes part in what follows without effect. Both repairs are additions under a mask, no exchange lane by lane.
//
// Layout: entry (i, c) of the pack's matrices at a[i stride + c], one vector; a pack of 64 bytes m n (AVX-512) lies in L1 or L2.
// Cost per vector and three pivots: 12 multiplications and 14 other instructions (one pivot at a time: 8 and 9).
#include "ops/rank_modp.h"

#include "core/scratch.h"
#include "scalar/modp_pack.h"

namespace sl {
namespace SL_ISA {

void rank_modp_large(const RankModpArgs& a, Control& control);  // rank_modp_large.cpp

namespace {

// Largest m n for one matrix per lane: packs of about half a megabyte, which stay in L2. Above, blocks are faster.
constexpr int64_t kLaneEntries = kModLanes == 16 ? 100 * 100 : 144 * 144;
constexpr int64_t kAlwaysLanes = 32 * 32;            // up to here even a nearly empty pack is worth it
constexpr int64_t kMultiplicationsPerItem = 100000;  // vectors of them that one work item should have
constexpr int kPivots = 3;                           // pivots eliminated together

class LanePack {
 public:
  LanePack(int m, int n, uint32_t prime, Scratch& scratch) : m_(m), n_(n), stride_(stride(n)), full_(m < n ? m : n) {
    a_ = static_cast<ModPack*>(scratch.take(sizeof(ModPack) * m * static_cast<size_t>(stride_)));
    pivots_ = static_cast<ModPack*>(scratch.take(sizeof(ModPack) * 2 * kPivots * n));
    const Modulus modulus(prime);
    p_ = every_lane(modulus.p);
    inverse_ = every_lane(modulus.inverse);
  }

  // from[l]: the matrix of lane l.
  void load(const int64_t* const* from) {
    const int entries = m_ * n_;
    if (stride_ == n_) {
      load_run(from, 0, entries, a_);
    } else {
      for (int i = 0; i < m_; ++i) load_run(from, i * n_, n_, a_ + static_cast<size_t>(i) * stride_);
    }
  }

  void eliminate(uint32_t* rank) {
    for (int l = 0; l < kModLanes; ++l) rank[l] = static_cast<uint32_t>(full_);
    live_ = every_lane(~0u);
    for (int j = 0; j < full_;) {
      if (any_bit(without_pivot(j)) && !mend(j, rank)) return;
      const int width = full_ - j < kPivots ? full_ - j : kPivots;
      int k = 1;
      for (; k < width; ++k) {
        clear_column(j + k - 1, j + width);
        if (any_bit(add_rows(j + k, j))) break;  // a lane without a pivot here is mended at the next start
      }
      switch (k) {
        case 1: update<1>(j, j + width); break;
        case 2: update<2>(j, j + width); break;
        default: update<3>(j, j + width);
      }
      j += k;
    }
  }

 private:
  // Rows a multiple of 4 KB apart would share few cache sets.
  static int stride(int n) { return n % 32 == 0 ? n + 1 : n; }
  ModPack* row(int i) { return a_ + static_cast<size_t>(i) * stride_; }

  void load_run(const int64_t* const* from, int at, int count, ModPack* out) {
    int c = 0;
    while (count >= kModLanes && c < count) {
      if (c > count - kModLanes) c = count - kModLanes;  // the last block overlaps the one before
      ModPack block[kModLanes];
#pragma GCC unroll 16
      for (int l = 0; l < kModLanes; ++l) block[l] = narrow(from[l] + at + c);
      transpose(block);
#pragma GCC unroll 16
      for (int l = 0; l < kModLanes; ++l) out[c + l] = block[l];
      c += kModLanes;
    }
    for (; c < count; ++c)
      for (int l = 0; l < kModLanes; ++l) reinterpret_cast<uint32_t*>(out + c)[l] = static_cast<uint32_t>(from[l][at + c]);
  }

  ModPack without_pivot(int j) { return live_ & is_zero(row(j)[j]); }

  // Row j gets, where its entry j is zero, the first lower row with a non-zero one (entries from..). Returns the lanes with none.
  ModPack add_rows(int j, int from) {
    ModPack need = without_pivot(j);
    for (int i = j + 1; i < m_ && any_bit(need); ++i) {
      const ModPack here = need & ~is_zero(row(i)[j]);
      if (!any_bit(here)) continue;
      for (int c = from; c < n_; ++c) row(j)[c] = wrap_down(row(j)[c] + (here & row(i)[c]), p_);
      need &= ~here;
    }
    return need;
  }

  // Gives every lane that has anything left a non-zero entry (j, j); the others are finished with rank j. False if all are.
  __attribute__((noinline)) bool mend(int j, uint32_t* rank) {
    ModPack need = add_rows(j, j);
    if (!any_bit(need)) return true;
    ModPack left = every_lane(0);
    for (int i = j; i < m_; ++i)
      for (int c = j; c < n_; ++c) left |= row(i)[c];
    const ModPack finished = need & is_zero(left);
    alignas(64) uint32_t flags[kModLanes];
    store_pack(flags, finished);
    for (int l = 0; l < kModLanes; ++l)
      if (flags[l]) rank[l] = static_cast<uint32_t>(j);
    live_ &= ~finished;
    need &= ~finished;
    for (int c = j + 1; any_bit(need); ++c) {
      left = every_lane(0);
      for (int i = j; i < m_; ++i) left |= row(i)[c];
      const ModPack here = need & ~is_zero(left);
      if (!any_bit(here)) continue;
      for (int i = j; i < m_; ++i) row(i)[j] = wrap_down(row(i)[j] + (here & row(i)[c]), p_);
      need &= ~here;
    }
    add_rows(j, j);
    return any_bit(live_);
  }

  // t / R mod p, from sums of up to kTerms products in the even and odd lanes.
  template <int kTerms>
  SL_INLINE ModPack reduce(ModWide even, ModWide odds) {
    const ModPack less = high_halves(product(product(even, inverse_), p_), product(product(odds, inverse_), p_));
    ModPack high = high_halves(even, odds);  // < kTerms p / 2
    if (kTerms > 2) high = wrap_down(high, p_);
    return wrap_up(high - less, p_);
  }
  SL_INLINE ModPack times(ModPack x, ModPack y) { return reduce<1>(product(x, y), product(odd(x), odd(y))); }
  SL_INLINE ModPack step(ModPack x, ModPack pivot, ModPack minus_t, ModPack r) {
    return reduce<2>(product(x, pivot) + product(r, minus_t), product(odd(x), odd(pivot)) + product(odd(r), odd(minus_t)));
  }

  // Rows below j: columns j+1 .. to-1 eliminated with pivot (j, j). Column j itself keeps the factors t.
  SL_INLINE void clear_column(int j, int to) {
    const ModPack pivot = row(j)[j];
    for (int i = j + 1; i < m_; ++i) {
      ModPack* x = row(i);
      const ModPack minus_t = p_ - x[j];
      for (int c = j + 1; c < to; ++c) x[c] = step(x[c], pivot, minus_t, row(j)[c]);
    }
  }

  // Columns from.. of the rows below the K pivots j .. j+K-1, whose factors t stand in columns j .. j+K-1.
  template <int K>
  SL_INLINE void update(int j, int from) {
    if (from >= n_) return;
    const ModPack a0 = row(j)[j], a1 = K > 1 ? row(j + 1)[j + 1] : a0, a2 = K > 2 ? row(j + 2)[j + 2] : a0;
    const ModPack a12 = K > 2 ? times(a1, a2) : a1, A = K > 1 ? times(a0, a12) : a0;
    for (int c = from; c < n_; ++c) {
      ModPack s[3];
      s[0] = row(j)[c];
      if (K > 1) s[1] = step(row(j + 1)[c], a0, p_ - row(j + 1)[j], s[0]);
      if (K > 2) s[2] = step(step(row(j + 2)[c], a0, p_ - row(j + 2)[j], s[0]), a1, p_ - row(j + 2)[j + 1], s[1]);
      if (K > 1) s[0] = times(s[0], a12);
      if (K > 2) s[1] = times(s[1], a2);
      for (int k = 0; k < K; ++k) {
        pivots_[(c * K + k) * 2] = s[k];
        pivots_[(c * K + k) * 2 + 1] = odd(s[k]);
      }
    }
    const ModPack A_odd = odd(A);
    for (int i = j + K; i < m_; ++i) {
      ModPack *x = row(i), t[K], t_odd[K];
      for (int k = 0; k < K; ++k) {
        t[k] = p_ - x[j + k];
        t_odd[k] = odd(t[k]);
      }
      for (int c = from; c < n_; ++c) {
        const ModPack* s = pivots_ + c * 2 * K;
        ModWide even = product(x[c], A), odds = product(odd(x[c]), A_odd);
#pragma GCC unroll 3
        for (int k = 0; k < K; ++k) {
          even += product(s[2 * k], t[k]);
          odds += product(s[2 * k + 1], t_odd[k]);
        }
        x[c] = reduce<K + 1>(even, odds);
      }
    }
  }

  const int m_, n_, stride_, full_;
  ModPack *a_, *pivots_, p_, inverse_, live_;
};

// Whether all entries are in [0, p); tells the caller if not. Of a pack this is asked just before it is loaded: one way through memory.
bool inside(const RankModpArgs& a, int64_t first, int64_t count) {
  const int64_t* from = a.a + first * a.m * a.n;
  const int64_t entries = count * a.m * a.n;
  uint64_t outside = 0;  // top bit: some entry is negative or above p - 1
  for (int64_t k = 0; k < entries; ++k) {
    const uint64_t x = static_cast<uint64_t>(from[k]);
    outside |= x | (a.p - 1 - x);
  }
  if (outside >> 63) __atomic_store_n(a.outside, 1, __ATOMIC_RELAXED);
  return outside >> 63 == 0;
}

int64_t packs_per_item(const RankModpArgs& a) {
  const int64_t least = a.m < a.n ? a.m : a.n, packs = kMultiplicationsPerItem / (int64_t{a.m} * a.n * least);
  return packs < 1 ? 1 : packs;
}

void rank_lanes(void* context, int, int64_t item, Control&) {
  const RankModpArgs& a = *static_cast<const RankModpArgs*>(context);
  Scratch scratch;
  LanePack pack(a.m, a.n, a.p, scratch);
  const int64_t per_item = packs_per_item(a), entries = int64_t{a.m} * a.n;
  for (int64_t b = item * per_item * kModLanes; b < (item + 1) * per_item * kModLanes && b < a.batch; b += kModLanes) {
    const int count = a.batch - b < kModLanes ? static_cast<int>(a.batch - b) : kModLanes;
    if (!inside(a, b, count)) return;
    const int64_t* from[kModLanes];
    for (int l = 0; l < kModLanes; ++l) from[l] = a.a + (b + (l < count ? l : 0)) * entries;
    pack.load(from);
    uint32_t rank[kModLanes];
    pack.eliminate(rank);
    for (int l = 0; l < count; ++l) a.rank_out[b + l] = rank[l];
  }
}

// p = 2: 64 entries of a row in a word. Cost m n^2 / 128 operations on words.
constexpr int64_t kEntriesPerItem = 1 << 15;

int rank_of_bits(const int64_t* in, int m, int n, uint64_t* rows, int worker, Control& control) {
  const int words = (n + 63) / 64;
  uint64_t* x = rows;
  for (int i = 0; i < m; ++i)
    for (int from = 0; from < n; from += 64) {
      const int count = n - from < 64 ? n - from : 64;
      uint64_t word = 0;
      for (int c = 0; c < count; ++c) word |= static_cast<uint64_t>(*in++) << c;
      *x++ = word;
    }
  int rank = 0;
  for (int c = 0; c < n && rank < m; ++c) {
    const int w = c / 64;
    const uint64_t bit = uint64_t{1} << (c % 64);
    uint64_t* pivot = rows + static_cast<size_t>(rank) * words;
    int i = rank;
    while (i < m && !(rows[static_cast<size_t>(i) * words + w] & bit)) ++i;
    if (i == m) continue;
    x = rows + static_cast<size_t>(i) * words;
    for (int k = w; i != rank && k < words; ++k) pivot[k] ^= x[k];
    for (i = rank + 1; i < m; ++i) {
      x = rows + static_cast<size_t>(i) * words;
      const uint64_t mask = -(x[w] >> (c % 64) & 1);
      if (mask == 0 && words > 4) continue;  // short rows: cheaper than a branch that goes either way
      for (int k = w; k < words; ++k) x[k] ^= pivot[k] & mask;
    }
    ++rank;
    if (c % 16 == 15 && control.should_stop(worker)) break;
  }
  return rank;
}

int64_t bits_per_item(const RankModpArgs& a) {
  const int64_t matrices = kEntriesPerItem / (int64_t{a.m} * a.n);
  return matrices < 1 ? 1 : matrices;
}

void rank_bits(void* context, int worker, int64_t item, Control& control) {
  const RankModpArgs& a = *static_cast<const RankModpArgs*>(context);
  const size_t bytes = sizeof(uint64_t) * static_cast<size_t>(a.m) * ((a.n + 63) / 64);
  Scratch scratch;
  uint64_t* rows = static_cast<uint64_t*>(scratch.take(bytes));
  const int64_t per_item = bits_per_item(a);
  for (int64_t b = item * per_item; b < (item + 1) * per_item && b < a.batch; ++b)
    a.rank_out[b] = rank_of_bits(a.a + b * a.m * a.n, a.m, a.n, rows, worker, control);
}

}  // namespace

void rank_modp(const RankModpArgs& a, Control& control) {
  if (a.m == 0 || a.n == 0) {
    for (int64_t b = 0; b < a.batch; ++b) a.rank_out[b] = 0;
    return;
  }
  if (a.p == 2) {
    if (!inside(a, 0, a.batch)) return;
    const int64_t per_item = bits_per_item(a);
    return parallel_for((a.batch + per_item - 1) / per_item, a.threads, control, rank_bits, const_cast<RankModpArgs*>(&a));
  }
  const int64_t entries = int64_t{a.m} * a.n, last = a.batch % kModLanes;
  RankModpArgs lanes = a, alone = a;
  if (entries > kLaneEntries) lanes.batch = 0;
  else if (entries > kAlwaysLanes && last < kModLanes / 2) lanes.batch -= last;
  alone.batch -= lanes.batch;
  alone.a += lanes.batch * entries;
  alone.rank_out += lanes.batch;
  if (alone.batch > 0 && !inside(alone, 0, alone.batch)) return;
  const int64_t per_item = packs_per_item(a) * kModLanes;
  if (lanes.batch > 0) parallel_for((lanes.batch + per_item - 1) / per_item, a.threads, control, rank_lanes, &lanes);
  if (alone.batch > 0) rank_modp_large(alone, control);
}

}  // namespace SL_ISA
}  // namespace sl
