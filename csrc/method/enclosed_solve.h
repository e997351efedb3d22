// enclosed_solve.h: square linear systems M w = b with a proof that M is invertible, and the solution enclosed, in double-double balls.
//
// R is an approximate inverse: float64 where that suffices (condition numbers up to about 1e14), else from an elimination in double-double
// (up to 1e29). If ||I - R M|| < 1 in the row-sum norm, for every matrix within the radii of M, M is invertible. `rest` are the row sums of
// |I - R M|, `norm` the largest; 0.99 is asked for.
// w = R b is refined, w <- w + R (b - M w), with residuals r in double-double, until a step is below 2^-90 of w. As
// w* - w = R r + (I - R M) (w* - w) for the true solution w*, in every entry
//     |w* - w| <= |R r| + rest max |w* - w|,    max |w* - w| <= max |R r| / (1 - norm).
// R r comes from its value in float64, whose error is below (k + 2) u |R| |r|. Radii of M and b are in those of r and of I - R M.
// Cost: k^3 terms of a dot product for the proof (double_double_ball.h), 4 k^2 or so for each right side.
//
// solve_picked: A w = b, A [m][k], for m picked entries of w out of those allowed; the others keep their values. `pick` takes columns by
// greedy pivots (Gram-Schmidt): the longest one left, after the span of those taken is projected out.
#pragma once
#include <cmath>
#include <utility>

#include "core/scratch.h"
#include "scalar/double_double_ball.h"

namespace sl {
namespace SL_ISA {

// chosen [count], ascending: columns of A, entry (r, c) at A[(r * row_stride + c * column_stride)], r < m, c < k. False where fewer are
// allowed. work [m k + k].
inline bool pick(const double* A, int row_stride, int column_stride, int m, int k, const bool* allowed, int count, double* work,
                 int* chosen) {
  int free = 0;
  for (int c = 0; c < k; ++c)
    if (allowed[c]) {
      if (free < count) chosen[free] = c;
      ++free;
    }
  if (free <= count) return free == count;
  double *Q = work, *left = work + static_cast<size_t>(m) * k;  // left: 1 where a column may be taken
  for (int c = 0; c < k; ++c) {
    left[c] = allowed[c];
    for (int r = 0; r < m; ++r) {
      const double v = A[static_cast<size_t>(r) * row_stride + static_cast<size_t>(c) * column_stride];
      Q[r * k + c] = allowed[c] && std::isfinite(v) ? v : 0.0;
    }
  }
  for (int s = 0; s < count; ++s) {
    int best = -1;
    double most = -1;
    for (int c = 0; c < k; ++c) {
      if (left[c] == 0) continue;
      double size = 0;
      for (int r = 0; r < m; ++r) size += Q[r * k + c] * Q[r * k + c];
      if (best < 0 || size > most) best = c, most = size;
    }
    chosen[s] = best;
    left[best] = 0;
    if (s + 1 == count) break;
    const double by = std::sqrt(most > 1e-300 ? most : 1e-300);
    for (int c = 0; c < k; ++c) {
      if (left[c] == 0) continue;
      double along = 0;
      for (int r = 0; r < m; ++r) along += Q[r * k + best] / by * Q[r * k + c];
      for (int r = 0; r < m; ++r) Q[r * k + c] -= Q[r * k + best] / by * along;
    }
  }
  for (int s = 1; s < count; ++s)  // ascending
    for (int j = s; j > 0 && chosen[j] < chosen[j - 1]; --j) std::swap(chosen[j], chosen[j - 1]);
  return true;
}

// One matrix at a time, of at most `most` rows, in memory that is taken once. Rows and columns of M also lie in packs, so that the dot
// products of a row of R with all columns, and those of all rows with w, are taken side by side (k = 5: all in one pack of AVX-512).
class EnclosedSolve {
 public:
  using Ball = DoubleDoubleBall;
  using Lanes = DoubleDoubleLanes;
  using V = Pack<double>;
  static constexpr int kLength = kLanes<double>;
  static size_t packs(size_t k) { return (k + kLength - 1) / kLength; }
  EnclosedSolve(Scratch& scratch, int most) {
    const size_t k = most, q = packs(k);
    M = take_array<Ball>(scratch, k * k);
    wide_ = take_array<Ball>(scratch, k * k);
    table_ = take_array<Ball>(scratch, 2 * k * k);
    R_ = take_array<double>(scratch, k * k);
    by_row_ = take_array<Lanes>(scratch, k * q);
    by_column_ = take_array<Lanes>(scratch, k * q);
    right = take_array<Lanes>(scratch, q);
    w = take_array<Lanes>(scratch, q);
    r_ = take_array<Lanes>(scratch, q);
    for (V** each : {&R_columns_, &U_, &X_}) *each = take_array<V>(scratch, k * q);
    for (V** each : {&rest_, &other_rest_, &step_, &shift_}) *each = take_array<V>(scratch, q);
  }

