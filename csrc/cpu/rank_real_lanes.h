// rank_real_lanes.h: Householder QR of the rows of kLanes matrices at once, one matrix per lane (see rank_real.cpp for the method).
//
// Row by row: a row meets all earlier reflections, then becomes the next reflection itself. Rows come four at a time, and reflections
// two at a time, so that a number that is loaded takes part in two multiply-adds and a number of w in four:
//   t0 = tau0 (w0 . a),   t1 = tau1 (w1 . a - (w0 . w1) t0),   a -= t0 w0 + t1 w1.
// The working set is the reflections (half a matrix per lane: 34 KB at 32 x 32, eight lanes of doubles) and four rows.
//
// A lane skips a row in which nothing is left: what it skips is summed into tail2, which bounds ||R22||^2 from above (later reflections
// can only take away from it). So lanes can have taken different numbers of rows; `taken` counts them, and the reflection of a row
// starts, in each lane, at column `taken`.
//
// Bound for R11^-1: with M = |diagonal| on the diagonal and -|entries| below, |R11^-1| <= M^-1 entry by entry, and M^-1 >= 0, so
// ||R11^-1||_F <= ||M^-1||_F <= ||M^-1 1||_2: one substitution in place of n. It exceeds the truth by about e^(1.6 sqrt n) for random
// matrices, nothing beside 1 / rtol of doubles; where it proves nothing, the inverse itself is formed.
#pragma once
#include "core/scratch.h"
#include "cpu/rank_real_proof.h"

namespace sl {
namespace SL_ISA {

template <class T>
class LaneQr {
  using S = Pack<T>;
  using M = PackMask<T>;
  static constexpr int L = kLanes<T>;

 public:
  // Packs from row to row: odd, so that rows of 2^k packs do not share the sets of the cache.
  static int stride_of(int length) { return length | 1; }
  // carried: whether one more row follows, which meets all reflections and becomes none (project.cpp).
  LaneQr(int rows, int length, Scratch& scratch, bool carried = false)
      : rows_(rows), length_(length), stride_(stride_of(length)), carried_(carried) {
    auto packs = [&](size_t count) { return static_cast<S*>(scratch.take(sizeof(S) * count)); };
    a_ = packs(static_cast<size_t>(rows + carried) * stride_of(length));
    w_ = packs(static_cast<size_t>(rows) * stride_of(length));
    tau_ = packs(rows + 1);
    cross_ = packs(rows + 1);
    inverse_ = packs(rows);
    y_ = packs(rows);
    start_ = static_cast<int*>(scratch.take(sizeof(int) * (rows + 1)));
  }

  // The rows, [rows][length] packs, to be filled before run.
  S* rows() { return a_; }

  // Outputs per lane. inverses [rows]: 1 / diagonal of the triangle, 0 where a row was skipped.
  M rank() const { return taken_; }
  const S* inverses() const { return inverse_; }

  // total: squared norms of the matrices. Returns the lanes whose rank is proven. meanwhile() is called rows^2 / 16 times on the way.
  template <class Meanwhile>
  M run(S total, T rtol, Meanwhile&& meanwhile) {
    total_ = total;
    floor2_ = total * (rtol * rtol);
    tail2_ = S{};
    taken_ = M{};
    front_ = 0;
    back_ = 0;
    in_order_ = ~M{};
    inverse2_ = S{};
    for (int j = 0; j < rows_; ++j) y_[j] = S{};
    int j = 0;
    for (; j + 4 <= rows_; j += 4) rows_of_four<4>(j, meanwhile);
    switch (rows_ - j) {
      case 3: rows_of_four<3>(j, meanwhile); break;
      case 2: rows_of_four<2>(j, meanwhile); break;
      case 1: rows_of_four<1>(j, meanwhile); break;
    }
    if (carried_) carry(rows_);
    return proven(rtol);
  }

