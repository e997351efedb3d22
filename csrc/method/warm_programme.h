// warm_programme.h: one linear programme whose variables are barred and admitted again, solved each time from where it stands.
//
// Is there z >= 0 with A z = e, z = 0 where barred? A [columns][rows] column by column, rows turned so that e >= 0. The tableau T = B^-1 A
// and x = B^-1 e >= 0 belong to the equations alone: barring a variable changes what is minimised (the sum of basic variables that are
// barred, artificials among them), never the basis, so nothing is copied on the way down a search and nothing is restored on the way up.
// Mostly two or three pivots lead from one node of a search to the next.
//
// The columns of artificials stay in the tableau: they are B^-1, and what is minimised, summed over them, are the multipliers g of the
// equations. Nothing here is a proof: who asks tests a solution, or g, against the programme he made. T is computed anew now and then.
//
// Cost: (rows + 1) (columns + 1) numbers per pivot.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "method/small_dense.h"

namespace sl {

class WarmProgramme {
 public:
  int rows = 0, columns = 0;         // columns: without artificials
  std::vector<double> A, e;          // A column by column
  std::vector<unsigned char> barred;  // [columns + rows]; artificials always are
  double work = 0;                   // numbers touched

  void resize(int rows_, int columns_) {
    rows = rows_;
    columns = columns_;
    A.assign(static_cast<size_t>(rows) * columns, 0.0);
    e.assign(rows, 0.0);
    barred.assign(columns + rows, 0);
  }
  double* column(int c) { return &A[static_cast<size_t>(c) * rows]; }

  // Turns rows and starts with artificials in the basis, but in rows that have a variable of their own.
  void start() {
    sign_.assign(rows, 1.0);
    for (int r = 0; r < rows; ++r) {
      barred[columns + r] = 1;
      if (e[r] < 0) {
        sign_[r] = -1;
        e[r] = -e[r];
        for (int c = 0; c < columns; ++c) column(c)[r] = -column(c)[r];
      }
    }
    basic_.resize(rows);
    from_artificials();
    for (int c = 0; c < columns; ++c) {
      const double* entries = column(c);
      int only = -1;
      for (int r = 0; r < rows && only > -2; ++r)
        if (entries[r] != 0) only = only == -1 && entries[r] > 0 ? r : -2;
      if (only < 0 || basic_[only] < columns) continue;
      for (int k = 0; k < width(); ++k) row(only)[k] /= entries[only];
      right_[only] /= entries[only];
      basic_[only] = c;
    }
  }

  // Minimises the sum of barred variables; it is left in `missing`. Reduced costs above -least_cost count as zero. False where the steps
  // did not suffice.
  bool solve(double least_cost = 1e-11) {
    if (since_ > kRenew) renew();
    const int early = 3 * rows + 10;
    costs();
    for (int step = 0; step < 4 * early; ++step) {
      const int enter = entering(step < early, least_cost), leave = enter < 0 ? -1 : leaving(enter, step < early);
      if (leave < 0) {
        missing = 0;
        for (int r = 0; r < rows; ++r)
          if (barred[basic_[r]]) missing += larger(right_[r], 0.0);
        return true;
      }
      pivot(leave, enter);
    }
    missing = INFINITY;
    return false;
  }
  double missing = 0;

