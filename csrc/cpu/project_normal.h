// project_normal.h: projections of kLanes g's on well-conditioned columns at once, by the normal equations, one matrix per lane.
//
//   A^T A = L L^T,   L z = A^T g,   L^T x = z,   r = g - A x,   and once more:   L w = A^T r,   L^T dx = w,   |(I - P) g|^2 = |r|^2 - |w|^2.
// Squares of condition numbers enter: A x is wrong by about eps cond^2 |g|, which is |A dx| = |w| and is taken off; what is left is wrong by
// eps cond^2 |w|^2. So a lane counts only where
//   cond(A)^2 is bounded by 1e13: with the columns at one length, |L^-1|_F <= |y|, L y = 1 with the signs off the diagonal against it, as in
//     rank_real_lanes.h; then no column depends on others, and
//   |w|^2 <= 1e-18 |g|^2: the first x was good.
// The others are left to a QR. m k^2 / 2 + k^3 / 6 + 3 m k multiply-adds, half of those of a QR, and few stores among them.
//
// Tiles of N x N numbers of G in registers: sums over the rows of A, minus those over the columns of L before them, then solved with the
// diagonal tile. The columns of a tile row stay in L1, the others come from L2.
#pragma once
#include "core/scratch.h"
#include "cpu/rank_real_proof.h"

namespace sl {
namespace SL_ISA {

class NormalProjection {
  using S = Pack<double>;
  using M = PackMask<double>;
  static constexpr int N = kPackBytes == 64 ? 4 : 3;  // N^2 + 2 N packs: 32 or 16 registers
  static constexpr double kCondition2 = 1e13, kMoved2 = 1e-18, kLeast = 1e-200, kMost = 1e200;

 public:
  NormalProjection(int m, int k, Scratch& scratch) : m_(m), k_(k), padded_((k + N - 1) / N * N), stride_(m | 1) {
    a_ = take_array<S>(scratch, static_cast<size_t>(padded_ + 1) * stride_);
    l_ = take_array<S>(scratch, static_cast<size_t>(padded_) * padded_);
    inverse_ = take_array<S>(scratch, padded_);
    length_ = take_array<S>(scratch, padded_);
    y_ = take_array<S>(scratch, padded_);
    x_ = take_array<S>(scratch, padded_);
    z_ = take_array<S>(scratch, padded_);
    r_ = take_array<S>(scratch, m);
  }

  int stride() const { return stride_; }
  // Columns j < k, and g as column k: to be filled before run.
  S* column(int j) { return a_ + static_cast<size_t>(j < k_ ? j : padded_) * stride_; }

  // Outputs per lane.
  const S* x() const { return x_; }
  S residual() const { return left_; }
  S whole() const { return whole_; }

  // Returns the lanes that count.
  M run() {
    const S zero{};
    const S *g = column(k_), least = constant<S>(kLeast), most = constant<S>(kMost);
    for (int i = 0; i < padded_; i += N) {
      for (int j = 0; j <= i; j += N) tile(i, j);
      products(i, g);
    }
    whole_ = squares(g);
    M nothing = whole_ == zero;  // but where squares are 0 of numbers that are not
    for (int i = 0; any<M>(nothing) && i < m_; ++i) nothing = nothing & (g[i] == zero);
    M good = nothing | ((whole_ > least) & (whole_ < most));
    S bound{};
    for (int j = 0; j < k_; ++j) {
      good = good & (length_[j] > least) & (length_[j] < most) & (inverse_[j] > zero);
      const S* l = row(j);
      y_[j] = (square_root(length_[j]) + in_parts(j, [&](int q) { return magnitude(l[q]) * y_[q]; })) * inverse_[j];
      bound += y_[j] * y_[j];
    }
    good = good & (bound * static_cast<double>(k_) <= constant<S>(kCondition2));
    for (int j = 0; j < padded_; ++j) x_[j] = zero;
    solve();
    leave();
    const S left = squares(r_);
    for (int j = 0; j < padded_; j += N) products(j, r_);
    const S moved = solve();
    left_ = left > moved ? left - moved : zero;
    return good & (moved <= whole_ * kMoved2);
  }

 private:
  S* row(int j) const { return l_ + static_cast<size_t>(j) * padded_; }
  S* padded_column(int j) const { return a_ + static_cast<size_t>(j) * stride_; }
  // The sum of term(i), i < count, in four parts, so that none waits for the one before.
  template <class Term>
  static SL_INLINE S in_parts(int count, Term term) {
    S part[4]{};
    int i = 0;
    for (; i + 3 < count; i += 4)
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) part[q] += term(i + q);
    for (; i < count; ++i) part[0] += term(i);
    return (part[0] + part[1]) + (part[2] + part[3]);
  }
  S squares(const S* x) const {
    return in_parts(m_, [&](int i) { return x[i] * x[i]; });
  }

