// newton: does a start of Levenberg-Marquardt reach theta_A with f = y* ? Many starts per student (D8, method "newton").
//   Start 0 is the student's own weights; start s >= 1 draws every learnable weight k from N(0, start_scale[k]^2), or N(1, ..) for a
//   gain, from the counter-based stream (seed, task, first_trial + b, kStarts + s), so a start is the same whatever else runs.
//   A student is matched by its first start (in number) with sum (y - y*)^2 < tol * norm2; later starts are then skipped. norm2 is
//   ||y*||^2, or given for each student: a target of zero has no size of its own.
//   indices [batch or 1][budget], the same budget for all.
//   found_out [batch]: number of that start, -1 if none. loss_out: relative loss at theta_out (the best start's end point).
//   theta_out must hold a copy of theta. iterations_out: iterations of all students together.
// Cost per iteration: two forward passes, one Jacobian, min(r, equations)^3 / 6 + r min(r, equations) max(..) / 2.
#pragma once
#include "core/parallel.h"
#include "ops/isa.h"
#include "ops/students.h"

namespace sl {
struct NewtonArgs {
  Students<double> students;
  const double* y;
  int64_t y_stride;
  const int* indices;
  int64_t index_stride;
  int budget;
  const bool* group_learns;
  const double* start_scale;  // [size]
  int starts, max_iterations;
  double tol;
  uint64_t seed;
  uint32_t task;
  const uint32_t* trials;  // [batch]: trial number of each student
  double* theta_out;
  double* loss_out;
  int32_t* found_out;
  int64_t* iterations_out;
  int threads;
  const double* norm2 = nullptr;  // [batch], or null: ||y*||^2
  int first_gain = 1 << 30;  // of the shape: these weights start around 1
};
SL_PER_ISA(void newton(const NewtonArgs&, Control&);)
}  // namespace sl
