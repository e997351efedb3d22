// newton_cholesky_blocks.h: damped normal equations (G + lambda) z = b with Gram matrices G too large for one per lane; one matrix at a
// time, its rows in the lanes.
//
//   G_ij = sum_t v_it v_jt (i, j < n),   G + lambda = R R^T (R lower triangular),   z = R^-T R^-1 b
// The vectors v come from packs with one student per lane, as Newton keeps its Jacobian: student l's v_it is lane l of
// v[i row_stride + t term_stride].
//
// Why not one matrix per lane: 8 matrices have 8 times the numbers, and past 128 rows they no longer fit the cache: every product then
// waits for memory. Measured (2026-11-21, Zen 5, AVX-512): see docs/speed.md.
//
// Layout: n is padded with zero rows to blocks of H = 2 packs of rows; a block holds all columns, [block][column][H], so both factors of
// all large products are read in order: a tile of H rows x C columns stays in registers, and per term takes 2 loads and C broadcasts for
// 2 C multiply-adds. Gram: panels of kTerms terms of all students are transposed from lanes to rows, [block][term][H].
// Cholesky: block column by block column, each tile minus the product of the blocks on its left (the same loop), then the tile on the
// diagonal is factored and those below are solved with it. Cost n^2 (terms) / 2 + n^3 / 6 multiply-adds per matrix.
#pragma once
#include <cmath>

#include "core/scratch.h"
#include "network/slots.h"
#include "network/tiles.h"
#include "scalar/across_lanes.h"
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

class BlockCholesky {
  using S = Pack<double>;
  static constexpr int L = kLanes<double>, H = 2 * L, C = kRegisters >= 32 ? 8 : 4;
  static constexpr int kTerms = 256;

  static int blocks_of(int n) { return (n + H - 1) / H; }

 public:
  BlockCholesky(int n, Scratch& scratch) : n_(n), blocks_(blocks_of(n)), padded_(static_cast<size_t>(blocks_) * H) {
    A_ = take_array<double>(scratch, L * padded_ * padded_);
    panel_ = take_array<double>(scratch, L * padded_ * kTerms);
    inverse_ = take_array<double>(scratch, L * padded_);
    work_ = take_array<double>(scratch, padded_);
  }

  // The lower triangles of G of the lanes in use.
  void gram(const S* v, size_t row_stride, size_t term_stride, int terms, const bool* used) {
    for (int t = 0; t == 0 || t < terms; t += kTerms) {
      const int count = terms - t < kTerms ? terms - t : kTerms;
      spread(v + static_cast<size_t>(t) * term_stride, row_stride, term_stride, count);
      for (int l = 0; l < L; ++l) {
        if (!used[l]) continue;
        const double* p = panel_ + static_cast<size_t>(l) * padded_ * kTerms;
        for (int i = 0; i < blocks_; ++i)
          for (int j = 0; j <= i; ++j)
            for (int c = 0; c < H; c += C) {
              S sum[C][2] = {};
              products(p + static_cast<size_t>(i) * kTerms * H, p + static_cast<size_t>(j) * kTerms * H + c, count, sum);
              S* out = tile(l, i, j * H + c);
              for (int q = 0; q < C; ++q)
                for (int half = 0; half < 2; ++half) out[2 * q + half] = t == 0 ? sum[q][half] : out[2 * q + half] + sum[q][half];
            }
      }
    }
  }

  double trace(int l) const {
    double sum = 0;
    for (int i = 0; i < n_; ++i) sum += *entry(l, i, i);
    return sum;
  }

  // G + damping = R R^T of one lane, in place; pivots are at least `tiny`.
  void factor(int l, double damping, double tiny) {
    for (int i = 0; i < n_; ++i) *entry(l, i, i) += damping;
    for (int j = 0; j < blocks_; ++j)
      for (int i = j; i < blocks_; ++i) {
        S* out = tile(l, i, j * H);
        for (int c = 0; c < H; c += C) {
          S sum[C][2] = {};
          products(reinterpret_cast<const double*>(tile(l, i, 0)), reinterpret_cast<const double*>(tile(l, j, 0)) + c, j * H, sum);
          for (int q = 0; q < C; ++q)
            for (int half = 0; half < 2; ++half) out[2 * (c + q) + half] -= sum[q][half];
        }
        if (i == j) factor_tile(l, j, tiny);
        else solve_tile(l, out, j);
      }
  }

