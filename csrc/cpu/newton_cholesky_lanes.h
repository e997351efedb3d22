// newton_cholesky_lanes.h: normal equations of small systems, one student per lane: Gram matrices, Cholesky, solves.
//
// A [k][k] packs, rows of a lower triangle. Cost per pack k^2 (terms) / 2 + k^3 / 6 multiply-adds. Larger systems:
// newton_cholesky_blocks.h.
#pragma once
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

// Cholesky of a symmetric positive matrix stored as rows of its lower triangle, k x k; inverse[j] = 1 / diagonal.
template <class S>
SL_INLINE void cholesky(S* A, int k, S* inverse, S tiny) {
  for (int j = 0; j < k; ++j) {
    const S* aj = A + static_cast<size_t>(j) * k;
    S d = aj[j];
    for (int q = 0; q < j; ++q) d -= aj[q] * aj[q];
    d = d < tiny ? tiny : d;
    inverse[j] = constant<S>(1.0) / square_root(d);
    int i = j + 1;
    for (; i + 3 < k; i += 4) {
      S *r0 = A + static_cast<size_t>(i) * k, *r1 = r0 + k, *r2 = r1 + k, *r3 = r2 + k;
      S z0 = r0[j], z1 = r1[j], z2 = r2[j], z3 = r3[j];
      for (int q = 0; q < j; ++q) {
        const S x = aj[q];
        z0 -= r0[q] * x;
        z1 -= r1[q] * x;
        z2 -= r2[q] * x;
        z3 -= r3[q] * x;
      }
      r0[j] = z0 * inverse[j];
      r1[j] = z1 * inverse[j];
      r2[j] = z2 * inverse[j];
      r3[j] = z3 * inverse[j];
    }
    for (; i < k; ++i) {
      S* ri = A + static_cast<size_t>(i) * k;
      S z = ri[j];
      for (int q = 0; q < j; ++q) z -= ri[q] * aj[q];
      ri[j] = z * inverse[j];
    }
  }
}
template <class S>
SL_INLINE void cholesky_solve(const S* A, int k, const S* inverse, S* z) {
  for (int i = 0; i < k; ++i) {
    S x = z[i];
    for (int q = 0; q < i; ++q) x -= A[static_cast<size_t>(i) * k + q] * z[q];
    z[i] = x * inverse[i];
  }
  for (int i = k - 1; i >= 0; --i) {
    z[i] = z[i] * inverse[i];
    const S x = z[i];
    for (int q = 0; q < i; ++q) z[q] -= A[static_cast<size_t>(i) * k + q] * x;
  }
}

// lower triangle of A[i][j] = sum_k v[k][i] v[k][j], i, j < size: J J^T from J stored column by column.
template <class S>
SL_INLINE void gram_of_columns(const S* v, int stride, int terms, int size, S* A) {
  for (int i = 0; i < size; i += 2) {
    const bool pair = i + 1 < size;
    const int i1 = pair ? i + 1 : i;
    for (int j = 0; j <= i1; j += 4) {
      const int w = size - j < 4 ? size - j : 4;
      const int j1 = w > 1 ? j + 1 : j, j2 = w > 2 ? j + 2 : j, j3 = w > 3 ? j + 3 : j;
      S a0{}, a1{}, a2{}, a3{}, b0{}, b1{}, b2{}, b3{};
      for (int k = 0; k < terms; ++k) {
        const S* c = v + static_cast<size_t>(k) * stride;
        const S x = c[i], y = c[i1], c0 = c[j], c1 = c[j1], c2 = c[j2], c3 = c[j3];
        a0 += x * c0;
        a1 += x * c1;
        a2 += x * c2;
        a3 += x * c3;
        b0 += y * c0;
        b1 += y * c1;
        b2 += y * c2;
        b3 += y * c3;
      }
      S *ra = A + static_cast<size_t>(i) * size, *rb = A + static_cast<size_t>(i1) * size;
      const S as[4] = {a0, a1, a2, a3}, bs[4] = {b0, b1, b2, b3};
      for (int q = 0; q < w; ++q) {
        if (j + q <= i) ra[j + q] = as[q];
        if (pair && j + q <= i1) rb[j + q] = bs[q];
      }
    }
  }
}
// the same for dot products of columns: A[i][j] = sum_e v[i][e] v[j][e]  (J^T J).
template <class S>
SL_INLINE void gram_of_rows(const S* v, int stride, int terms, int size, S* A) {
  for (int i = 0; i < size; ++i) {
    const S* x = v + static_cast<size_t>(i) * stride;
    int j = 0;
    for (; j + 3 <= i; j += 4) {
      const S *y0 = v + static_cast<size_t>(j) * stride, *y1 = y0 + stride, *y2 = y1 + stride, *y3 = y2 + stride;
      S s0{}, s1{}, s2{}, s3{};
      for (int e = 0; e < terms; ++e) {
        const S t = x[e];
        s0 += t * y0[e];
        s1 += t * y1[e];
        s2 += t * y2[e];
        s3 += t * y3[e];
      }
      S* out = A + static_cast<size_t>(i) * size + j;
      out[0] = s0;
      out[1] = s1;
      out[2] = s2;
      out[3] = s3;
    }
    for (; j <= i; ++j) {
      const S* y = v + static_cast<size_t>(j) * stride;
      S s0{};
      for (int e = 0; e < terms; ++e) s0 += x[e] * y[e];
      A[static_cast<size_t>(i) * size + j] = s0;
    }
  }
}

}  // namespace SL_ISA
}  // namespace sl
