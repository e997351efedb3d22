// Exact rank over GF(p) of one large matrix at a time, p odd, by blocks of columns. See ops/rank_modp.h and scalar/modp_pack.h.
//
// The columns are cut into blocks of kWidth. Step t: the panel, block t from row r on, is factored as P L U with k <= kWidth pivots;
// then every later block is permuted like it, and with L1 the top k rows of L, L2 the others,
//   S = L1^-1 X1,     X2 <- X2 - L2 S.
// L1^-1 is built row by row with the panel, so that solving is the same kind of product (a substitution one number at a time took
// longer than the whole update of a 128 x 128 matrix).
// That update is nearly all of the work, n^3 / 3 multiplications. A number is reduced once per block, not once per multiplication:
// four products (< 2^62 each) are summed in 64 bits, then the high half of the sum is moved to a second accumulator, leaving room for
// the next four. The total N = high 2^32 + low < 2^68 is reduced twice by Montgomery's rule to N / R^2 mod p; L is kept times R^2.
// Per vector of products: 1 multiplication, 1 addition and 3/4 instruction for carrying over; at 1024 x 1024 that is 85 % of the time.
//
// Layout: a block is stored apart, [rows][kWidth], a row in 3 cache lines, so that no power of two lies between rows. Narrower blocks
// pay more for carrying and reducing, wider ones for the panel: 64 columns cost 20 % more at 128 x 128 and gain 2 % at 1024 x 1024.
// The panel is factored transposed, rows of the matrix in lanes, column by column with the same delayed sums.
// Tiles: kTile rows times one vector of columns in registers; S of the block (20 KB) in L1, L streamed from L2.
//
// Threads: the steps (load block c), (panel t), (update block c with panel t) form one list in which every step only needs earlier ones;
// workers take them in that order and wait for what is missing. Panel t+1 stands directly after the update of its own block, so that
// the others are updated meanwhile.
#include <sched.h>

#include "core/scratch.h"
#include "ops/rank_modp.h"
#include "scalar/modp_pack.h"

namespace sl {
namespace SL_ISA {

void rank_modp_large(const RankModpArgs& a, Control& control);

namespace {

constexpr int kWidth = 48;                       // columns of a block = most pivots of a panel
constexpr int kVectors = kWidth / kModLanes;
constexpr int kGroup = 4;                        // products that fit in 64 bits beside a carried 32-bit rest
#if defined(__AVX512F__)
constexpr int kTile = 4;
#else
constexpr int kTile = 3;
#endif
constexpr int64_t kSharedEntries = 256 * 256;    // from here on one matrix is worth several threads

struct Sum {  // of products; the total is high 2^32 + low, lane by lane
  ModWide low, high;
};

// total / R^2 mod p.
struct Reducer {
  ModPack p, inverse;
  ModWide p64;
  explicit Reducer(const Modulus& m) : p(every_lane(m.p)), inverse(every_lane(m.inverse)), p64(ModWide{} + m.p) {}
  SL_INLINE ModWide twice(Sum s) const {
    const ModWide first = s.high + (s.low >> 32) - (product(product(s.low, inverse), p) >> 32) + p64;  // total / R, > 0 and < 2^37
    return first - product(product(first, inverse), p);  // high half: total / R^2, in (-p, p)
  }
  SL_INLINE ModPack whole(Sum even, Sum odds) const { return wrap_up(high_halves(twice(even), twice(odds)), p); }
};

SL_INLINE void carry(Sum& s) {
  s.high += s.low >> 32;
  s.low &= 0xffffffffu;
}

// x^-1 mod p by Euclid's algorithm.
uint32_t inverse_mod(uint32_t x, uint32_t p) {
  int64_t r = p, s = x, u = 0, v = 1;
  while (s != 0) {
    const int64_t quotient = static_cast<uint32_t>(r) / static_cast<uint32_t>(s);
    int64_t w = r - quotient * s;
    r = s;
    s = w;
    w = u - quotient * v;
    u = v;
    v = w;
  }
  return static_cast<uint32_t>(u < 0 ? u + p : u);
}

// What a step leaves for the updates.
struct Panel {
  int first, pivots, padded;  // first row, number of pivots, the same rounded up to kGroup
  int swapped[kWidth];  // row first + k was exchanged with row first + swapped[k]
  uint32_t inverse[(kWidth + kTile) * kWidth];  // R^2 L1^-1, [tile of rows][kWidth][kTile]
  uint32_t* tiles;  // R^2 L2, [tile of rows][padded][kTile]
};

class Large {
 public:
  Large(const RankModpArgs& a, int64_t item, Scratch& scratch)
      : in_(a.a + item * a.m * a.n), flip_(a.n > a.m), m_(flip_ ? a.n : a.m), n_(flip_ ? a.m : a.n), blocks_(block_count(n_)),
        rows_(padded_rows(m_)), modulus_(a.p), reduce_(modulus_) {
    const uint64_t r = (uint64_t{1} << 32) % a.p, r2 = r * r % a.p;
    r2_ = static_cast<uint32_t>(r2);
    r4_ = static_cast<uint32_t>(r2 * r2 % a.p);
    data_ = static_cast<uint32_t*>(scratch.take(sizeof(uint32_t) * blocks_ * static_cast<size_t>(rows_) * kWidth));
    column_ = static_cast<uint32_t*>(scratch.take(sizeof(uint32_t) * 2 * kWidth * static_cast<size_t>(rows_)));
    factor_ = column_ + kWidth * static_cast<size_t>(rows_);
    inverse_rows_ = static_cast<uint32_t*>(scratch.take(sizeof(uint32_t) * 2 * kWidth * kWidth));
    inverse_columns_ = inverse_rows_ + kWidth * kWidth;
    panel_ = static_cast<Panel*>(scratch.take(sizeof(Panel) * 2));
    for (int k = 0; k < 2; ++k)
      panel_[k].tiles = static_cast<uint32_t*>(scratch.take(sizeof(uint32_t) * kWidth * static_cast<size_t>(rows_)));
    applied_ = static_cast<int*>(scratch.take(sizeof(int) * blocks_));
    updated_ = static_cast<int*>(scratch.take(sizeof(int) * blocks_));
    steps_ = static_cast<Step*>(scratch.take(sizeof(Step) * step_count(n_)));
    plan();
  }
  static int64_t steps(const RankModpArgs& a) { return step_count(a.m < a.n ? a.m : a.n); }
  int rank() const { return rank_; }

