// lane_qr.h: Householder QR of the rows of kLanes matrices at once, one matrix per lane (see rank_real.cpp for the method).
//
// R [rows][N] packs: rows padded with zeros to N numbers, N a compile-time constant, so that the row of the reflection stays in registers;
// steps unrolled, two packs at a time. Cost 2 N rows^2 multiply-adds a pack, and per step a square root and a division.
#pragma once
#include <type_traits>
#include <utility>

#include "cpu/across_lanes.h"
#include "cpu/rank_qr.h"

namespace sl {
namespace SL_ISA {

// Rows of L matrices, transposed into lanes: out[c] lane l = from[l][c], c < count.
template <class T, int kMost>
SL_INLINE void transpose_row(const T* const* from, int count, Pack<T>* out) {
  constexpr int L = kLanes<T>;
  using S = Pack<T>;
  int c = 0;
  if constexpr (kMost >= L) for (; c + L <= count; c += L) {
    S row[L];
    for (int l = 0; l < L; ++l) __builtin_memcpy(&row[l], from[l] + c, sizeof(S));
    transpose<T>(row);
#pragma GCC unroll 16
    for (int l = 0; l < L; ++l) out[c + l] = row[l];
  }
  for (; c < count; ++c)
    for (int l = 0; l < L; ++l) reinterpret_cast<T*>(out + c)[l] = from[l][c];
}

template <class T, int N>
struct LaneQr {
  using S = Pack<T>;
  using M = PackMask<T>;
  static constexpr int L = kLanes<T>;
  S* R;       // [rows][N]
  int rows, full;
  S total, inverse[N];
  S floor2, tail2;
  M live, rank;

  // Rows k.. of the weak lanes measured: finishes those with nothing left, and brings the largest row to place k in the others.
  __attribute__((noinline)) void exchange(int k, M weak) {
    using I = typename std::remove_reference<decltype(weak[0])>::type;
    const S zero{};
    S sum = zero, best = zero;
    M index{};
    for (int j = k; j < rows; ++j) {
      S n = zero;
      for (int i = k; i < N; ++i) n += R[j * N + i] * R[j * N + i];
      sum += n;
      const M here = M{} + static_cast<I>(j), more = n > best;
      best = more ? n : best;
      index = more ? here : index;
    }
    const M finished = weak & ~(best > floor2), here = M{} + static_cast<I>(k);
    rank = (finished & here) | (~finished & rank);
    tail2 = select<S>(finished, sum, tail2);
    live = live & ~finished;
    const M moves = weak & ~finished & (index != here);
    if (!any<M>(moves)) return;
    for (int l = 0; l < L; ++l) {
      if (!moves[l]) continue;
      T *a = reinterpret_cast<T*>(R + static_cast<int>(index[l]) * N) + l, *b = reinterpret_cast<T*>(R + k * N) + l;
      for (int i = 0; i < N; ++i) std::swap(a[i * L], b[i * L]);
    }
  }