  Ball* M;  // [k][k]: filled in by the caller, then proven
  bool proven = false;

  bool prove(int k) {
    k_ = k;
    packs_ = static_cast<int>(packs(k));
    is_wide_ = false;
    lay_out();
    invert();
    norm_ = gap(rest_, [&](DotProducts<V>& dot, int r, int j, const Lanes& row) { dot.add(constant<V>(R_[r * k + j]), row); });
    if (!(norm_ < 0.25)) {
      eliminate();
      const double better =
          gap(other_rest_, [&](DotProducts<V>& dot, int r, int j, const Lanes& row) { dot.add(in_all_lanes(wide_[r * k + j]), row); });
      if (better < (norm_ >= 0 ? norm_ : HUGE_VAL)) {
        is_wide_ = true;
        norm_ = better;
        std::swap(rest_, other_rest_);
        for (int e = 0; e < k * k; ++e) R_[e] = wide_[e].hi;
      }
    }
    proven = norm_ < 0.99;
    if (!proven) return false;
    for (int c = 0; c < k; ++c)
      for (int r = 0; r < k; ++r) R_columns_[c * packs_ + r / kLength][r % kLength] = R_[r * k + c];
    return true;
  }

  Lanes *right, *w;  // [packs(k)]: the right side, filled in by the caller, and the solution

  // w with M w = right; NaN where M is not proven invertible. False where an entry has no bound: that, or numbers that overflow.
  bool solve() {
    constexpr int kRefinements = 12;
    const int k = k_, packs = packs_;
    if (!proven) {
      for (int q = 0; q < packs; ++q) w[q] = Lanes(V{} + __builtin_nan(""), V{}, V{} + __builtin_nan(""));
      return false;
    }
    apply(right);
    for (int q = 0; q < packs; ++q) w[q] = Lanes(step_[q]);
    for (int round = 0; round < kRefinements; ++round) {
      for (int q = 0; q < packs; ++q) {  // r = b - M w
        FineDotProducts<V> dot;
        dot.sum = right[q].hi;
        dot.low = right[q].lo;
        for (int c = 0; c < k; ++c) dot.add(-by_column_[c * packs + q], number(w, c));
        r_[q] = dot.value();
      }
      apply(r_);
      for (int q = 0; q < packs; ++q) {
        V s, e;
        two_sum(w[q].hi, step_[q], s, e);
        e += w[q].lo;
        renormalise(s, e);
        w[q].hi = s;
        w[q].lo = e;
      }
      double most = 0, moved = 0;
      for (int r = 0; r < k; ++r) {
        most = larger(most, std::fabs(entry(w, r)));
        moved = larger(moved, std::fabs(entry(step_, r)));
      }
      if (!(moved > 0x1p-90 * most)) break;
    }
    for (int q = 0; q < packs; ++q) {
      DotProducts<V> dot;
      for (int c = 0; c < k; ++c) dot.add(by_column_[c * packs + q], number(w, c));
      r_[q] = right[q] - dot.value(k);
      r_[q].rad += (k + 2) * 0x1p-53 * absolute(r_[q].hi);
    }
    apply(r_);
    double most = 0;
    for (int q = 0; q < packs; ++q) {
      V sum{};
      for (int c = 0; c < k; ++c) sum += absolute(R_columns_[c * packs + q]) * constant<V>(number(r_, c).rad[0]);
      shift_[q] = (absolute(step_[q]) + sum) * round_up(k);
    }
    for (int r = 0; r < k; ++r) most = larger(most, entry(shift_, r));
    most /= 1 - norm_ * kRoundUp;
    for (int q = 0; q < packs; ++q) w[q].rad = (shift_[q] + rest_[q] * most) * kRoundUp + kUnderflow;
    bool bounded = true;
    for (int r = 0; r < k; ++r) bounded &= w[r / kLength].rad[r % kLength] < HUGE_VAL;
    return bounded;
  }
  bool solve(const Ball* b, Ball* to) {  // the same for arrays [k]; b may be `to`
    for (int r = 0; r < k_; ++r) set_lane(right[r / kLength], r % kLength, b[r]);
    const bool bounded = solve();
    for (int r = 0; r < k_; ++r) to[r] = lane_of(w[r / kLength], r % kLength);
    return bounded;
  }

 private:
  Ball *wide_, *table_;
  double* R_;
  Lanes *by_row_, *by_column_, *r_;
  V *R_columns_, *rest_, *other_rest_, *step_, *shift_, *U_, *X_;  // in packs of rows, but U, X: rows in packs of columns
  double norm_ = 0;
  int k_ = 0, packs_ = 0;
  bool is_wide_ = false;

  static double larger(double a, double b) { return b <= a || a != a ? a : b; }  // NaN stays NaN