 private:
  SL_INLINE S* row(int j) { return a_ + static_cast<size_t>(j) * stride_; }
  SL_INLINE S* reflection(int j) const { return w_ + static_cast<size_t>(j) * stride_; }

  template <int R, class Meanwhile>
  SL_INLINE void rows_of_four(int j0, Meanwhile& meanwhile) {
    reflect_all<R>(j0, meanwhile);
    take_row(j0);
    if constexpr (R > 1) {
      reflect<1>(j0, j0 + 1);
      take_row(j0 + 1);
      pair(j0);
    }
    if constexpr (R > 2) {
      reflect_twice<R - 2>(j0, j0 + 2);
      take_row(j0 + 2);
    }
    if constexpr (R > 3) {
      reflect<1>(j0 + 2, j0 + 3);
      take_row(j0 + 3);
      pair(j0 + 2);
    }
  }

  // Columns where reflections i and i + 1 have numbers begin here.
  SL_INLINE int begin(int i) const { return start_[i] < start_[i + 1] ? start_[i] : start_[i + 1]; }

  // s[r] = w_i . row r, t[r] = w_{i+1} . row r over columns from .. to, and both made factors.
  template <int R>
  SL_INLINE void factors(int i, S* s, S* t) const {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      s[r] *= tau_[i];
      t[r] = (t[r] - cross_[i] * s[r]) * tau_[i + 1];
    }
  }
  template <int R>
  SL_INLINE void products(int i, const S* a, int from, S* s, S* t) const {
    const S *w0 = reflection(i), *w1 = reflection(i + 1);
    const int length = length_, stride = stride_;
    for (int c = from; c < length; ++c) {
      const S x0 = w0[c], x1 = w1[c];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        S x = a[r * stride + c];
        hold(x);
        s[r] += x0 * x;
        t[r] += x1 * x;
      }
    }
  }
  template <int R>
  SL_INLINE void subtract(int i, S* a, int from, int to, const S* s, const S* t) const {
    const S *w0 = reflection(i), *w1 = reflection(i + 1);
    const int stride = stride_;
    for (int c = from; c < to; ++c) {
      const S x0 = w0[c], x1 = w1[c];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) a[r * stride + c] = a[r * stride + c] - s[r] * x0 - t[r] * x1;
    }
  }

  // Rows j .. j + R - 1 meet reflections i and i + 1.
  template <int R>
  SL_INLINE void reflect_twice(int i, int j) {
    S* a = row(j);
    const int from = begin(i);
    S s[R]{}, t[R]{};
    products<R>(i, a, from, s, t);
    factors<R>(i, s, t);
    subtract<R>(i, a, from, length_, s, t);
  }
  // Rows j .. j + R - 1 meet all reflections before j, the products with the next two taken while the last two are subtracted.
  template <int R, class Meanwhile>
  SL_INLINE void reflect_all(int j, Meanwhile& meanwhile) {
    if (j == 0) return;
    S* a = row(j);
    const int length = length_, stride = stride_;
    S s[R]{}, t[R]{};
    products<R>(0, a, begin(0), s, t);
    for (int i = 0; i + 2 < j; i += 2) {
      meanwhile();
      factors<R>(i, s, t);
      const int from = begin(i), next = begin(i + 2);
      S u[R]{}, v[R]{};
      if (kPackBytes < 64 || next < from) {
        subtract<R>(i, a, from, length, s, t);
        products<R>(i + 2, a, next, u, v);
      } else {
        subtract<R>(i, a, from, next, s, t);
        const S *w0 = reflection(i), *w1 = reflection(i + 1), *w2 = reflection(i + 2), *w3 = reflection(i + 3);
        for (int c = next; c < length; ++c) {
          const S x0 = w0[c], x1 = w1[c], x2 = w2[c], x3 = w3[c];
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r) {
            const S x = a[r * stride + c] - s[r] * x0 - t[r] * x1;
            a[r * stride + c] = x;
            u[r] += x2 * x;
            v[r] += x3 * x;
          }
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        s[r] = u[r];
        t[r] = v[r];
      }
    }
    factors<R>(j - 2, s, t);
    subtract<R>(j - 2, a, begin(j - 2), length, s, t);
  }
  template <int R>
  SL_INLINE void reflect(int i, int j) {
    const int from = start_[i], length = length_, stride = stride_;
    const S* w = reflection(i);
    S* a = row(j);
    S s[R]{};
    for (int c = from; c < length; ++c) {
      const S x = w[c];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) s[r] += x * a[r * stride + c];
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) s[r] *= tau_[i];
    for (int c = from; c < length; ++c) {
      const S x = w[c];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) a[r * stride + c] -= s[r] * x;
    }
  }

  // Row j meets all reflections. One row alone: four sums of each product, so that none waits for the one before.
  void carry(int j) {
    S* a = row(j);
    const int length = length_;
    int i = 0;
    for (; i + 1 < rows_; i += 2) {
      const S *w0 = reflection(i), *w1 = reflection(i + 1);
      S s[4]{}, t[4]{};
      int c = begin(i);
      for (; c < length && (c & 3); ++c) {
        s[c & 3] += w0[c] * a[c];
        t[c & 3] += w1[c] * a[c];
      }
      for (; c + 3 < length; c += 4)
#pragma GCC unroll 4
        for (int q = 0; q < 4; ++q) {
          s[q] += w0[c + q] * a[c + q];
          t[q] += w1[c + q] * a[c + q];
        }
      for (; c < length; ++c) {
        s[c & 3] += w0[c] * a[c];
        t[c & 3] += w1[c] * a[c];
      }
      S s0 = (s[0] + s[1]) + (s[2] + s[3]), t0 = (t[0] + t[1]) + (t[2] + t[3]);
      factors<1>(i, &s0, &t0);
      subtract<1>(i, a, begin(i), length, &s0, &t0);
    }
    if (i < rows_) reflect<1>(i, j);
  }

  // Makes reflections i and i + 1 a pair: both defined from the same column, and their product.
  SL_INLINE void pair(int i) {
    const int s0 = start_[i], s1 = start_[i + 1], from = s0 < s1 ? s0 : s1, length = length_;
    S *w0 = reflection(i), *w1 = reflection(i + 1);
    for (int c = from; c < s0; ++c) w0[c] = S{};
    for (int c = from; c < s1; ++c) w1[c] = S{};
    S part[2]{};
    sum_columns(s0 < s1 ? s1 : s0, length, part, [&](int c) { return w0[c] * w1[c]; });
    cross_[i] = part[0] + part[1];
  }

  // part[0] += term(c) for even columns, part[1] += for odd ones: an order of summation that does not depend on other lanes.
  template <class Term>
  static SL_INLINE void sum_columns(int from, int to, S* part, Term term) {
    S even = part[0], odd = part[1];
    int c = from;
    if (c < to && (c & 1)) odd += term(c++);
    for (; c + 1 < to; c += 2) {
      even += term(c);
      odd += term(c + 1);
    }
    if (c < to) even += term(c);
    part[0] = even;
    part[1] = odd;
  }

  // Row j, which has met all earlier reflections, becomes reflection j in the lanes where something is left of it.
  __attribute__((noinline)) void take_row(int j) {
    const int k = front_, length = length_;
    const S *a = row(j), zero{}, one = constant<S>(T(1));
    S *w = reflection(j), part[2]{};
    sum_columns(back_, k, part, [&](int c) { return taken_ > lanes_at<T>(c) ? zero : a[c] * a[c]; });
    sum_columns(k, length, part, [&](int c) { return a[c] * a[c]; });
    const S left = part[0] + part[1];
    const M taking = left > floor2_;
    if (!any<M>(taking)) {
      tail2_ += left;
      start_[j] = length;
      tau_[j] = inverse_[j] = zero;
      return;
    }
    tail2_ += taking ? zero : left;
    in_order_ = in_order_ & (~taking | (taken_ == lanes_at<T>(j)));
    for (int c = k; c < length; ++c) w[c] = a[c];  // where nothing is taken tau is 0, whatever w
    S alpha = a[k], sums[2] = {one, zero};
    const bool lagging = any<M>(taking & (taken_ != lanes_at<T>(k)));
    start_[j] = k;
    if (lagging) {
      for (int c = k; c >= back_; --c) {
        const M here = taking & (taken_ <= lanes_at<T>(c));
        alpha = here ? a[c] : alpha;
        w[c] = here ? a[c] : zero;
        if (any<M>(here)) start_[j] = c;
      }
    }
    sum_columns(0, k, sums, [&](int c) { return magnitude(a[c]) * y_[c]; });
    const S size = square_root(left), v = magnitude(alpha) + size, tau = one / (size * v), inverse = tau * v;
    const M negative = alpha < zero;
    const S head = negative ? -v : v, y = taking ? (sums[0] + sums[1]) * inverse : zero;
    inverse2_ += y * y;
    tau_[j] = taking ? tau : zero;
    inverse_[j] = taking ? (negative ? inverse : -inverse) : zero;
    if (!lagging) {
      w[k] = head;
      y_[k] = y;
      if (back_ == k && !any<M>(~taking)) ++back_;
      ++front_;
    } else {
      for (int c = start_[j]; c <= k; ++c) {
        const M here = taking & (taken_ == lanes_at<T>(c));
        w[c] = here ? head : w[c];
        y_[c] = here ? y : y_[c];
        if (c == k && any<M>(here)) ++front_;
      }
    }
    taken_ -= taking;
  }

  // ||R11^-1||_F^2 of the lanes in order: row j of a holds column j of the triangular factor in its first j numbers.
  // inverse is 0 where a lane took no row, so that columns and rows after the rank contribute nothing.
  __attribute__((noinline)) S inverse_norm2() {
    S sum{};
    const int n = rows_;
    S* y = w_;  // the reflections are done; [rows][4], no longer than these
    for (int c = 0; c < n; c += 4) {
      for (int i = c; i < n; ++i) {
        S s[4]{};
        if (i < c + 4) s[i - c] = constant<S>(T(1));
        const S* a = row(i);
        for (int q = c; q < i; ++q)
#pragma GCC unroll 4
          for (int r = 0; r < 4; ++r) s[r] -= a[q] * y[4 * q + r];
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) {
          const S x = s[r] * inverse_[i];
          y[4 * i + r] = x;
          sum += x * x;
        }
      }
    }
    return sum;
  }

  SL_INLINE M proven(T rtol) {
    const LaneProof<T> proof(total_, taken_, rows_, length_, rtol);
    M small = proof.tail_is_small(tail2_);
    const M again = in_order_ & ~small & (taken_ > M{});
    if (any<M>(again)) {
      for (int l = 0; l < L; ++l)  // the reflections are done: w is free
        if (again[l])
          tail2_[l] = tail_beside_weak<T>(a_, inverse_, l, rows_, length_, stride_, static_cast<int>(taken_[l]), reinterpret_cast<T*>(w_));
      small = proof.tail_is_small(tail2_);
    }
    M sure = small & proof.head_is_large(inverse2_);
    if (any<M>(small & in_order_ & ~sure)) sure = sure | (small & in_order_ & proof.head_is_large(inverse_norm2()));
    return sure | (total_ == S{});
  }

  const int rows_, length_, stride_;
  const bool carried_;
  S *a_, *w_, *tau_, *cross_, *inverse_, *y_;
  int* start_;                       // first column of a reflection
  int front_, back_;                 // largest number of rows that a lane has taken, and a number that all have taken
  M taken_, in_order_;               // rows taken; no row taken after one was skipped
  S total_, floor2_, tail2_, inverse2_;  // inverse2: ||M^-1 1||^2
};

}  // namespace SL_ISA
}  // namespace sl
