// choose_columns: which `budget` columns of a Jacobian express a wanted change g best, found one at a time.
//   a [batch or 1][m][p] row-major, g [batch or 1][m]; candidates [batch or 1][p] (null: all); given [batch or 1][given_count]: columns that are
//   taken first, in this order, whatever they are worth (-1: none). Strides 0 where one row holds for the whole batch.
// With R_j what is left of column j beside the columns taken, and y what is left of g, the next one is the largest of
//   ols    (R_j . y)^2 / |R_j|^2   the column that leaves the smallest |y|^2,
//   omp    (R_j . y)^2 / |a_j|^2   the column most nearly parallel to y,
//   pivot  |R_j|^2                 g is not asked; also where nothing is left of g,
// among the columns with |R_j|^2 >= guard times the largest. A column with |R_j| < 1e-10 |a_j| is never taken; ties go to the first.
//   indices_out [batch][budget], -1 where no column was left; residuals_out [batch][budget]: |y|^2 after each. finite_out: as in project.h.
// Sums are of doubles, for floats too. Cost about 2 m (p + 2 budget) operations per column taken.
#pragma once
#include "core/parallel.h"
#include "ops/isa.h"

namespace sl {
enum class ColumnRule : int { ols, omp, pivot };
template <class T> struct ChooseColumnsArgs {
  const T* a;
  int64_t a_stride, batch;
  int m, p;
  const T* g;
  int64_t g_stride;
  const bool* candidates;
  int64_t candidates_stride;
  const int* given;
  int64_t given_stride;
  int given_count, budget;
  ColumnRule rule;
  double guard;
  int64_t* indices_out;
  T* residuals_out;
  int8_t* finite_out;
  int threads;
};
SL_PER_ISA(void choose_columns(const ChooseColumnsArgs<float>&, Control&); void choose_columns(const ChooseColumnsArgs<double>&, Control&);)
}  // namespace sl
