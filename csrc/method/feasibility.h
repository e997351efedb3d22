// feasibility.h: is there v >= 0 with C v = e? Phase one of the simplex method, from scratch, for one programme, with a certificate.
//
// C [r][k], e [r], entries of order one; a variable whose column is small is scaled up by a power of two (a small column is no zero, its
// variable may be large). Artificials a >= 0 in C' v + a = e' (rows turned so that e' >= 0) are driven out: the most negative reduced cost
// enters and the largest pivot leaves, after 3 r steps the first of each (Bland), so it ends.
//
// Why a no is a no: the tableau only proposes. Multipliers g of the equations are solved for again, from C, e and the last basis, and the
// two conditions of Farkas' lemma are tested on C and e themselves:
//   g C <= kFarkas (|g| |C| + max |g| / 10) in every column,     g e > kTolerance max(1, max |g|).
// Then ||C v - e||_1 max |g| >= g e - g C v, so every v >= 0 misses, unless sum_c v_c (||C_c||_1 + 1/10) > kTolerance / kFarkas = 2.5e5.
// The sums have some ten terms and err by 1e-15 of them, with or without fused multiply-adds: far below kTolerance, and covered by kFarkas.
// A yes is a basic solution, solved for again from C and e, whose basic entries are all above kTolerance (or, with a margin, above it).
//
// Cost: r + 1 by k + 1 numbers per step, some r to 2 r steps, then r^3 / 3.
#pragma once
#include <cmath>
#include <cstring>
#include <vector>

#include "method/small_dense.h"

namespace sl {

constexpr double kTolerance = 1e-9;  // relative to the sizes in a programme: smaller margins are undecided
constexpr double kLeastCost = 1e-11, kLeastPivot = 1e-9;
constexpr double kFarkas = 4e-15;  // what rounding may leave of g C: only v of 1e5 or so could make up for a miss of kTolerance

enum class Feasible : int { unknown = -1, no = 0, yes = 1 };

class Feasibility {
 public:
  int rows = 0, columns = 0;
  std::vector<double> C, e, v;  // C row-major; v: the solution after a yes

  void resize(int rows_, int columns_) {
    rows = rows_;
    columns = columns_;
    C.assign(static_cast<size_t>(rows) * columns, 0.0);
    e.assign(rows, 0.0);
  }
  double& at(int r, int k) { return C[static_cast<size_t>(r) * columns + k]; }

  // The status of v >= margin; C and e are scaled in place. work: counts the numbers touched.
  Feasible solve(double margin, double& work) {
    const int r = rows, k = columns, w = k + 1;
    unit_.assign(k, 1.0);
    for (int c = 0; c < k; ++c) {
      double most = 0;
      for (int i = 0; i < r; ++i) most = larger(most, std::fabs(at(i, c)));
      if (most > 0 && most < 1.0 / 256) {
        unit_[c] = std::ldexp(1.0, -std::ilogb(most) - 1);
        for (int i = 0; i < r; ++i) at(i, c) *= unit_[c];
      }
    }
    T_.assign(static_cast<size_t>(r + 1) * w, 0.0);
    basis_.resize(r);
    for (int i = 0; i < r; ++i) {  // rows turned, in C and e as well
      double sum = 0;
      for (int c = 0; c < k; ++c) sum += at(i, c);
      if (margin != 0) e[i] -= margin * sum;
      if (e[i] < 0) {
        e[i] = -e[i];
        for (int c = 0; c < k; ++c) at(i, c) = -at(i, c);
      }
      double* row = &T_[static_cast<size_t>(i) * w];
      std::memcpy(row, &C[static_cast<size_t>(i) * k], sizeof(double) * k);
      row[k] = e[i];
      for (int c = 0; c < w; ++c) cost()[c] -= row[c];
      basis_[i] = k + i;  // k + row: artificial
    }
    for (int step = 0; step < 60 * (r + 1); ++step) {
      const int enter = entering(step < 3 * r);
      const int leave = enter < 0 ? -1 : leaving(enter, step < 3 * r);
      if (leave < 0) return conclude(margin);
      pivot(leave, enter);
      work += static_cast<double>(r + 1) * w;
    }
    return Feasible::unknown;
  }

 private:
  std::vector<double> T_, unit_, g_, B_;
  std::vector<int> basis_;