  static double entry(const V* a, int c) { return reinterpret_cast<const double*>(a)[c]; }
  static double entry(const Lanes* a, int c) { return a[c / kLength].hi[c % kLength]; }
  static Lanes number(const Lanes* a, int c) { return in_all_lanes(lane_of(a[c / kLength], c % kLength)); }

  void lay_out() {
    for (int e = 0; e < k_ * packs_; ++e) by_row_[e] = by_column_[e] = Lanes();
    for (int r = 0; r < k_; ++r)
      for (int c = 0; c < k_; ++c) {
        set_lane(by_row_[r * packs_ + c / kLength], c % kLength, M[r * k_ + c]);
        set_lane(by_column_[c * packs_ + r / kLength], r % kLength, M[r * k_ + c]);
      }
    for (int q = 0; q < packs_; ++q) right[q] = Lanes();
    for (int e = 0; e < k_ * packs_; ++e) R_columns_[e] = V{};
  }

  // Row sums of |I - R M| into sums; the largest of them, NaN if one is. add(dot, r, j, row): row j of M times R_rj.
  template <class Add> double gap(V* sums, const Add& add) {
    double most = 0;
    for (int q = 0; q < packs_; ++q) sums[q] = V{};
    for (int r = 0; r < k_; ++r) {
      double sum = 0;
      for (int q = 0; q < packs_; ++q) {
        DotProducts<V> dot;
        for (int j = 0; j < k_; ++j) add(dot, r, j, by_row_[j * packs_ + q]);
        Lanes one;
        if (r / kLength == q) one.hi[r % kLength] = 1;
        const V size = (one - dot.value(k_)).most();
        for (int l = 0; l < kLength && q * kLength + l < k_; ++l) sum += size[l];
      }
      sum *= round_up(k_);
      sums[r / kLength][r % kLength] = sum;
      most = larger(most, sum);
    }
    return most;
  }

  // step_ = R (hi + lo) of v, rounded: in float64 where R is, in double-double where R is that.
  void apply(const Lanes* v) {
    const int k = k_;
    for (int q = 0; q < packs_; ++q) step_[q] = V{};
    if (is_wide_) {
      for (int r = 0; r < k; ++r) {
        FineDotProduct dot;
        for (int c = 0; c < k; ++c) dot.add(wide_[r * k + c], lane_of(v[c / kLength], c % kLength));
        step_[r / kLength][r % kLength] = dot.value().hi;
      }
      return;
    }
    for (int c = 0; c < k; ++c) {
      const V by = constant<V>(entry(v, c));
      for (int q = 0; q < packs_; ++q) step_[q] += R_columns_[c * packs_ + q] * by;
    }
  }

  // R_ = the inverse of M in float64, by Gaussian elimination with row exchanges and substitution; NaN where M is singular or not finite.
  void invert() {
    const int k = k_, packs = packs_;
    V *U = U_, *X = X_;
    bool good = true;
    for (int r = 0; r < k; ++r)
      for (int q = 0; q < packs; ++q) {
        U[r * packs + q] = by_row_[r * packs + q].hi;
        X[r * packs + q] = V{};
        if (r / kLength == q) X[r * packs + q][r % kLength] = 1;
        for (int l = 0; l < kLength; ++l) good &= std::isfinite(U[r * packs + q][l]);
      }
    for (int c = 0; c < k && good; ++c) {
      int best = c;
      for (int r = c + 1; r < k; ++r)
        if (std::fabs(entry(U + r * packs, c)) > std::fabs(entry(U + best * packs, c))) best = r;
      const double pivot = entry(U + best * packs, c);
      if (!(std::fabs(pivot) > 0)) good = false;
      for (int q = 0; q < packs && best != c; ++q) {
        std::swap(U[c * packs + q], U[best * packs + q]);
        std::swap(X[c * packs + q], X[best * packs + q]);
      }
      for (int r = c + 1; r < k; ++r) subtract(r, c, entry(U + r * packs, c) / pivot);
    }
    for (int r = k - 1; r >= 0; --r) {
      const double by = good ? 1 / entry(U + r * packs, r) : __builtin_nan("");
      for (int c = r + 1; c < k; ++c) {
        const double f = entry(U + r * packs, c);
        for (int q = 0; q < packs; ++q) X[r * packs + q] -= f * X[c * packs + q];
      }
      for (int q = 0; q < packs; ++q) X[r * packs + q] *= by;
      for (int c = 0; c < k; ++c) R_[r * k + c] = entry(X + r * packs, c);
    }
  }
  void subtract(int r, int c, double f) {  // f times row c from row r
    for (int q = 0; q < packs_; ++q) {
      U_[r * packs_ + q] -= f * U_[c * packs_ + q];
      X_[r * packs_ + q] -= f * X_[c * packs_ + q];
    }
  }

