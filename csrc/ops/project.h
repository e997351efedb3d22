// project: what is left of a wanted change g of the outputs after the best change of some weights: with A the chosen columns of a Jacobian,
//   residual = min_x |g - A x|^2 = |(I - P) g|^2, P the projection on the span of A;   share = residual / |g|^2, 0 for g = 0;
//   x: coefficients of one minimiser.
//   a [batch or 1][m][p] row-major, columns [batch or 1][k]: positions in 0 .. p - 1, -1 for none; g [batch or 1][m]. Strides 0 where one row
//   holds for the whole batch.
// QR of the columns, each first brought to about unit length by a power of two (the span does not depend on it). A column of which less than
// rtol of all of A is left beside the columns before it depends on them: it is left out, and its coefficient is 0. Where that verdict could
// depend on the order (rank_real.h), the longest remaining column comes first.
// Sums are of doubles, for floats too. finite_out: 0 where a chosen column or g has a nan or inf; the other results then mean nothing.
// coefficients_out [batch][k] may be null. Cost 2 m k^2 - 2 k^3 / 3 + 4 m k operations, and reading the chosen columns.
#pragma once
#include "core/parallel.h"
#include "ops/isa.h"

namespace sl {
template <class T> struct ProjectArgs {
  const T* a;
  int64_t a_stride, batch;
  int m, p;
  const int* columns;
  int64_t columns_stride;
  int k;
  const T* g;
  int64_t g_stride;
  double rtol;
  T* residual_out;
  T* share_out;
  int64_t* rank_out;
  T* coefficients_out;
  int8_t* finite_out;
  int threads;
};
SL_PER_ISA(void project(const ProjectArgs<float>&, Control&); void project(const ProjectArgs<double>&, Control&);)
}  // namespace sl