  double* cost() { return &T_[static_cast<size_t>(rows) * (columns + 1)]; }
  int entering(bool steepest) {
    const double* c = cost();
    int best = -1;
    double least = -kLeastCost;
    for (int k = 0; k < columns; ++k)
      if (c[k] < least) {
        best = k;
        if (!steepest) return k;
        least = c[k];
      }
    return best;
  }
  int leaving(int enter, bool largest) {
    const int w = columns + 1;
    double least = INFINITY;
    for (int i = 0; i < rows; ++i)
      if (T_[static_cast<size_t>(i) * w + enter] > kLeastPivot) least = smaller(least, ratio(i, enter));
    const double tied = least * (1 + 1e-12) + 1e-300;  // often: equations with right side 0. Large pivots lose least to rounding
    int best = -1;
    for (int i = 0; i < rows; ++i) {
      const double p = T_[static_cast<size_t>(i) * w + enter];
      if (!(p > kLeastPivot) || ratio(i, enter) > tied) continue;
      if (best < 0 || (largest ? p > T_[static_cast<size_t>(best) * w + enter] : basis_[i] < basis_[best])) best = i;
    }
    return best;
  }
  double ratio(int i, int enter) const {
    const double* row = &T_[static_cast<size_t>(i) * (columns + 1)];
    return larger(row[columns], 0.0) / row[enter];
  }
  void pivot(int leave, int enter) {
    const int w = columns + 1;
    double* row = &T_[static_cast<size_t>(leave) * w];
    const double p = row[enter];
    for (int c = 0; c < w; ++c) row[c] /= p;
    for (int i = 0; i <= rows; ++i) {
      double* other = &T_[static_cast<size_t>(i) * w];
      const double f = other[enter];
      if (i == leave || f == 0) continue;
      for (int c = 0; c < w; ++c) other[c] -= f * row[c];
    }
    basis_[leave] = enter;
  }

  Feasible conclude(double margin) {
    const int r = rows, k = columns, w = k + 1;
    if (-cost()[k] > kTolerance && refuted()) return Feasible::no;  // else perhaps a solution with large entries: they are solved for again
    int used = 0;
    for (int i = 0; i < r; ++i) {
      if (basis_[i] < k) {
        ++used;
        continue;
      }
      // An artificial that stays at zero is harmless where its equation has become 0 = 0, and where all entries may move both ways.
      for (int c = 0; c < k && margin == 0; ++c)
        if (std::fabs(T_[static_cast<size_t>(i) * w + c]) > 1e-9) return Feasible::unknown;
    }
    B_.resize(static_cast<size_t>(r) * used + r);
    double *right = B_.data() + static_cast<size_t>(r) * used, *column = B_.data();
    for (int i = 0; i < r; ++i) right[i] = e[i];
    for (int i = 0; i < r; ++i)
      if (basis_[i] < k)
        for (int q = 0; q < r; ++q) *column++ = at(q, basis_[i]);
    g_.assign(r + 1, 0.0);
    if (!least_squares(B_.data(), r, used, right, g_.data())) return Feasible::unknown;
    v.assign(k, 0.0);
    double size = 1, least = used ? INFINITY : 1;
    for (int i = 0, q = 0; i < r; ++i)
      if (basis_[i] < k) {
        v[basis_[i]] = g_[q];
        size = larger(size, g_[q]);
        least = smaller(least, g_[q++]);
      }
    if (!(least > (margin != 0 ? -0.5 * margin : kTolerance * size))) return Feasible::unknown;
    for (int i = 0; i < r; ++i) {
      double miss = -e[i], sizes = std::fabs(e[i]);
      for (int c = 0; c < k; ++c) {
        miss += at(i, c) * v[c];
        sizes += std::fabs(at(i, c) * v[c]);
      }
      if (!(std::fabs(miss) < 1e-3 * kTolerance * size + 1e-15 * sizes)) return Feasible::unknown;  // the latter: the sum's own rounding
    }
    for (int c = 0; c < k; ++c) v[c] = (v[c] + margin) * unit_[c];
    return Feasible::yes;
  }

  // Do the multipliers of the last basis, computed afresh, prove that there is none?
  bool refuted() {
    const int r = rows, k = columns;
    B_.assign(static_cast<size_t>(r) * r, 0.0);
    g_.assign(r, 0.0);
    for (int i = 0; i < r; ++i) {  // row i: the column of the i-th basic variable; B^T g = costs
      double* row = &B_[static_cast<size_t>(i) * r];
      if (basis_[i] >= k) {
        row[basis_[i] - k] = 1;
        g_[i] = 1;
      } else {
        for (int q = 0; q < r; ++q) row[q] = at(q, basis_[i]);
      }
    }
    eliminate(B_.data(), r, g_.data());
    double size = 1, gain = 0;
    for (int i = 0; i < r; ++i) {
      size = larger(size, std::fabs(g_[i]));
      gain += g_[i] * e[i];
    }
    if (!(gain > kTolerance * size)) return false;
    for (int c = 0; c < k; ++c) {
      double sum = 0, sizes = 0;
      for (int i = 0; i < r; ++i) {
        const double term = g_[i] * at(i, c);
        sum += term;
        sizes += std::fabs(term);
      }
      if (!(sum <= kFarkas * (sizes + 0.1 * size))) return false;
    }
    return true;
  }
};

}  // namespace sl
