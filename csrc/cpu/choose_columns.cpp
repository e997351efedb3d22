// Columns of a Jacobian chosen one at a time. See ops/choose_columns.h.
//
// One matrix at a time, SIMD lanes along its columns: the candidates are copied into blocks of up to 8 packs of columns, [block][row][packs],
// so that each pass reads memory in order. The remainders R_j are never formed. With u the unit vector of what was left of the column just
// taken, one pass gives w_j = a_j . u for all columns (= R_j . u), and
//   |R_j|^2 -= w_j^2,   R_j . y -= w_j (u . y),   y -= (u . y) u.
// What such downdates lose: a column whose |R_j|^2 fell below 1e-8 of what it was when last measured is measured anew, from a_j and the vectors
// u taken so far; so are all R_j . y when |y|^2 has fallen below 1e-6 of what it was when they were. u itself is a_k less its projection on the
// earlier ones, twice where little is left (Gram and Schmidt; twice is enough).
//
// Lengths whose squares, or products of these, overflow or underflow: columns are then scaled by powers of two, which only `pivot` and the
// guard must know (`weight`, beside the longest column left; one shorter than 2^-470 of it counts as that long).
// Cost per column taken: m p + 4 m t multiply-adds at step t, p divisions; 60 x 200 stay in L2.
#include "ops/choose_columns.h"

#include <cmath>

#include "core/scratch.h"
#include "cpu/rank_real_proof.h"
#include "scalar/across_lanes.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr double kTaken2 = 1e-20;  // (1e-10)^2: squared remainder over squared length of a column that is still worth taking
constexpr double kMeasure = 1e-8, kMeasureAll = 1e-6;
constexpr double kOnce = 0.1;  // of a_k so much is left of u: what rounding left of the earlier vectors is as small, and once is enough
constexpr double kLeast = 1e-100, kMost = 1e100;  // squared lengths whose products, times kTaken2 and what is left of y, stay in range
constexpr int kClamp = 470;

class Greedy {
  using S = Pack<double>;
  using M = PackMask<double>;
  static constexpr int L = kLanes<double>;

 public:
  // Room for matrices [m][p] and `budget` columns.
  Greedy(int m, int p, int budget, Scratch& scratch) : m_(m), p_(p), rows_((m + L - 1) / L * L) {
    const int most = budget < m ? budget : m, packs = (p + L - 1) / L;
    a_ = take_array<S>(scratch, static_cast<size_t>(m) * packs);
    left_ = take_array<S>(scratch, packs);
    start_ = take_array<S>(scratch, packs);
    own_ = take_array<S>(scratch, packs);
    along_ = take_array<S>(scratch, packs);
    weight_ = take_array<S>(scratch, packs);
    q_ = take_array<double>(scratch, static_cast<size_t>(most) * rows_);
    y_ = take_array<double>(scratch, rows_);
    column_ = take_array<double>(scratch, rows_);
    dots_ = take_array<double>(scratch, most + 4);
    number_ = take_array<int>(scratch, p);
    place_ = take_array<int>(scratch, p);
    shift_ = take_array<int>(scratch, p);
  }

  template <class T>
  void run(const ChooseColumnsArgs<T>& args, int64_t b) {
    args.finite_out[b] = load(args, b);
    if (!args.finite_out[b]) return;
    int64_t* const out = args.indices_out + b * args.budget;
    T* const residuals = args.residuals_out + b * args.budget;
    int count = 0;
    const auto took = [&](int number) {
      out[count] = number;
      residuals[count++] = static_cast<T>(std::ldexp(left_of_y_, 2 * shift_of_y_));
    };
    const int* given = args.given + b * args.given_stride;
    for (int k = 0; k < args.given_count && count < args.budget; ++k)
      if (given[k] >= 0) {
        take(place_[given[k]]);
        took(given[k]);
      }
    const double noise = static_cast<double>(machine_eps<T>()) * m_, nothing = noise * noise * left_of_y_at_start_;
    while (count < args.budget) {
      const int best = next(left_of_y_ > nothing ? args.rule : ColumnRule::pivot, args.guard);
      if (best < 0) break;
      if (take(best)) took(number_[best]);
    }
    while (count < args.budget) took(-1);
  }

