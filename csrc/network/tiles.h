// tiles.h: small dense products with the accumulators in registers, for any scalar or pack.
//
//   rows_times:  out[i] += sum_j M[i][j] v[j]     (M v)
//   cols_times:  out[j] += sum_i M[i][j] v[i]     (M^T v)
//   outer_sums:  out[i][j] = sum_t left[t][i] right[t][j], or that more
// M is row-major with the given stride between rows. Eight rows (or columns) are worked on at a time, so that a value of v is
// loaded once for eight products and eight independent chains hide the latency of the multiply-add; then four, two, one.
// A, B and O are the entry types of the operands' tables; Value<A> is the scalar.
#pragma once
#include <type_traits>

#include "scalar/lanes.h"

namespace sl {
namespace SL_ISA {

#if defined(__AVX512F__) || defined(__CUDACC__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

// Whether tiles of eight are worth their code: not where a product takes ten instructions and more (GF(p), intervals), on a CPU.
#if defined(__CUDACC__)
template <class S> constexpr bool kTall = true;
#else
template <class S> constexpr bool kTall = std::is_arithmetic<typename Traits<S>::Scalar>::value;
#endif

// K rows; C is the number of columns where it is known at compile time, 0 otherwise.
template <int K, int C = 0, class A, class B, class O>
SL_INLINE void rows_tile(const A* M, int stride, const B* v, int columns, O* out) {
  using S = Value<A>;
  M = opaque(M);
  S acc[K];
  SL_UNROLL(8)
  for (int k = 0; k < K; ++k) acc[k] = out[k];
  auto column = [&](int j) {
    const S x = v[j];
    SL_UNROLL(8)
    for (int k = 0; k < K; ++k) acc[k] += S(M[k * stride + j]) * x;
  };
  if constexpr (C > 0) {
    SL_UNROLL(8)
    for (int j = 0; j < C; ++j) column(j);
  } else {
    for (int j = 0; j < columns; ++j) column(j);
  }
  SL_UNROLL(8)
  for (int k = 0; k < K; ++k) out[k] = acc[k];
}

// The same for V vectors at once, so that an entry of M is loaded once for V products.
template <int K, int V, bool kFresh, class A, class B, class O>
SL_INLINE void rows_tile_many(const A* M, int stride, const B* v, int v_stride, int columns, O* out, int out_stride) {
  using S = Value<A>;
  M = opaque(M);
  S acc[V][K];
  SL_UNROLL(4)
  for (int q = 0; q < V; ++q) SL_UNROLL(8)
  for (int k = 0; k < K; ++k) acc[q][k] = kFresh ? S{} : S(out[q * out_stride + k]);
  for (int j = 0; j < columns; ++j) {
    S x[V];
    SL_UNROLL(4)
    for (int q = 0; q < V; ++q) x[q] = v[q * v_stride + j];
    SL_UNROLL(8)
    for (int k = 0; k < K; ++k) {
      const S m = M[k * stride + j];
      SL_UNROLL(4)
      for (int q = 0; q < V; ++q) acc[q][k] += m * x[q];
    }
  }
  SL_UNROLL(4)
  for (int q = 0; q < V; ++q) SL_UNROLL(8)
  for (int k = 0; k < K; ++k) out[q * out_stride + k] = acc[q][k];
}

template <int V, bool kFresh, class A, class B, class O>
SL_INLINE void rows_times_many(const A* M, int stride, const B* v, int v_stride, int rows, int columns, O* out, int out_stride) {
  int i = 0;
  if constexpr (kRegisters >= 32 && kTall<Value<O>>)
    for (; i + 8 <= rows; i += 8) rows_tile_many<8, V, kFresh>(M + i * stride, stride, v, v_stride, columns, out + i, out_stride);
  for (; i + 4 <= rows; i += 4) rows_tile_many<4, V, kFresh>(M + i * stride, stride, v, v_stride, columns, out + i, out_stride);
  for (; i + 2 <= rows; i += 2) rows_tile_many<2, V, kFresh>(M + i * stride, stride, v, v_stride, columns, out + i, out_stride);
  for (; i < rows; ++i) rows_tile_many<1, V, kFresh>(M + i * stride, stride, v, v_stride, columns, out + i, out_stride);
}

// K columns; R is the number of rows where it is known at compile time, 0 otherwise.
template <int K, int R = 0, bool kFresh = false, class A, class B, class O>
SL_INLINE void cols_tile(const A* M, int stride, const B* v, int rows, O* out) {
  using S = Value<A>;
  M = opaque(M);
  S acc[K];
  SL_UNROLL(8)
  for (int k = 0; k < K; ++k) acc[k] = kFresh ? S{} : S(out[k]);
  auto row = [&](int i) {
    const S x = v[i];
    SL_UNROLL(8)
    for (int k = 0; k < K; ++k) acc[k] += S(M[i * stride + k]) * x;
  };
  if constexpr (R > 0) {
    SL_UNROLL(8)
    for (int i = 0; i < R; ++i) row(i);
  } else {
    for (int i = 0; i < rows; ++i) row(i);
  }
  SL_UNROLL(8)
  for (int k = 0; k < K; ++k) out[k] = acc[k];
}

template <class A, class B, class O>
SL_INLINE void rows_times(const A* M, int stride, const B* v, int rows, int columns, O* out) {
  int i = 0;
  if constexpr (kTall<Value<O>>)
    for (; i + 8 <= rows; i += 8) rows_tile<8>(M + i * stride, stride, v, columns, out + i);
  for (; i + 4 <= rows; i += 4) rows_tile<4>(M + i * stride, stride, v, columns, out + i);
  for (; i + 2 <= rows; i += 2) rows_tile<2>(M + i * stride, stride, v, columns, out + i);
  for (; i < rows; ++i) rows_tile<1>(M + i * stride, stride, v, columns, out + i);
}

// kFresh: out = M^T v instead of out += M^T v.
template <bool kFresh = false, class A, class B, class O>
SL_INLINE void cols_times(const A* M, int stride, const B* v, int rows, int columns, O* out) {
  int j = 0;
  if constexpr (kTall<Value<O>>)
    for (; j + 8 <= columns; j += 8) cols_tile<8, 0, kFresh>(M + j, stride, v, rows, out + j);
  for (; j + 4 <= columns; j += 4) cols_tile<4, 0, kFresh>(M + j, stride, v, rows, out + j);
  for (; j + 2 <= columns; j += 2) cols_tile<2, 0, kFresh>(M + j, stride, v, rows, out + j);
  for (; j < columns; ++j) cols_tile<1, 0, kFresh>(M + j, stride, v, rows, out + j);
}

// One step of a recurrence, acc += M v and acc += M^T v for an N x N matrix, everything but M in registers. The next step waits for
// this one: where there are registers the sums are split in two, chains of N / 2 multiply-adds, at N = 8 shorter than loading M.
#if defined(__AVX512F__)
constexpr bool kSplitSteps = true;
#else
constexpr bool kSplitSteps = false;
#endif
template <int N, class A, class S>
SL_INLINE void rows_step(const A* M, const S (&v)[N], S (&acc)[N]) {
  M = opaque(M);
  S odd[N] = {};
  SL_UNROLL(8)
  for (int j = 0; j < N; ++j) {
    SL_UNROLL(8)
    for (int k = 0; k < N; ++k) (kSplitSteps && (j & 1) ? odd : acc)[k] += S(M[k * N + j]) * v[j];
  }
  if constexpr (kSplitSteps) {
    SL_UNROLL(8)
    for (int k = 0; k < N; ++k) acc[k] += odd[k];
  }
}
template <int N, class A, class S>
SL_INLINE void cols_step(const A* M, const S (&v)[N], S (&acc)[N]) {
  M = opaque(M);
  S odd[N] = {};
  SL_UNROLL(8)
  for (int i = 0; i < N; ++i) {
    SL_UNROLL(8)
    for (int k = 0; k < N; ++k) (kSplitSteps && (i & 1) ? odd : acc)[k] += S(M[i * N + k]) * v[i];
  }
  if constexpr (kSplitSteps) {
    SL_UNROLL(8)
    for (int k = 0; k < N; ++k) acc[k] += odd[k];
  }
}

// sum += (m x)' = m x' + m' x
template <class S> SL_INLINE void add_speed(S& sum, S m, S m_speed, S x, S x_speed) {
  S change = m * x_speed;
  add_product(change, m_speed, x);
  sum += change;
}

// A tile of K x C accumulators: K + C loads for K C products per time step. more: added to what is in out.
template <int K, int C, class A, class B, class O>
SL_INLINE void outer_tile(const A* left, int left_stride, const B* right, int right_stride, int times, O* out, int out_stride, bool more) {
  using S = Value<A>;
  S acc[K][C] = {};
  for (int t = 0; t < times; ++t) {
    const A* l = left + t * left_stride;
    const B* r = right + t * right_stride;
    S x[C];
    SL_UNROLL(8)
    for (int c = 0; c < C; ++c) x[c] = r[c];
    SL_UNROLL(8)
    for (int k = 0; k < K; ++k) {
      const S y = l[k];
      SL_UNROLL(8)
      for (int c = 0; c < C; ++c) acc[k][c] += y * x[c];
    }
  }
  SL_UNROLL(8)
  for (int k = 0; k < K; ++k) SL_UNROLL(8)
  for (int c = 0; c < C; ++c) out[k * out_stride + c] = more ? S(out[k * out_stride + c]) + acc[k][c] : acc[k][c];
}

template <int K, class A, class B, class O>
SL_INLINE void outer_rows(const A* left, int left_stride, const B* right, int right_stride, int columns, int times, O* out, int out_stride,
                          bool more) {
  // K C accumulators, K + C + 1 registers in all, and at least eight independent chains where the sizes allow.
  constexpr int C = K == 8 ? (kRegisters >= 32 ? 3 : 1) : K == 4 ? (kRegisters >= 32 ? 5 : 3) : K == 2 ? 4 : 8;
  int j = 0;
  for (; j + C <= columns; j += C) outer_tile<K, C>(left, left_stride, right + j, right_stride, times, out + j, out_stride, more);
  if constexpr (C > 4)
    for (; j + 4 <= columns; j += 4) outer_tile<K, 4>(left, left_stride, right + j, right_stride, times, out + j, out_stride, more);
  if constexpr (C > 2)
    for (; j + 2 <= columns; j += 2) outer_tile<K, 2>(left, left_stride, right + j, right_stride, times, out + j, out_stride, more);
  for (; j < columns; ++j) outer_tile<K, 1>(left, left_stride, right + j, right_stride, times, out + j, out_stride, more);
}

template <class A, class B, class O>
SL_INLINE void outer_sums(const A* left, int left_stride, int rows, const B* right, int right_stride, int columns, int times, O* out,
                          int out_stride, bool more = false) {
  int i = 0;
  if constexpr (kRegisters >= 32)
    for (; i + 8 <= rows; i += 8)
      outer_rows<8>(left + i, left_stride, right, right_stride, columns, times, out + i * out_stride, out_stride, more);
  for (; i + 4 <= rows; i += 4)
    outer_rows<4>(left + i, left_stride, right, right_stride, columns, times, out + i * out_stride, out_stride, more);
  for (; i + 2 <= rows; i += 2)
    outer_rows<2>(left + i, left_stride, right, right_stride, columns, times, out + i * out_stride, out_stride, more);
  for (; i < rows; ++i) outer_rows<1>(left + i, left_stride, right, right_stride, columns, times, out + i * out_stride, out_stride, more);
}

}  // namespace SL_ISA
}  // namespace sl