  // z of one lane: on entry b, on exit the solution; other lanes are not touched.
  void solve(int l, S* z) {
    double* w = work_;
    for (size_t k = 0; k < padded_; ++k) w[k] = k < static_cast<size_t>(n_) ? lane(z + k, l) : 0.0;
    const double* inverse = inverse_ + l * padded_;
    for (int i = 0; i < blocks_; ++i) {
      const S* row = tile(l, i, 0);
      S sum[2] = {};
      for (int k = 0; k < i * H; ++k)
        for (int half = 0; half < 2; ++half) sum[half] += row[2 * k + half] * w[k];
      double* x = w + i * H;
      for (int q = 0; q < H; ++q) x[q] -= lane(sum, q);
      for (int q = 0; q < H; ++q) {
        const double* column = reinterpret_cast<const double*>(row + 2 * (i * H + q));
        x[q] *= inverse[i * H + q];
        for (int p = q + 1; p < H; ++p) x[p] -= column[p] * x[q];
      }
    }
    for (int i = blocks_ - 1; i >= 0; --i) {
      const S* row = tile(l, i, 0);
      double* x = w + i * H;
      for (int q = H - 1; q >= 0; --q) {
        const double* column = reinterpret_cast<const double*>(row + 2 * (i * H + q));
        double sum = x[q];
        for (int p = q + 1; p < H; ++p) sum -= column[p] * x[p];
        x[q] = sum * inverse[i * H + q];
      }
      S of[2];
      __builtin_memcpy(of, x, sizeof of);
      for (int k = 0; k < i * H; k += L) {
        S part[L];
#pragma GCC unroll 8
        for (int q = 0; q < L; ++q) part[q] = row[2 * (k + q)] * of[0] + row[2 * (k + q) + 1] * of[1];
        const S sums = lane_sums(part);
        S old;
        __builtin_memcpy(&old, w + k, sizeof old);
        old -= sums;
        __builtin_memcpy(w + k, &old, sizeof old);
      }
    }
    for (int k = 0; k < n_; ++k) lane(z + k, l) = w[k];
  }

 private:
  // Columns `column` and after of one block of rows.
  S* tile(int l, int block, int column) const {
    return reinterpret_cast<S*>(A_ + (l * padded_ + static_cast<size_t>(block) * H) * padded_ + static_cast<size_t>(column) * H);
  }
  double* entry(int l, int row, int column) const { return reinterpret_cast<double*>(tile(l, row / H, column)) + row % H; }

  // sum[c] += sum_t a_t b_tc: H rows a [terms][H] times C numbers of b [terms][H].
  static SL_INLINE void products(const double* a, const double* b, int terms, S (&sum)[C][2]) {
    for (int t = 0; t < terms; ++t, a += H, b += H) {
      const S x = reinterpret_cast<const S*>(a)[0], y = reinterpret_cast<const S*>(a)[1];
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        sum[c][0] += x * b[c];
        sum[c][1] += y * b[c];
      }
    }
  }

  // From one student per lane to one student after the other: panel [lane][block][term][H].
  void spread(const S* v, size_t row_stride, size_t term_stride, int terms) {
    for (int i = 0; i < blocks_; ++i)
      for (int t = 0; t < terms; ++t)
        for (int half = 0; half < 2; ++half) {
          S row[L];
          const int first = i * H + half * L;
#pragma GCC unroll 8
          for (int q = 0; q < L; ++q) row[q] = first + q < n_ ? v[static_cast<size_t>(first + q) * row_stride + t * term_stride] : S{};
          transpose<double>(row);
#pragma GCC unroll 8
          for (int l = 0; l < L; ++l)
            reinterpret_cast<S*>(panel_ + ((l * padded_ + static_cast<size_t>(i) * H) * kTerms + static_cast<size_t>(t) * H))[half] =
                row[l];
        }
  }

  void factor_tile(int l, int j, double tiny) {
    S* T = tile(l, j, j * H);
    for (int c = 0; c < H; ++c) {
      S* column = T + 2 * c;
      const double d = lane(column, c);
      const double inverse = 1.0 / std::sqrt(d < tiny ? tiny : d);  // NaN stays NaN
      inverse_[l * padded_ + static_cast<size_t>(j) * H + c] = inverse;
      column[0] *= inverse;
      column[1] *= inverse;
      for (int q = c + 1; q < H; ++q) {
        const double w = lane(column, q);
        T[2 * q] -= w * column[0];
        T[2 * q + 1] -= w * column[1];
      }
    }
  }
  void solve_tile(int l, S* T, int j) {
    const double* D = reinterpret_cast<const double*>(tile(l, j, j * H));
    const double* inverse = inverse_ + l * padded_ + static_cast<size_t>(j) * H;
    for (int c = 0; c < H; ++c) {
      S x = T[2 * c], y = T[2 * c + 1];
      for (int q = 0; q < c; ++q) {
        x -= D[q * H + c] * T[2 * q];
        y -= D[q * H + c] * T[2 * q + 1];
      }
      T[2 * c] = x * inverse[c];
      T[2 * c + 1] = y * inverse[c];
    }
  }

  const int n_, blocks_;
  const size_t padded_;
  double *A_, *panel_, *inverse_, *work_;
};

}  // namespace SL_ISA
}  // namespace sl
