// substitution: matches by substitution (T7, T2), one trial after the other; every number is a double-double ball.
//   Solves f(theta; x) = y for learnable weights in `use`, in one of four forms (method/substitution.h). theta [batch][size] comes with the
//   student's weights and goes out with the solution in the place of those solved for; x is exact, y a ball (null: zeros).
//   proven [batch]: every matrix was proven invertible: a true solution of the equations that were solved lies within the radii of theta.
// Cost of a trial of the row form: T (n + i) n + 2 o m^3 terms of dot products, m = T - 1 or T equations a row.
#pragma once
#include "core/parallel.h"
#include "core/shape.h"
#include "ops/isa.h"

namespace sl {

enum class SubstitutionForm : int { rows, column, affine, last_rows };

struct SubstitutionArgs {
  const Shape* shape;
  int64_t batch;
  SubstitutionForm form;
  bool first_given;  // rows, column: y_1 is right, or all of c learns; else nothing is shared, and equations begin with y_1
  const double* x;  // [batch][inputs_size]
  const double *y_hi, *y_lo, *y_rad;  // [batch][equations]; lo and rad, or null
  const bool* use;  // [batch][size]; affine: null
  const double* rounding;  // rows with tanh and relu [batch][equations]: how far y may be from what it stands for; else null
  double own_rounding;  // .. and so much of what the student's outputs are made of
  const int* unit;  // column [batch]: whose column of W
  int count;  // affine: equations solved; last_rows: samples or steps that settle the others
  const int* place;  // affine [batch][count]: the weights solved for
  const int* rows;  // affine [batch][count]: the equations solved
  const bool* held;  // last_rows [outputs]: the rows solved
  double *theta_hi, *theta_lo, *theta_rad;  // [batch][size], in and out
  bool *proven, *refused, *near;  // [batch]; rows with tanh and relu: an activity lies outside the values of phi, or too near to the edge
  double* first_gap;  // rows, column with y_1 given [batch][outputs]: a bound of |f_1(theta; x) - y_1|; else null
  int threads;
};

SL_PER_ISA(void substitution(const SubstitutionArgs&, Control&);)
}  // namespace sl