  // The value of every variable [columns].
  void values(double* z) const {
    for (int c = 0; c < columns; ++c) z[c] = 0;
    for (int r = 0; r < rows; ++r)
      if (basic_[r] < columns) z[basic_[r]] = larger(right_[r], 0.0);
  }
  // Multipliers g [rows] of the equations as they were before rows were turned: g A_c <= 0 where c is not barred, g e = missing.
  void multipliers(double* g) const {
    for (int r = 0; r < rows; ++r) g[r] = 0;
    for (int r = 0; r < rows; ++r)
      if (barred[basic_[r]])
        for (int q = 0; q < rows; ++q) g[q] += row(r)[columns + q];
    for (int r = 0; r < rows; ++r) g[r] *= sign_[r];
  }
  // The same, solved for again: B^T g = 1 where barred, else 0.
  void multipliers_afresh(double* g) {
    const size_t r2 = static_cast<size_t>(rows) * rows;
    B_.assign(2 * r2, 0.0);
    rest_.assign(2 * rows, 0.0);
    for (int i = 0; i < rows; ++i) {
      double* own = &B_[static_cast<size_t>(i) * rows];
      if (basic_[i] < columns)
        for (int q = 0; q < rows; ++q) own[q] = column(basic_[i])[q];
      else own[basic_[i] - columns] = 1;
      rest_[i] = barred[basic_[i]];
    }
    for (int q = 0; q < rows; ++q) g[q] = 0;
    for (int round = 0; round < 2; ++round) {  // the second one refines
      std::copy_n(B_.begin(), r2, B_.begin() + r2);
      for (int i = 0; i < rows; ++i) {
        rest_[rows + i] = rest_[i];
        for (int q = 0; q < rows; ++q) rest_[rows + i] -= B_[static_cast<size_t>(i) * rows + q] * g[q];
      }
      eliminate(B_.data() + r2, rows, rest_.data() + rows);
      for (int q = 0; q < rows; ++q) g[q] += rest_[rows + q];
    }
    for (int r = 0; r < rows; ++r) g[r] *= sign_[r];
  }
  void renew() {
    const std::vector<int> wanted = basic_;
    from_artificials();
    for (const int c : wanted) {  // in any order of rows; what cannot enter without a large error stays out
      if (c >= columns) continue;
      int best = -1;
      for (int r = 0; r < rows; ++r)
        if (basic_[r] >= columns && std::fabs(row(r)[c]) > (best < 0 ? 1e-9 : std::fabs(row(best)[c]))) best = r;
      if (best >= 0) pivot(best, c);
    }
    since_ = 0;
    for (int r = 0; r < rows; ++r)
      if (right_[r] < -1e-7) return from_artificials();
  }

 private:
  static constexpr int kRenew = 200;  // pivots
  static constexpr double kLeastPivot = 1e-9;
  std::vector<double> T_, right_, sign_, B_, rest_;
  std::vector<int> basic_;
  int since_ = 0;

  int width() const { return columns + rows; }
  double* row(int r) { return &T_[static_cast<size_t>(r) * width()]; }
  const double* row(int r) const { return &T_[static_cast<size_t>(r) * width()]; }

  void from_artificials() {
    T_.assign(static_cast<size_t>(rows + 1) * width(), 0.0);
    right_ = e;
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < columns; ++c) row(r)[c] = column(c)[r];
      row(r)[columns + r] = 1;
      basic_[r] = columns + r;
    }
    since_ = 0;
  }
  void costs() {
    double* cost = row(rows);
    for (int c = 0; c < columns; ++c) cost[c] = 0;
    for (int r = 0; r < rows; ++r)
      if (barred[basic_[r]])
        for (int c = 0; c < columns; ++c) cost[c] -= row(r)[c];
  }
  int entering(bool steepest, double least_cost) const {
    const double* cost = row(rows);
    int best = -1;
    double least = -least_cost;
    for (int c = 0; c < columns; ++c)
      if (cost[c] < least && !barred[c]) {
        best = c;
        if (!steepest) return c;
        least = cost[c];
      }
    return best;
  }
  double ratio(int r, int enter) const { return larger(right_[r], 0.0) / row(r)[enter]; }
  int leaving(int enter, bool largest) const {
    double least = INFINITY;
    for (int r = 0; r < rows; ++r)
      if (row(r)[enter] > kLeastPivot) least = smaller(least, ratio(r, enter));
    const double tied = least * (1 + 1e-12) + 1e-300;
    int best = -1;
    for (int r = 0; r < rows; ++r) {
      if (!(row(r)[enter] > kLeastPivot) || ratio(r, enter) > tied) continue;
      if (best < 0 || (largest ? row(r)[enter] > row(best)[enter] : basic_[r] < basic_[best])) best = r;
    }
    return best;
  }
  void pivot(int leave, int enter) {
    const int w = width();
    double* __restrict own = row(leave);
    const double p = own[enter];
    for (int c = 0; c < w; ++c) own[c] /= p;
    right_[leave] /= p;
    own[enter] = 1;
    for (int r = 0; r <= rows; ++r) {
      double* __restrict other = row(r);
      const double f = other[enter];
      if (r == leave || f == 0) continue;
      for (int c = 0; c < w; ++c) other[c] -= f * own[c];
      other[enter] = 0;
      if (r < rows) right_[r] -= f * right_[leave];
    }
    basic_[leave] = enter;
    ++since_;
    work += static_cast<double>(rows + 1) * w;
  }
};

}  // namespace sl