  template <int k>
  SL_INLINE bool step() {
    if (k >= full || !any<M>(live)) return false;
    const S zero{}, one = constant<S>(T(1));
    S* p = R + k * N;
    auto left = [&] {
      S a = zero, b = zero;
#pragma GCC unroll 16
      for (int i = k; i < N; i += 2) {
        a += p[i] * p[i];
        if (i + 1 < N) b += p[i + 1] * p[i + 1];
      }
      return a + b;
    };
    S n2 = left();
    // A random matrix has total (N - k) / (rows N) left of row k.
    const M weak = live & ~(n2 * static_cast<T>(rows) > total * T(kHealthy * (N - k) / N));
    if (any<M>(weak)) {
      exchange(k, weak);
      if (!any<M>(live)) return false;
      n2 = left();
    }
    S w[N];
#pragma GCC unroll 16
    for (int i = k; i < N; ++i) w[i] = p[i];
    const S size = square_root(n2), alpha = w[k];
    const M negative = alpha < zero;
    const S v = (negative ? -alpha : alpha) + size, den = size * v;
    const M usable = den > zero;
    const S tau = usable ? one / (usable ? den : one) : zero;
    w[k] = negative ? -v : v;
    p[k] = negative ? size : -size;
    inverse[k] = p[k];
    int j = k + 1;
    for (; j + 2 < rows; j += 3) {
      S *x = R + j * N, *y = x + N, *z = y + N;
      S s = w[k] * x[k], t = w[k] * y[k], u = w[k] * z[k];
#pragma GCC unroll 16
      for (int i = k + 1; i < N; ++i) {
        s += w[i] * x[i];
        t += w[i] * y[i];
        u += w[i] * z[i];
      }
      s *= tau;
      t *= tau;
      u *= tau;
#pragma GCC unroll 16
      for (int i = k; i < N; ++i) {
        x[i] -= s * w[i];
        y[i] -= t * w[i];
        z[i] -= u * w[i];
      }
    }
    for (; j < rows; ++j) {
      S* x = R + j * N;
      S s = w[k] * x[k];
#pragma GCC unroll 16
      for (int i = k + 1; i < N; ++i) s += w[i] * x[i];
      s *= tau;
#pragma GCC unroll 16
      for (int i = k; i < N; ++i) x[i] -= s * w[i];
    }
    return true;
  }

  // Two packs at a time: the square roots and divisions of one hide behind the products of the other.
  template <int... k>
  static SL_INLINE void all_steps(LaneQr& a, LaneQr& b, std::integer_sequence<int, k...>) {
    (void)((a.template step<k>() | b.template step<k>()) && ...);
  }

  // ||R11^-1||_F^2 lane by lane; row j of R holds column j of the triangular factor in its first j + 1 entries.
  // Places at and after the rank have inverse 0, so their columns and rows contribute nothing.
  SL_INLINE S inverse_norm2() {
    const S zero{}, one = constant<S>(T(1));
    const int most = full;
    for (int j = 0; j < most; ++j) {
      M here{};
      here += static_cast<typename std::remove_reference<decltype(here[0])>::type>(j);
      const M in = here < rank;
      const S d = R[j * N + j];
      inverse[j] = in ? one / (in ? d : one) : zero;
    }
    S sum = zero;
    auto column = [&](int c) {
      S acc[N];
      S y = inverse[c];
      sum += y * y;
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i) acc[i] = R[c * N + i] * y;  // entries i < c are used
#pragma GCC unroll 8
      for (int i = c - 1; i >= 0; --i) {
        y = -acc[i] * inverse[i];
        sum += y * y;
#pragma GCC unroll 8
        for (int q = 0; q < i; ++q) acc[q] += R[i * N + q] * y;
      }
    };
    if constexpr (N <= 8) {
      for (int j = most; j < N; ++j) inverse[j] = zero;
#pragma GCC unroll 8
      for (int c = 0; c < N; ++c) column(c);
    } else {
      for (int c = 0; c < most; ++c) column(c);
    }
    return sum;
  }

  // Lanes for which the bounds at the top prove the rank.
  SL_INLINE M proven_lanes(S inverse2, T rtol) const {
    const S zero{}, norm = square_root(total), error = norm * eps_of<T>();
    S r;
    for (int l = 0; l < L; ++l) r[l] = static_cast<T>(rank[l]);
    const M some = r > zero, whole = r >= constant<S>(static_cast<T>(full)), good = inverse2 > zero;
    const S carried = total > tail2 ? total - tail2 : zero;
    const S low = square_root(carried / (some ? r : constant<S>(T(1)))) * rtol;
    const M tail_small = whole | (square_root(tail2) + error <= low);
    // 1 / ||R11^-1|| > bound, without the division
    const S bound = norm * (T(2) * rtol) + error;
    const M head_large = square_root(good ? inverse2 : zero) * bound < constant<S>(T(1));
    return (some & good & tail_small & head_large) | (total == zero);
  }
};

}  // namespace SL_ISA
}  // namespace sl