  // Step number `index` of the list. False if stopped.
  bool run(int64_t index, int worker, Control& control) {
    const Step s = steps_[index];
    if (s.panel < 0) {
      load(s.block);
      __atomic_store_n(&applied_[s.block], 1, __ATOMIC_RELEASE);
      return !control.should_stop(worker);
    }
    if (s.panel == s.block) {
      // Its block is up to date, and the panel two steps back, whose place it takes, is no longer in use.
      if (!wait(&applied_[s.block], s.panel + 1, worker, control)) return false;
      if (s.panel >= 2 && !wait(&updated_[s.panel - 2], blocks_ - s.panel + 1, worker, control)) return false;
      factor(s.panel, worker, control);
      if (control.stopped()) return false;  // it may be half done
      __atomic_store_n(&factored_, s.panel + 1, __ATOMIC_RELEASE);
    } else {
      if (!wait(&factored_, s.panel + 1, worker, control) || !wait(&applied_[s.block], s.panel + 1, worker, control)) return false;
      update(panel_[s.panel % 2], s.block, worker, control);
      if (control.stopped()) return false;
      __atomic_store_n(&applied_[s.block], s.panel + 2, __ATOMIC_RELEASE);
      __atomic_fetch_add(&updated_[s.panel], 1, __ATOMIC_RELEASE);
    }
    return !control.should_stop(worker);
  }

 private:
  struct Step { int panel, block; };  // panel < 0: load; panel == block: factor; otherwise update `block` with `panel`

  static int64_t step_count(int n) {
    const int64_t blocks = block_count(n);
    return blocks + blocks + blocks * (blocks - 1) / 2;
  }
  static int block_count(int n) { return (n + kWidth - 1) / kWidth; }
  // Room for whole tiles and vectors past the last row, and columns of the panel that are not 4 KB apart.
  static int padded_rows(int m) { return (m + 2 * kModLanes + kTile + 63) / 64 * 64 + 16; }
  uint32_t* block(int c) { return data_ + static_cast<size_t>(c) * rows_ * kWidth; }
  uint32_t* column(int c) { return column_ + static_cast<size_t>(c) * rows_; }
  uint32_t* factor_of(int k) { return factor_ + static_cast<size_t>(k) * rows_; }

  void plan() {
    Step* s = steps_;
    for (int c = 0; c < blocks_; ++c) *s++ = {-1, c};
    *s++ = {0, 0};
    for (int t = 0; t + 1 < blocks_; ++t)
      for (int c = t + 1; c < blocks_; ++c) {
        *s++ = {t, c};
        if (c == t + 1) *s++ = {c, c};
      }
  }