 private:
  // Blocks of 8 packs of columns, then of 4, 2 and 1, as many as there are: [block][row][packs of the block].
  struct Block { int first, width; };
  Block block_of(int pack) const {
    const int whole = packs_ & ~7;
    if (pack < whole) return {pack & ~7, 8};
    int first = whole;
    for (int width = 4;; width /= 2) {
      if (!(packs_ & width)) continue;
      if (pack < first + width) return {first, width};
      first += width;
    }
  }
  S* at(Block block, int row) const { return a_ + static_cast<size_t>(block.first) * m_ + static_cast<size_t>(row) * block.width; }
  double* column(int j, int* step) const {
    const Block block = block_of(j / L);
    *step = block.width * L;
    return reinterpret_cast<double*>(at(block, 0) + (j / L - block.first)) + j % L;
  }
  static double& lane(S* table, int j) { return reinterpret_cast<double*>(table)[j]; }

  // use(pack, sum over rows i of term(i, entries of row i)) for every pack. Rows in one order for all columns: equal columns have equal sums.
  template <int W, class Term, class Use>
  SL_INLINE void sums_of_block(int first, Term& term, Use& use) const {
    const S* a = at({first, W}, 0);
    S sum[W]{};
    for (int i = 0; i < m_; ++i)
#pragma GCC unroll 8
      for (int c = 0; c < W; ++c) sum[c] = term(i, a[i * W + c], sum[c]);
#pragma GCC unroll 8
    for (int c = 0; c < W; ++c) use(first + c, sum[c]);
  }
  template <class Term, class Use>
  SL_INLINE void sums(Term&& term, Use&& use) const {
    int first = 0;
    for (; first + 8 <= packs_; first += 8) sums_of_block<8>(first, term, use);
    if (packs_ & 4) sums_of_block<4>(first, term, use), first += 4;
    if (packs_ & 2) sums_of_block<2>(first, term, use), first += 2;
    if (packs_ & 1) sums_of_block<1>(first, term, use);
  }
  // use(pack, v . a_j for the columns of a pack).
  template <class Use>
  void products(const double* v, Use&& use) const {
    sums([&](int i, S x, S sum) { return sum + x * constant<S>(v[i]); }, use);
  }

  S pack_at(const double* x) const {
    S s;
    __builtin_memcpy(&s, x, sizeof s);
    return s;
  }
  S dot_in_lanes(const double* x, const double* y) const {
    S sum{};
    for (int i = 0; i < rows_; i += L) sum += pack_at(x + i) * pack_at(y + i);
    return sum;
  }
  double dot(const double* x, const double* y) const { return total_of<S>(dot_in_lanes(x, y)); }

  // Takes from v its projection on the vectors taken so far.
  void reduce(double* v) const {
    const auto vector = [&](int t) { return q_ + static_cast<size_t>(t < taken_ ? t : taken_ - 1) * rows_; };
    for (int t = 0; t < taken_; t += 4)
      totals_of<S>(dot_in_lanes(vector(t), v), dot_in_lanes(vector(t + 1), v), dot_in_lanes(vector(t + 2), v),
                   dot_in_lanes(vector(t + 3), v), dots_ + t);
    for (int t = 0; t < taken_; ++t) {
      const double* q = vector(t);
      for (int i = 0; i < rows_; ++i) v[i] -= dots_[t] * q[i];
    }
  }

  // What is left of column j, measured: its length and its product with y.
  void measure(int j) {
    int step;
    const double* from = column(j, &step);
    for (int i = 0; i < m_; ++i) column_[i] = from[static_cast<int64_t>(i) * step];
    reduce(column_);
    double length2 = dot(column_, column_);
    if (!(length2 > kTaken2 * lane(own_, j))) length2 = 0;
    lane(left_, j) = lane(start_, j) = length2;
    lane(along_, j) = dot(column_, y_);
  }

