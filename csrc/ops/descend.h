// descend: masked gradient descent of a batch of students, all steps in one call (D8).
//   loss = sum over equations of (y - y*)^2.   Only learnable weights have gradients, optimiser state and updates.
//   indices [batch or 1][budget]: ascending flat positions, padded with `size` where a student learns fewer.
//   theta_out must hold a copy of theta: only learnable entries are written, frozen ones are never touched.
//   loss_out: loss at theta_out. steps_out: updates contained in theta_out.
//   A student stops by itself when loss <= tol * ||y*||^2 (tol >= 0), and at its last finite theta when it diverges.
// Cost per student and step: one forward pass, one backward pass, budget updates.
#pragma once
#include "core/parallel.h"
#include "ops/isa.h"
#include "ops/students.h"

namespace sl {
enum class Optimizer : int { sgd, momentum, adam };
enum class FitStatus : int8_t { steps_done = 0, converged = 1, diverged = 2 };

template <class T> struct DescendArgs {
  Students<T> students;
  const T* y;  // [batch or 1][equations]
  int64_t y_stride;
  const int* indices;
  int64_t index_stride;
  int budget;
  const bool* group_learns;  // [groups]: some student learns in this group
  Optimizer optimizer;
  int64_t steps;
  double lr, tol;
  T* theta_out;
  T* loss_out;
  int64_t* steps_out;
  int8_t* status_out;
  int threads;
};
SL_PER_ISA(void descend(const DescendArgs<float>&, Control&); void descend(const DescendArgs<double>&, Control&);)
}  // namespace sl