  static bool wait(const int* counter, int value, int worker, Control& control) {
    while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < value) {
      if (control.should_stop(worker)) return false;
      sched_yield();
    }
    return true;
  }

  void load(int c) {
    const int from = c * kWidth, width = n_ - from < kWidth ? n_ - from : kWidth;
    if (flip_) {
      for (int k = 0; k < width; k += kModLanes)
        for (int i = 0; i < m_; i += kModLanes) {
          uint32_t* out = block(c) + static_cast<size_t>(i) * kWidth + k;
          const int64_t* in = in_ + static_cast<int64_t>(from + k) * m_ + i;
          const int lines = width - k < kModLanes ? width - k : kModLanes, length = m_ - i < kModLanes ? m_ - i : kModLanes;
          if (lines == kModLanes && length == kModLanes) {
            ModPack part[kModLanes];
            for (int l = 0; l < kModLanes; ++l) part[l] = narrow(in + static_cast<int64_t>(l) * m_);
            transpose(part);
            for (int l = 0; l < kModLanes; ++l) store_pack(out + l * kWidth, part[l]);
          } else {
            for (int l = 0; l < lines; ++l)
              for (int q = 0; q < length; ++q) out[q * kWidth + l] = static_cast<uint32_t>(in[static_cast<int64_t>(l) * m_ + q]);
          }
        }
      return;
    }
    for (int i = 0; i < m_; ++i) {
      const int64_t* in = in_ + static_cast<int64_t>(i) * n_ + from;
      uint32_t* out = block(c) + static_cast<size_t>(i) * kWidth;
      int k = 0;
      for (; k + kModLanes <= width; k += kModLanes) store_pack(out + k, narrow(in + k));
      for (; k < width; ++k) out[k] = static_cast<uint32_t>(in[k]);
    }
  }

  // ---- the panel ----

  void factor(int t, int worker, Control& control) {
    Panel& panel = panel_[t % 2];
    panel.first = rank_;
    const int rows = m_ - rank_, width = n_ - t * kWidth < kWidth ? n_ - t * kWidth : kWidth;
    const uint32_t* in = block(t) + static_cast<size_t>(rank_) * kWidth;
    for (int i = 0; i < rows; i += kModLanes)
      for (int c = 0; c < width; c += kModLanes) {
        ModPack part[kModLanes];
        for (int l = 0; l < kModLanes; ++l) part[l] = load_pack(in + static_cast<size_t>(i + l) * kWidth + c);
        transpose(part);
        for (int l = 0; l < kModLanes; ++l) store_pack(column(c + l) + i, part[l]);
      }
    int k = 0;
    for (int c = 0; c < width && k < rows; ++c) {
      uint32_t* x = column(c);
      if (c % 16 == 15 && control.should_stop(worker)) return;
      if (k > 0) eliminate_column(x, k, rows);
      int i = k;
      while (i < rows && x[i] == 0) ++i;
      if (i == rows) continue;
      panel.swapped[k] = i;
      if (i != k) {
        for (int later = c; later < width; ++later) exchange(column(later), i, k);
        for (int l = 0; l < k; ++l) exchange(factor_of(l), i, k);
      }
      extend_inverse(k);
      scale(x, factor_of(k), k, rows);
      ++k;
    }
    panel.pivots = k;
    panel.padded = (k + kGroup - 1) / kGroup * kGroup;
    uint32_t* tile = panel.inverse;
    for (int i = 0; i < k; i += kTile)
      for (int l = 0; l < kWidth; ++l)
        for (int q = 0; q < kTile; ++q) *tile++ = l < k && i + q < k ? inverse_columns_[l * kWidth + i + q] : 0;
    tile = panel.tiles;
    for (int i = k; i < rows; i += kTile)
      for (int l = 0; l < panel.padded; ++l)
        for (int q = 0; q < kTile; ++q) *tile++ = l < k && i + q < rows ? factor_of(l)[i + q] : 0;
    rank_ += k;
  }

  static void exchange(uint32_t* x, int i, int j) {
    const uint32_t y = x[i];
    x[i] = x[j];
    x[j] = y;
  }