  // wide_ = the inverse of M by Gauss-Jordan elimination in double-double, rows of one size (by powers of two) and exchanged for the
  // largest pivot; it claims no radius.
  void eliminate() {
    const int k = k_, w = 2 * k;
    for (int r = 0; r < k; ++r) {
      double most = 1e-300;
      for (int c = 0; c < k; ++c) most = larger(most, std::fabs(M[r * k + c].hi));
      int exponent = 0;
      std::frexp(most, &exponent);
      const double scale = std::ldexp(1.0, 1 - exponent);
      for (int c = 0; c < k; ++c) {
        table_[r * w + c] = Ball(M[r * k + c].hi * scale, M[r * k + c].lo * scale);
        table_[r * w + k + c] = Ball(r == c ? scale : 0.0);
      }
    }
    for (int j = 0; j < k; ++j) {
      int best = j;
      for (int r = j + 1; r < k; ++r)
        if (std::fabs(table_[r * w + j].hi) > std::fabs(table_[best * w + j].hi)) best = r;
      if (best != j)
        for (int c = 0; c < w; ++c) std::swap(table_[j * w + c], table_[best * w + c]);
      const Ball pivot = table_[j * w + j];
      for (int c = 0; c < w; ++c) table_[j * w + c] = quotient(table_[j * w + c], pivot);
      for (int r = 0; r < k; ++r) {
        if (r == j) continue;
        const Ball factor = table_[r * w + j];
        for (int c = 0; c < w; ++c) table_[r * w + c] = plain(table_[r * w + c] - factor * table_[j * w + c]);
      }
    }
    for (int r = 0; r < k; ++r)
      for (int c = 0; c < k; ++c) wide_[r * k + c] = table_[r * w + k + c];
  }
  static Ball plain(const Ball& a) { return {a.hi, a.lo}; }
  // a / b to about 2^-100, without a radius.
  static Ball quotient(const Ball& a, const Ball& b) {
    const double q = a.hi / b.hi;
    Ball r = a - b * Ball(q);
    const double q2 = r.hi / b.hi;
    r = r - b * Ball(q2);
    return plain(Ball(q) + Ball(q2) + Ball(r.hi / b.hi));
  }
};

// Systems A w = right with at most m equations and k unknowns, of which m are picked: `load` A once, `solve` for several right sides.
class PickedSolve {
 public:
  using Ball = DoubleDoubleBall;
  using Lanes = DoubleDoubleLanes;
  using V = Pack<double>;
  PickedSolve(Scratch& scratch, int m, int k) : system_(scratch, m) {
    work_ = take_array<double>(scratch, static_cast<size_t>(m) * k + k);
    columns_ = take_array<Lanes>(scratch, k * EnclosedSolve::packs(m));
    index_ = take_array<int>(scratch, m);
  }

  void load(const Ball* A, int m, int k) {  // A [m][k] stays where it is
    A_ = A;
    m_ = m;
    k_ = k;
    packs_ = static_cast<int>(EnclosedSolve::packs(m));
    for (int c = 0; c < k; ++c)
      for (int r = 0; r < m; ++r) set_lane(columns_[c * packs_ + r / kLength], r % kLength, A[r * k + c]);
  }

  // w [k], in place: m picked entries out of the allowed ones are replaced. right(r): the right sides.
  // False, and w as it was, where the picked columns are not proven invertible, or the solution has no bound.
  template <class Right> bool solve(const Right& right, const bool* allowed, Ball* w) {
    const int m = m_, k = k_;
    if (!pick(&A_[0].hi, 3 * k, 3, m, k, allowed, m, work_, index_)) return false;
    for (int r = 0; r < m; ++r)
      for (int c = 0; c < m; ++c) system_.M[r * m + c] = A_[r * k + index_[c]];
    if (!system_.prove(m)) return false;
    for (int r = 0; r < m; ++r) set_lane(system_.right[r / kLength], r % kLength, right(r));
    for (int q = 0; q < packs_ && k > m; ++q) {
      DotProducts<V> dot;
      for (int c = 0, next = 0; c < k; ++c) {
        if (next < m && index_[next] == c) ++next;
        else dot.add(columns_[c * packs_ + q], in_all_lanes(w[c]));
      }
      system_.right[q] = system_.right[q] - dot.value(k - m);
    }
    if (!system_.solve()) return false;
    for (int c = 0; c < m; ++c) w[index_[c]] = lane_of(system_.w[c / kLength], c % kLength);
    return true;
  }

 private:
  static constexpr int kLength = EnclosedSolve::kLength;
  EnclosedSolve system_;
  const Ball* A_ = nullptr;
  int m_ = 0, k_ = 0, packs_ = 0;
  double* work_;
  Lanes* columns_;
  int* index_;
};

}  // namespace SL_ISA
}  // namespace sl