  // Takes column j; false, and it is never met again, where it depends on those taken.
  bool take(int j) {
    int step;
    const double* from = column(j, &step);
    for (int i = 0; i < m_; ++i) column_[i] = from[static_cast<int64_t>(i) * step];
    reduce(column_);
    double length2 = dot(column_, column_);
    if (!(length2 > kOnce * lane(own_, j))) {
      reduce(column_);
      length2 = dot(column_, column_);
    }
    lane(left_, j) = lane(start_, j) = 0;
    if (taken_ == m_ || !(length2 > kTaken2 * lane(own_, j))) return false;
    double* const u = q_ + static_cast<size_t>(taken_) * rows_;
    const double inverse = 1 / std::sqrt(length2);
    for (int i = 0; i < rows_; ++i) u[i] = column_[i] * inverse;
    ++taken_;
    const double along = dot(u, y_);
    for (int i = 0; i < rows_; ++i) y_[i] -= along * u[i];
    left_of_y_ = dot(y_, y_);
    M low{};
    products(u, [&](int c, S w) {
      const S left = left_[c] - w * w;
      left_[c] = left;
      along_[c] -= w * constant<S>(along);
      low = low | (left < start_[c] * kMeasure);
    });
    if (any<M>(low))
      for (int other = 0; other < columns_; ++other)
        if (lane(start_, other) > 0 && lane(left_, other) < kMeasure * lane(start_, other)) measure(other);
    if (left_of_y_ < kMeasureAll * y_at_measure_) {
      reduce(y_);  // what rounding left of y along the u would meet whole columns, not what is left of them
      left_of_y_ = dot(y_, y_);
      products(y_, [&](int c, S w) { along_[c] = w; });
      y_at_measure_ = left_of_y_;
    }
    return true;
  }

  // The column to be taken next, -1: none is left.
  int next(ColumnRule rule, double guard) {
    if (scaled_) weigh();
    const S none = constant<S>(-1.0), floor = constant<S>(kTaken2);
    S longest{};
    for (int c = 0; guard > 0 && c < packs_; ++c) {
      const S size = left_[c] > floor * own_[c] ? left_[c] * weight_[c] : S{};
      longest = size > longest ? size : longest;
    }
    double most = 0;
    for (int l = 0; l < L; ++l) most = longest[l] > most ? longest[l] : most;
    const S least = constant<S>(guard * most);
    S best = none;
    M where{};
    for (int c = 0; c < packs_; ++c) {
      const S left = left_[c], size = left * weight_[c], along = along_[c];
      const M open = (left > floor * own_[c]) & (size >= least);
      const S under = open ? (rule == ColumnRule::ols ? left : own_[c]) : constant<S>(1.0);
      const S score = open ? (rule == ColumnRule::pivot ? size : along * along / under) : none;
      const M better = score > best;
      best = better ? score : best;
      where = better ? lanes_at<double>(c) : where;
    }
    int found = -1;
    for (int l = 0; l < L; ++l) {
      const int j = static_cast<int>(where[l]) * L + l;
      if (best[l] >= 0 && (found < 0 || best[l] > best[found % L] || (best[l] == best[found % L] && j < found))) found = j;
    }
    return found;
  }

  // The matrix and g of one member of the batch; false where they are not finite.
  template <class T>
  bool load(const ChooseColumnsArgs<T>& args, int64_t b) {
    columns_ = taken_ = shift_of_y_ = 0;
    list_columns(args, b);
    packs_ = (columns_ + L - 1) / L;
    const T* a = args.a + b * args.a_stride;
    for (int pack = 0; pack < packs_;) {
      const Block block = block_of(pack);
      const int first = block.first * L, count = block.width * L, there = columns_ - first < count ? columns_ - first : count;
      for (int i = 0; i < m_; ++i) {
        double* to = reinterpret_cast<double*>(at(block, i));
        const T* from = a + static_cast<int64_t>(i) * p_;
        if (columns_ == p_)
          for (int j = 0; j < there; ++j) to[j] = static_cast<double>(from[first + j]);
        else
          for (int j = 0; j < there; ++j) to[j] = static_cast<double>(from[number_[first + j]]);
        for (int j = there; j < count; ++j) to[j] = 0;
      }
      pack += block.width;
    }
    const T* g = args.g + b * args.g_stride;
    for (int i = 0; i < m_; ++i) y_[i] = static_cast<double>(g[i]);
    for (int c = 0; c < packs_; ++c) weight_[c] = constant<S>(1.0);
    measure_all();
    bool all = ordinary(left_of_y_, y_, 1);
    for (int j = 0; j < columns_ && all; ++j) {
      int step;
      const double* x = column(j, &step);
      all = ordinary(lane(own_, j), x, step);
    }
    scaled_ = !all;
    if (scaled_) {
      if (!scale()) return false;
      measure_all();
    }
    left_of_y_at_start_ = left_of_y_;
    return true;
  }

  // Which columns take part: the candidates and those given, ascending.
  template <class T>
  void list_columns(const ChooseColumnsArgs<T>& args, int64_t b) {
    const bool* candidate = args.candidates ? args.candidates + b * args.candidates_stride : nullptr;
    for (int j = 0; j < p_; ++j) place_[j] = !candidate || candidate[j];
    const int* given = args.given + b * args.given_stride;
    for (int k = 0; k < args.given_count; ++k)
      if (given[k] >= 0) place_[given[k]] = 1;
    for (int j = 0; j < p_; ++j)
      if (place_[j]) {
        place_[j] = columns_;
        number_[columns_++] = j;
      }
  }