  // L column: the entries below the pivot over the pivot, times R^2.
  void scale(const uint32_t* x, uint32_t* out, int k, int rows) {
    const uint32_t by = modulus_.reduce(uint64_t{inverse_mod(x[k], modulus_.p)} * r4_);
    const ModPack f = every_lane(by);
    for (int i = k / kModLanes * kModLanes; i < rows; i += kModLanes) {
      const ModPack v = load_pack(x + i);
      const ModWide even = product(v, f), odds = product(odd(v), f);
      const ModPack less =
          high_halves(product(product(even, reduce_.inverse), reduce_.p), product(product(odds, reduce_.inverse), reduce_.p));
      store_pack(out + i, wrap_up(high_halves(even, odds) - less, reduce_.p));
    }
  }

  // (sum over l < count of by[l] from[l stride ..]) / R^2, kPacks vectors.
  template <int kPacks>
  SL_INLINE void combine(const uint32_t* from, size_t stride, const uint32_t* by, int count, ModPack* out) const {
    Sum even[kPacks], odds[kPacks];
    for (int b = 0; b < kPacks; ++b) even[b] = odds[b] = Sum{};
    int l = 0;
    auto add = [&] {
      const ModPack f = every_lane(by[l]);
#pragma GCC unroll 4
      for (int b = 0; b < kPacks; ++b) {
        const ModPack y = load_pack(from + l * stride + b * kModLanes);
        even[b].low += product(y, f);
        odds[b].low += product(odd(y), f);
        hold(even[b].low);
        hold(odds[b].low);
      }
      ++l;
    };
    while (l < count) {
      if (l + kGroup <= count) {
#pragma GCC unroll 4
        for (int g = 0; g < kGroup; ++g) add();
      } else {
        while (l < count) add();
      }
#pragma GCC unroll 4
      for (int b = 0; b < kPacks; ++b) {
        carry(even[b]);
        carry(odds[b]);
      }
    }
    for (int b = 0; b < kPacks; ++b) out[b] = reduce_.whole(even[b], odds[b]);
  }

  // Column x after the k pivots so far: u = L1^-1 (its first k entries), the others minus L2 u.
  void eliminate_column(uint32_t* x, int k, int rows) const {
    alignas(64) uint32_t u[kWidth];
    for (int q = 0; q < k; q += kModLanes) {
      ModPack part;
      combine<1>(inverse_columns_ + q, kWidth, x, k < q + kModLanes ? k : q + kModLanes, &part);
      store_pack(u + q, part);
    }
    constexpr int kPacks = 2;
    for (int i = k / kModLanes * kModLanes; i < rows; i += kPacks * kModLanes) {
      ModPack less[kPacks];
      combine<kPacks>(factor_ + i, rows_, u, k, less);
      for (int b = 0; b < kPacks; ++b) store_pack(x + i + b * kModLanes, wrap_up(load_pack(x + i + b * kModLanes) - less[b], reduce_.p));
    }
  }

  // Row and column k of R^2 L1^-1, from row k of L: row k of L1^-1 is (-(row k of L) L1^-1, 1).
  void extend_inverse(int k) {
    uint32_t by[kWidth], *row = inverse_rows_ + k * kWidth, *column = inverse_columns_ + k * kWidth;
    for (int l = 0; l < k; ++l) by[l] = factor_of(l)[k];
    for (int q = 0; q < kWidth; q += kModLanes) {
      ModPack part{};
      if (q < k) combine<1>(inverse_rows_ + q, kWidth, by, k, &part);
      store_pack(row + q, wrap_up(ModPack{} - part, reduce_.p));
      store_pack(column + q, ModPack{});
    }
    row[k] = column[k] = r2_;
    for (int l = 0; l < k; ++l) inverse_columns_[l * kWidth + k] = row[l];
  }

  // ---- the other blocks ----

  // out[q] = (sum over l < count of factor[l][q] s[l]) / R^2 for a tile of rows q, one vector; count a multiple of kGroup.
  SL_INLINE void tile_products(const uint32_t* factor, const ModPack* s, int count, ModPack* out) const {
    Sum even[kTile], odds[kTile];
    for (int q = 0; q < kTile; ++q) even[q] = odds[q] = Sum{};
    for (int l = 0; l < count; l += kGroup) {
#pragma GCC unroll 4
      for (int g = 0; g < kGroup; ++g) {
        const ModPack s0 = s[2 * (l + g)], s1 = s[2 * (l + g) + 1];
#pragma GCC unroll 4
        for (int q = 0; q < kTile; ++q) {
          const ModPack f = every_lane(factor[(l + g) * kTile + q]);
          even[q].low += product(s0, f);
          odds[q].low += product(s1, f);
          hold(even[q].low);
          hold(odds[q].low);
        }
      }
#pragma GCC unroll 4
      for (int q = 0; q < kTile; ++q) {
        carry(even[q]);
        carry(odds[q]);
      }
    }
#pragma GCC unroll 4
    for (int q = 0; q < kTile; ++q) out[q] = reduce_.whole(even[q], odds[q]);
  }

