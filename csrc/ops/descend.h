// descend: masked gradient descent of a batch of students, all steps in one call (D8).
//   loss = sum over equations of (y - y*)^2, or softmax cross-entropy summed over samples or steps (method/losses.h).
//   Only learnable weights have gradients, optimiser state and updates.
//   indices [batch or 1][budget]: ascending flat positions, padded with `size` where a student learns fewer.
//   theta_out must hold a copy of theta: only learnable entries are written, frozen ones are never touched. On a CPU it may be null.
//   loss_out: loss at theta_out. steps_out: updates contained in theta_out.
//   A student stops by itself when loss <= tol * ||y*||^2, with softmax tol * sum of y* (tol >= 0), and at its last finite theta when it
//   diverges.
// Cost per student and step: one forward pass, one backward pass, budget updates.
#pragma once
#include "core/parallel.h"
#include "ops/isa.h"
#include "ops/students.h"

namespace sl {
enum class Optimizer : int { sgd, momentum, adam };
enum class FitStatus : int8_t { steps_done = 0, converged = 1, diverged = 2 };
enum class Loss : int { squared, softmax };
enum class Schedule : int { constant, cosine, linear };

// What a descent may have beside steps at one rate from rest, on a CPU. A descent in several calls is one descent, bit for bit:
// `learned` and the moments carry on what calls before left there, and steps_out and status_out say on entry what they said (a student
// that has diverged stays as it is).
template <class T> struct DescendMore {
  Loss loss = Loss::squared;
  Schedule schedule = Schedule::constant;  // rate at step t = 0, 1, ..: lr, lr (1 + cos(pi t / horizon)) / 2, lr (1 - t / horizon); then 0
  int64_t horizon = 0;
  int64_t begun = 0;  // steps of calls before,
  double power1 = 1, power2 = 1;  // and Adam's 0.9^begun and 0.999^begun
  T *learned = nullptr, *first = nullptr, *second = nullptr;  // [batch][budget]: learnable weights, first and second moments
  int batch_size = 0;  // samples of a step (cpu/descend_minibatches.cpp), drawn by `seed`; 0: all
  uint64_t seed = 0;
  double gradient = 1;  // what gradients are multiplied with
  int washout = 0;  // recurrent: the first steps of each sequence, whose outputs do not count; their targets are 0
  bool last_loss = true;  // whether the loss after the last step is wanted
  bool resumed = false;  // the three hold what calls before left; otherwise they are only written
};

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
  DescendMore<T> more = {};
};
SL_PER_ISA(void descend(const DescendArgs<float>&, Control&); void descend(const DescendArgs<double>&, Control&);)
}  // namespace sl