  void measure_all() {
    sums([](int, S x, S sum) { return sum + x * x; }, [&](int c, S n2) { own_[c] = left_[c] = start_[c] = n2; });
    products(y_, [&](int c, S w) { along_[c] = w; });
    left_of_y_ = y_at_measure_ = dot(y_, y_);
  }

  // Of numbers x[0], x[step], .. whose squares add up to n2. Zeros are, numbers that are not but whose squares are 0 are not.
  bool ordinary(double n2, const double* x, int step) const {
    for (int i = 0; n2 == 0 && i < m_; ++i)
      if (x[static_cast<int64_t>(i) * step] != 0) return false;
    return n2 == 0 || (n2 > kLeast && n2 < kMost);
  }

  // Brings the largest number of every column, and of y, near 1; false where not all is finite.
  bool scale() {
    for (int j = 0; j < columns_; ++j) {
      int step;
      double* x = column(j, &step);
      if (!bring_to_one(x, step, &shift_[j])) return false;
    }
    return bring_to_one(y_, 1, &shift_of_y_);
  }
  // Units of columns that were scaled, squared, beside that of the longest column that may still be taken.
  void weigh() {
    int highest = -kFar;
    for (int j = 0; j < columns_; ++j)
      if (lane(left_, j) > kTaken2 * lane(own_, j) && shift_[j] > highest) highest = shift_[j];
    for (int j = 0; j < columns_; ++j) {
      const int units = shift_[j] - highest;
      lane(weight_, j) = std::ldexp(1.0, 2 * (units < -kClamp ? -kClamp : units > 0 ? 0 : units));
    }
  }
  bool bring_to_one(double* x, int step, int* shift) const {
    double most = 0;
    for (int i = 0; i < m_; ++i) {
      const double size = std::fabs(x[static_cast<int64_t>(i) * step]);
      if (!(size <= DBL_MAX)) return false;
      most = size > most ? size : most;
    }
    *shift = 0;
    if (most == 0) return true;
    std::frexp(most, shift);
    for (int i = 0; i < m_; ++i) x[static_cast<int64_t>(i) * step] = std::ldexp(x[static_cast<int64_t>(i) * step], -*shift);
    return true;
  }
  static constexpr int kFar = 1 << 20;

  const int m_, p_, rows_;  // rows_: m rounded up to whole packs, zeros behind m
  S *a_, *left_, *start_, *own_, *along_, *weight_;  // of each column: |R_j|^2, the same when last measured, |a_j|^2, R_j . y, units^2
  double *q_, *y_, *column_, *dots_;  // the vectors u taken [t][rows], what is left of g, working memory
  int *number_, *place_, *shift_;  // place -> column, column -> place, powers of two
  int columns_ = 0, packs_ = 0, taken_ = 0, shift_of_y_ = 0;
  bool scaled_ = false;
  double left_of_y_ = 0, left_of_y_at_start_ = 0, y_at_measure_ = 0;
};

template <class T>
struct Work {
  const ChooseColumnsArgs<T>* args;
  int64_t next;
};

template <class T>
void choose(void* context, int worker, int64_t, Control& control) {
  Work<T>& work = *static_cast<Work<T>*>(context);
  const ChooseColumnsArgs<T>& args = *work.args;
  Scratch scratch;
  Greedy greedy(args.m, args.p, args.budget, scratch);
  const auto take = [&] { return __atomic_fetch_add(&work.next, 1, __ATOMIC_RELAXED); };
  for (int64_t b = take(); b < args.batch && !control.should_stop(worker); b = take()) greedy.run(args, b);
}

template <class T>
void choose_batch(const ChooseColumnsArgs<T>& a, Control& control) {
  Work<T> work{&a, 0};
  const int workers = worker_count(a.batch, a.threads);
  parallel_for(workers, workers, control, choose<T>, &work);
}

}  // namespace

void choose_columns(const ChooseColumnsArgs<float>& a, Control& c) { choose_batch(a, c); }
void choose_columns(const ChooseColumnsArgs<double>& a, Control& c) { choose_batch(a, c); }

}  // namespace SL_ISA
}  // namespace sl