  void update(const Panel& panel, int c, int worker, Control& control) {
    const int k = panel.pivots, width = n_ - c * kWidth < kWidth ? n_ - c * kWidth : kWidth;
    if (k == 0) return;
    uint32_t* x = block(c) + static_cast<size_t>(panel.first) * kWidth;
    for (int l = 0; l < k; ++l)
      if (panel.swapped[l] != l) {
        uint32_t *a = x + static_cast<size_t>(l) * kWidth, *b = x + static_cast<size_t>(panel.swapped[l]) * kWidth;
        for (int q = 0; q < kWidth; ++q) {
          const uint32_t y = a[q];
          a[q] = b[q];
          b[q] = y;
        }
      }
    const int vectors = (width + kModLanes - 1) / kModLanes, rows = m_ - panel.first;
    // Even lanes as they are, odd lanes moved down; rows k .. padded-1 are zero.
    ModPack top[2 * kWidth], s[kVectors][2 * (kWidth + kTile)], out[kTile];
    for (int v = 0; v < vectors; ++v) {
      for (int l = 0; l < panel.padded; ++l) {
        top[2 * l] = l < k ? load_pack(x + static_cast<size_t>(l) * kWidth + v * kModLanes) : ModPack{};
        top[2 * l + 1] = odd(top[2 * l]);
        s[v][2 * l] = s[v][2 * l + 1] = ModPack{};
      }
      for (int i = 0; i < k; i += kTile) {
        const int count = (i + kTile + kGroup - 1) / kGroup * kGroup;  // L1^-1 is lower triangular
        tile_products(panel.inverse + i * kWidth, top, count < panel.padded ? count : panel.padded, out);
        for (int q = 0; q < kTile; ++q) {
          s[v][2 * (i + q)] = out[q];
          s[v][2 * (i + q) + 1] = odd(out[q]);
        }
      }
    }
    const uint32_t* tile = panel.tiles;
    for (int i = k; i < rows; i += kTile, tile += panel.padded * kTile) {
      if ((i - k) % (kTile << 15) == 0 && control.should_stop(worker)) return;
      for (int v = 0; v < vectors; ++v) {
        uint32_t* to = x + static_cast<size_t>(i) * kWidth + v * kModLanes;
        tile_products(tile, s[v], panel.padded, out);
        for (int q = 0; q < kTile; ++q) store_pack(to + q * kWidth, wrap_up(load_pack(to + q * kWidth) - out[q], reduce_.p));
      }
    }
  }

  const int64_t* in_;
  const bool flip_;  // the shorter side becomes the columns
  const int m_, n_, blocks_, rows_;
  const Modulus modulus_;
  const Reducer reduce_;
  uint32_t r2_, r4_;  // R^2, R^4 mod p
  uint32_t* data_;
  uint32_t *column_, *factor_, *inverse_rows_, *inverse_columns_;  // of the panel at work
  Panel* panel_;
  int *applied_, *updated_;  // per block: 1 + updates done; per panel: blocks updated with it
  int factored_ = 0, rank_ = 0;
  Step* steps_;
};

void rank_whole(void* context, int worker, int64_t item, Control& control) {
  const RankModpArgs& a = *static_cast<const RankModpArgs*>(context);
  Scratch scratch;
  Large matrix(a, item, scratch);
  for (int64_t s = 0; s < Large::steps(a); ++s)
    if (!matrix.run(s, worker, control)) return;
  a.rank_out[item] = matrix.rank();
}

void rank_step(void* context, int worker, int64_t item, Control& control) { static_cast<Large*>(context)->run(item, worker, control); }

}  // namespace

void rank_modp_large(const RankModpArgs& a, Control& control) {
  const int workers = worker_count(INT64_MAX, a.threads);
  if (workers > a.batch && int64_t{a.m} * a.n >= kSharedEntries) {
    for (int64_t b = 0; b < a.batch; ++b) {
      Scratch scratch;
      Large matrix(a, b, scratch);
      parallel_for(Large::steps(a), a.threads, control, rank_step, &matrix);
      a.rank_out[b] = matrix.rank();
    }
  } else {
    parallel_for(a.batch, a.threads, control, rank_whole, const_cast<RankModpArgs*>(&a));
  }
}

}  // namespace SL_ISA
}  // namespace sl