  // Rows i0 .. i0 + N - 1 of L, columns j0 .. j0 + N - 1.
  __attribute__((noinline)) void tile(int i0, int j0) {
    S t[N][N];
    if (i0 == j0) sums<true>(padded_column(i0), padded_column(i0), stride_, m_, t);
    else sums<false>(padded_column(i0), padded_column(j0), stride_, m_, t);
    if (i0 == j0)
      for (int r = 0; r < N; ++r) {
        if (i0 + r >= k_) t[r][r] = constant<S>(1.0);  // behind the last column
        length_[i0 + r] = t[r][r];
      }
    if (j0 > 0) {
      S before[N][N];
      sums<false>(row(i0), row(j0), padded_, j0, before);
      for (int r = 0; r < N; ++r)
        for (int c = 0; c < N; ++c) t[r][c] -= before[r][c];
    }
    for (int c = 0; c < N; ++c) {
      const S* above = row(j0 + c) + j0;
      if (i0 == j0) {
        S pivot = t[c][c];
        for (int q = 0; q < c; ++q) pivot -= t[c][q] * t[c][q];
        const S root = square_root(pivot);
        inverse_[j0 + c] = constant<S>(1.0) / root;
        t[c][c] = root;
      }
      for (int r = i0 == j0 ? c + 1 : 0; r < N; ++r) {
        for (int q = 0; q < c; ++q) t[r][c] -= t[r][q] * (i0 == j0 ? t[c][q] : above[q]);
        t[r][c] *= inverse_[j0 + c];
      }
    }
    for (int r = 0; r < N; ++r)
      for (int c = 0; c < N; ++c) row(i0 + r)[j0 + c] = t[r][c];
  }
  // t_rc = sum over i < count of x_r[i] y_c[i]; lower: where c <= r only.
  template <bool lower>
  static SL_INLINE void sums(const S* x, const S* y, int stride, int count, S (*t)[N]) {
    S sum[N][N]{};
    for (int i = 0; i < count; ++i) {
      S u[N];
#pragma GCC unroll 4
      for (int r = 0; r < N; ++r) u[r] = x[r * stride + i];
#pragma GCC unroll 4
      for (int c = 0; c < N; ++c) {
        S v = lower ? u[c] : y[c * stride + i];
        if constexpr (!lower) hold(v);
#pragma GCC unroll 4
        for (int r = lower ? c : 0; r < N; ++r) sum[r][c] += u[r] * v;
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < N; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < N; ++c) t[r][c] = sum[r][c];
  }

  // z_j = a_j . v for columns j0 .. j0 + N - 1.
  void products(int j0, const S* v) {
    const S* a = padded_column(j0);
    S even[N]{}, odd[N]{};
    int i = 0;
    for (; i + 1 < m_; i += 2)
#pragma GCC unroll 4
      for (int c = 0; c < N; ++c) {
        even[c] += a[c * stride_ + i] * v[i];
        odd[c] += a[c * stride_ + i + 1] * v[i + 1];
      }
    for (int c = 0; c < N; ++c) z_[j0 + c] = even[c] + odd[c] + (i < m_ ? a[c * stride_ + i] * v[i] : S{});
  }
  // x += dx with L L^T dx = z; returns |L^-1 z|^2 = |A dx|^2.
  S solve() {
    S moved{};
    for (int j = 0; j < k_; ++j) {
      const S* l = row(j);
      z_[j] = (z_[j] - in_parts(j, [&](int q) { return l[q] * z_[q]; })) * inverse_[j];
      moved += z_[j] * z_[j];
    }
    for (int j = k_ - 1; j >= 0; --j) {
      const S *l = row(j), dx = z_[j] * inverse_[j];
      for (int q = 0; q < j; ++q) z_[q] -= l[q] * dx;
      x_[j] += dx;
    }
    return moved;
  }
  // r = g - A x.
  void leave() {
    const S* g = column(k_);
    for (int j = 0; j < padded_; j += N) {
      const S *a = padded_column(j), *from = j == 0 ? g : r_;
      for (int i = 0; i < m_; ++i) {
        S sum = from[i];
#pragma GCC unroll 4
        for (int c = 0; c < N; ++c) sum -= a[c * stride_ + i] * x_[j + c];
        r_[i] = sum;
      }
    }
  }

  const int m_, k_, padded_, stride_;
  S *a_, *l_, *inverse_, *length_, *y_, *x_, *z_, *r_;
  S left_{}, whole_{};
};

}  // namespace SL_ISA
}  // namespace sl
