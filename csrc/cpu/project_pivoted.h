// project_pivoted.h: the projection of one g on the columns of one matrix (see ops/project.h), the longest remaining column first.
//
// Householder QR, SIMD lanes along a column: columns of `chunks` packs, g behind them, reached through pointers so that an exchange moves no
// numbers. In step t the longest remainder becomes the reflection H = I - tau w w^T, which is applied to all others and to g. It ends where no
// remainder is longer than rtol of all columns together, or after m steps. The upper part of the columns taken is R, that of g is z, and
// what is left of g below it is the residual; R x = z by substitution. Cost 3 m k^2 multiply-adds, remainders measured anew in every step.
#pragma once
#include <cmath>
#include <utility>

#include "core/scratch.h"
#include "cpu/rank_real_proof.h"
#include "ops/project.h"
#include "scalar/across_lanes.h"

namespace sl {
namespace SL_ISA {

class PivotedProjection {
  using S = Pack<double>;
  static constexpr int L = kLanes<double>;

 public:
  PivotedProjection(int m, int k, Scratch& scratch) : m_(m), k_(k), chunks_((m + L - 1) / L) {
    data_ = take_array<S>(scratch, static_cast<size_t>(k + 1) * chunks_);
    w_ = take_array<S>(scratch, chunks_);
    column_ = take_array<S*>(scratch, k + 1);
    number_ = take_array<int>(scratch, k + 1);
    shift_ = take_array<int>(scratch, k + 1);
  }

  template <class T>
  void run(const ProjectArgs<T>& args, int64_t b) {
    const int taken = factor(args, b);
    args.finite_out[b] = taken >= 0;
    args.rank_out[b] = taken > 0 ? taken : 0;
    if (taken < 0) return;
    double* g = entries(k_);
    double left = 0, inside = 0;
    for (int i = 0; i < taken; ++i) inside += g[i] * g[i];
    for (int i = taken; i < m_; ++i) left += g[i] * g[i];
    args.residual_out[b] = static_cast<T>(std::ldexp(left, 2 * shift_[k_]));
    args.share_out[b] = static_cast<T>(left > 0 ? left / (left + inside) : 0);
    if (!args.coefficients_out) return;
    T* x = args.coefficients_out + b * k_;
    for (int j = 0; j < k_; ++j) x[j] = T(0);
    for (int t = taken - 1; t >= 0; --t) {
      const double* r = entries(t);
      const double value = g[t] / r[t];
      for (int i = 0; i < t; ++i) g[i] -= r[i] * value;
      x[number_[t]] = static_cast<T>(std::ldexp(value, shift_[k_] - shift_[number_[t]]));
    }
  }

 private:
  double* entries(int j) { return reinterpret_cast<double*>(column_[j]); }

  // A column as from[0], from[stride], .., times the power of two that brings its largest number near 1; false: not all is finite.
  template <class T>
  bool load(int j, const T* from, int64_t stride) {
    column_[j] = data_ + static_cast<size_t>(j) * chunks_;
    number_[j] = j;
    shift_[j] = 0;
    double* to = entries(j);
    for (int i = 0; i < chunks_ * L; ++i) to[i] = from && i < m_ ? static_cast<double>(from[i * stride]) : 0.0;
    double most = 0;
    for (int i = 0; i < m_; ++i) {
      const double size = std::fabs(to[i]);
      if (!(size <= DBL_MAX)) return false;
      most = size > most ? size : most;
    }
    if (most > 0) {
      std::frexp(most, &shift_[j]);
      for (int i = 0; i < m_; ++i) to[i] = std::ldexp(to[i], -shift_[j]);
    }
    return true;
  }

  // Squared length of column j from entry t on.
  double left(int j, int t) {
    const int first = t / L + 1;
    const double* p = entries(j);
    double sum = 0;
    for (int i = t; i < first * L; ++i) sum += p[i] * p[i];
    S rest{};
    for (int c = first; c < chunks_; ++c) rest += column_[j][c] * column_[j][c];
    return sum + total_of<S>(rest);
  }

  // How many columns are independent; -1: not all is finite.
  template <class T>
  int factor(const ProjectArgs<T>& args, int64_t b) {
    const T* a = args.a + b * args.a_stride;
    const int* columns = args.columns + b * args.columns_stride;
    double total = 0;
    for (int j = 0; j < k_; ++j) {
      if (!load(j, columns[j] < 0 ? nullptr : a + columns[j], args.p)) return -1;
      // from its largest number to its length: as near to 1 for long columns as for short ones
      const double length2 = left(j, 0);
      int more = 0;
      if (length2 > 0) std::frexp(std::sqrt(length2), &more);
      for (int i = 0; i < m_ && more != 0; ++i) entries(j)[i] = std::ldexp(entries(j)[i], -more);
      shift_[j] += more;
      total += std::ldexp(length2, -2 * more);
    }
    if (!load(k_, args.g + b * args.g_stride, 1)) return -1;
    const double floor2 = args.rtol * args.rtol * total;
    for (int t = 0; t < k_; ++t) {
      double best = floor2;
      int at = -1;
      for (int j = t; j < k_ && t < m_; ++j) {
        const double length2 = left(j, t);
        if (length2 > best) {
          best = length2;
          at = j;
        }
      }
      if (at < 0) return t;
      std::swap(column_[t], column_[at]);
      std::swap(number_[t], number_[at]);
      reflect(t, std::sqrt(best));
    }
    return k_;
  }

  void reflect(int t, double size) {
    const int first = t / L;
    double *p = entries(t), *w = reinterpret_cast<double*>(w_);
    for (int i = first * L; i < chunks_ * L; ++i) w[i] = i < t ? 0.0 : p[i];
    const double v = std::fabs(w[t]) + size, tau = 1 / (size * v);
    p[t] = w[t] < 0 ? size : -size;
    w[t] = w[t] < 0 ? -v : v;
    for (int j = t + 1; j <= k_; ++j) {
      S* x = column_[j];
      S sum{};
      for (int c = first; c < chunks_; ++c) sum += w_[c] * x[c];
      const S factor = constant<S>(total_of<S>(sum) * tau);
      for (int c = first; c < chunks_; ++c) x[c] -= factor * w_[c];
    }
  }

  const int m_, k_, chunks_;
  S *data_, *w_, **column_;
  int *number_, *shift_;  // of the columns in the order taken; the power of two of each column, by its own number
};

}  // namespace SL_ISA
}  // namespace sl
