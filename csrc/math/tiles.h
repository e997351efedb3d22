// tiles.h: small dense products with the accumulators in registers, for any scalar or pack.
//
//   rows_times:  out[i] += sum_j M[i][j] v[j]     (M v)
//   cols_times:  out[j] += sum_i M[i][j] v[i]     (M^T v)
//   outer_sums:  out[i][j] = sum_t left[t][i] right[t][j]
// M is row-major with the given stride between rows. Eight rows (or columns) are worked on at a time, so that a value of v is
// loaded once for eight products and eight independent chains hide the latency of the multiply-add; then four, two, one.
#pragma once
#include "core/hostdev.h"

namespace sl {
namespace SL_ISA {

template <int K, class S>
SL_INLINE void rows_tile(const S* M, int stride, const S* v, int columns, S* out) {
  S acc[K];
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) acc[k] = out[k];
#pragma GCC unroll 8
  for (int j = 0; j < columns; ++j) {
    const S x = v[j];
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) acc[k] += M[k * stride + j] * x;
  }
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) out[k] = acc[k];
}

template <int K, class S>
SL_INLINE void cols_tile(const S* M, int stride, const S* v, int rows, S* out) {
  S acc[K];
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) acc[k] = out[k];
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i) {
    const S x = v[i];
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) acc[k] += M[i * stride + k] * x;
  }
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) out[k] = acc[k];
}

template <class S>
SL_INLINE void rows_times(const S* M, int stride, const S* v, int rows, int columns, S* out) {
  int i = 0;
  for (; i + 8 <= rows; i += 8) rows_tile<8>(M + i * stride, stride, v, columns, out + i);
  for (; i + 4 <= rows; i += 4) rows_tile<4>(M + i * stride, stride, v, columns, out + i);
  for (; i + 2 <= rows; i += 2) rows_tile<2>(M + i * stride, stride, v, columns, out + i);
  for (; i < rows; ++i) rows_tile<1>(M + i * stride, stride, v, columns, out + i);
}

template <class S>
SL_INLINE void cols_times(const S* M, int stride, const S* v, int rows, int columns, S* out) {
  int j = 0;
  for (; j + 8 <= columns; j += 8) cols_tile<8>(M + j, stride, v, rows, out + j);
  for (; j + 4 <= columns; j += 4) cols_tile<4>(M + j, stride, v, rows, out + j);
  for (; j + 2 <= columns; j += 2) cols_tile<2>(M + j, stride, v, rows, out + j);
  for (; j < columns; ++j) cols_tile<1>(M + j, stride, v, rows, out + j);
}

template <int K, class S>
SL_INLINE void outer_tile(const S* left, int left_stride, const S* right, int right_stride, int times, int columns, S* out,
                          int out_stride) {
  for (int j = 0; j < columns; ++j) {
    S acc[K] = {};
    for (int t = 0; t < times; ++t) {
      const S x = right[t * right_stride + j];
#pragma GCC unroll 8
      for (int k = 0; k < K; ++k) acc[k] += left[t * left_stride + k] * x;
    }
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) out[k * out_stride + j] = acc[k];
  }
}

template <class S>
SL_INLINE void outer_sums(const S* left, int left_stride, int rows, const S* right, int right_stride, int columns, int times,
                          S* out, int out_stride) {
  int i = 0;
  for (; i + 8 <= rows; i += 8) outer_tile<8>(left + i, left_stride, right, right_stride, times, columns, out + i * out_stride, out_stride);
  for (; i + 4 <= rows; i += 4) outer_tile<4>(left + i, left_stride, right, right_stride, times, columns, out + i * out_stride, out_stride);
  for (; i < rows; ++i) outer_tile<1>(left + i, left_stride, right, right_stride, times, columns, out + i * out_stride, out_stride);
}

}  // namespace SL_ISA
}  // namespace sl
