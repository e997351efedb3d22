// continuation: follows solutions z of a square polynomial system while its data move on a straight line (D7, section 3).
//
//   F(z; q) = R [f(theta with z at the learnable places; x) - y] = 0,   q(s) = (1 - s) q_from + s q_to,   s: 0 -> 1
//   f: a linear network (D1) over the complex numbers; z in C^k; R picks k of the equations (rows) or mixes all of them (mix).
//   A point q holds theta | x | y, or with `teacher` theta | x | theta*, and then y = f(theta*; x) moves on the variety of
//   reachable outputs (saturated systems, where kappa is below the number of equations that depend on the weights).
//   With `sliced` (not with `teacher`) a point holds theta | x | y | v | c, v [equations], c [k], and F(z; q) = R [f - y - v (c . z)]: the
//   curve f(z) in y + C v, cut by a hyperplane that is tilted by c (trace tests).
//   points [points][width][2], width = size + inputs_size + (equations, or size with `teacher`, or 2 equations + k with `sliced`);
//   complex numbers as pairs.
//   indices [allocations][k] learnable places, ascending; degrees [allocations][k]: degree of every equation of F in z (an upper
//   bound does; it only decides how the system is scaled near infinity). rows [k], or mix [k][equations].
//   Job j: allocation[j], from[j], to[j] (point numbers), start [jobs][k][2] a solution at q_from; group[j] (0 .. jobs - 1).
//   With stop_at_real, the jobs of a group are skipped once an earlier one of them has ended at a point that looks real.
// Out: end [jobs][k][2], status, steps, largest = the largest |z|_inf / 1 met on the way, correction = relative size of the last Newton
//   correction at the end. converged: a solution at q_to up to that correction. infinite: the path leaves every bounded set.
//   failed: the step fell below the least allowed, or the number of steps exceeded max_steps, or the end did not settle.
// Cost per step: two residuals with Jacobians, a jet of the outputs (three forward passes), two eliminations of k x (k + 2).
#pragma once
#include "core/parallel.h"
#include "core/shape.h"
#include "ops/isa.h"

namespace sl {
enum class PathStatus : int8_t { converged = 0, infinite = 1, failed = 2, skipped = 3 };

struct ContinuationArgs {
  const Shape* shape;
  bool teacher, sliced;
  const double* points;
  int64_t point_count;
  const int* indices;
  int64_t allocations;
  int budget;
  const int* degrees;
  const int* rows;    // null with mix
  const double* mix;  // null with rows
  const bool* group_learns;  // [groups of the network]: some allocation learns in this group
  int64_t jobs;
  const int *allocation, *from, *to, *group;
  const double* start;
  bool stop_at_real;
  double aim;       // wanted relative size of the first Newton correction; accepted up to ten times that
  double least_step;
  int max_steps;
  double* end;
  int8_t* status;
  int32_t* steps;
  double* largest;
  double* correction;
  int threads;
};
// Complex numbers of a point.
SL_INLINE int64_t point_width(const ContinuationArgs& a, const Shape& s) {
  return s.size + s.inputs_size + (a.teacher ? s.size : s.equations) + (a.sliced ? s.equations + a.budget : 0);
}
SL_PER_ISA(void continuation(const ContinuationArgs&, Control&);)
}  // namespace sl
