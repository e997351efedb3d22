// rank_real_short.h: Householder QR of the rows of kLanes small matrices at once, one matrix per lane (see rank_real.cpp for the method).
//
// Rows padded with zeros to N numbers, N a compile-time constant: all steps unrolled, the row of the reflection in registers, and two packs
// at a time, so that the square roots and divisions of one hide behind the products of the other. Rows are taken in order until nothing
// is left of one; a lane that is done keeps its rows. Bound of R11^-1 as in rank_real_lanes.h. Cost 2 N rows^2 multiply-adds a pack.
#pragma once
#include <utility>

#include "cpu/rank_real_proof.h"

namespace sl {
namespace SL_ISA {

template <class T, int N>
class ShortQr {
  using S = Pack<T>;
  using M = PackMask<T>;
  static constexpr int L = kLanes<T>;

 public:
  // The rows, [rows][N] packs, to be filled before run; numbers after `length` stay zero.
  S* rows() { return a_; }
  M rank() const { return taken_; }

  // total: squared norms of the matrices.
  SL_INLINE void begin(S total, int rows, T rtol) {
    total_ = total;
    floor2_ = total * (rtol * rtol);
    live_ = ~M{};
    taken_ = M{};
    inverse2_ = S{};
    rows_ = rows;
  }

  template <int... k>
  static SL_INLINE void all_steps(ShortQr& a, ShortQr& b, std::integer_sequence<int, k...>) {
    (void)((a.template step<k>() | b.template step<k>()) && ...);
  }

  // The lanes whose rank is proven.
  SL_INLINE M proven(T rtol) {
    const LaneProof<T> proof(total_, taken_, rows_, N, rtol);
    S tail2{};
    if (any<M>(taken_ < lanes_at<T>(rows_))) {
      // what is left of rows and columns from q on, less what is left from q + 1 on, where a lane's rank is at most q
      for (int q = 0; q < rows_; ++q) {
        S here{};
        for (int c = q; c < N; ++c) here += a_[q * N + c] * a_[q * N + c];
        for (int j = q + 1; j < rows_; ++j) here += a_[j * N + q] * a_[j * N + q];
        tail2 += taken_ > lanes_at<T>(q) ? S{} : here;
      }
    }
    M small = proof.tail_is_small(tail2);
    const M again = (taken_ > M{}) & ~small;
    if (any<M>(again)) {
      T sum[N];
      for (int l = 0; l < L; ++l)
        if (again[l]) tail2[l] = tail_beside_weak<T>(a_, inverse_, l, rows_, N, N, static_cast<int>(taken_[l]), sum);
      small = proof.tail_is_small(tail2);
    }
    return (small & proof.head_is_large(inverse2_)) | (total_ == S{});
  }

 private:
  template <int k>
  SL_INLINE bool step() {
    if (k >= rows_ || !any<M>(live_)) return false;
    const S one = constant<S>(T(1));
    S w[N], even{}, odd{}, y = one;
    S* p = a_ + k * N;
#pragma GCC unroll 16
    for (int c = k; c < N; ++c) w[c] = p[c];
#pragma GCC unroll 16
    for (int c = k; c < N; c += 2) {
      even += w[c] * w[c];
      if (c + 1 < N) odd += w[c + 1] * w[c + 1];
    }
#pragma GCC unroll 16
    for (int c = 0; c < k; ++c) y += magnitude(p[c]) * y_[c];
    const S left = even + odd;
    live_ = live_ & (left > floor2_);
    taken_ -= live_;
    const S size = square_root(left), v = magnitude(w[k]) + size, whole = one / (size * v), tau = live_ ? whole : S{};
    const M negative = w[k] < S{};
    const S inverse = tau * v;
    y_[k] = y * inverse;
    inverse2_ += y_[k] * y_[k];
    inverse_[k] = negative ? inverse : -inverse;
    w[k] = negative ? -v : v;
    const int rows = rows_ < N ? rows_ : N;
    int j = k + 1;
    for (; j + 2 < rows; j += 3) reflect<k, 3>(a_ + j * N, w, tau);
    for (; j < rows; ++j) reflect<k, 1>(a_ + j * N, w, tau);
    return true;
  }
  template <int k, int R>
  static SL_INLINE void reflect(S* x, const S* w, S tau) {
    S s[R]{};
#pragma GCC unroll 16
    for (int c = k; c < N; ++c)
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) s[r] += w[c] * x[r * N + c];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) s[r] *= tau;
#pragma GCC unroll 16
    for (int c = k; c < N; ++c)
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) x[r * N + c] -= s[r] * w[c];
  }

  S a_[N * N]{}, y_[N], inverse_[N];
  S total_, floor2_, inverse2_;  // inverse2: ||M^-1 1||^2
  M live_, taken_;  // lanes with something left of every row so far; rows taken
  int rows_;
};

}  // namespace SL_ISA
}  // namespace sl
