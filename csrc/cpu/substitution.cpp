// Trials solved by substitution, some in a row by one worker in the same scratch memory. See ops/substitution.h, method/substitution.h.
#include "method/substitution.h"

#include "cpu/models.h"

namespace sl {
namespace SL_ISA {
namespace {

using Ball = DoubleDoubleBall;
constexpr int kTogether = 16;  // trials of an item: the scratch memory of one is zeroed once

template <class Solver, class One>
void solve_some(const SubstitutionArgs& a, int64_t item, Solver& solver, Scratch& scratch, Control& control, int worker, const One& one) {
  const Shape& s = *a.shape;
  Ball *theta = take_array<Ball>(scratch, s.size), *y = take_array<Ball>(scratch, s.equations);
  const int64_t end = (item + 1) * kTogether < a.batch ? (item + 1) * kTogether : a.batch;
  for (int64_t b = item * kTogether; b < end; ++b) {
    if (control.should_stop(worker)) return;
    const int64_t at = b * s.size, from = b * s.equations;
    for (int k = 0; k < s.size; ++k) theta[k] = Ball(a.theta_hi[at + k], a.theta_lo[at + k], a.theta_rad[at + k]);
    for (int e = 0; e < s.equations; ++e) y[e] = Ball(a.y_hi[from + e], a.y_lo ? a.y_lo[from + e] : 0.0, a.y_rad ? a.y_rad[from + e] : 0.0);
    SubstitutedTrial trial{a.theta_hi + at,
                           a.x + b * s.inputs_size,
                           y,
                           a.use ? a.use + at : nullptr,
                           a.rounding ? a.rounding + from : nullptr,
                           a.own_rounding,
                           theta,
                           a.first_gap ? a.first_gap + b * s.outputs : nullptr,
                           false,
                           false,
                           false};
    one(solver, trial, b);
    for (int k = 0; k < s.size; ++k) {
      a.theta_hi[at + k] = theta[k].hi;
      a.theta_lo[at + k] = theta[k].lo;
      a.theta_rad[at + k] = theta[k].rad;
    }
    a.proven[b] = trial.proven;
    a.refused[b] = trial.refused;
    a.near[b] = trial.near;
  }
}

void rows_item(void* context, int worker, int64_t item, Control& control) {
  const SubstitutionArgs& a = *static_cast<const SubstitutionArgs*>(context);
  const int first = a.first_given;
  Scratch scratch;
  SubstitutedRows solver(*a.shape, first, scratch);
  solve_some(a, item, solver, scratch, control, worker, [](SubstitutedRows& by, SubstitutedTrial& trial, int64_t) { by.solve(trial); });
}

void column_item(void* context, int worker, int64_t item, Control& control) {
  const SubstitutionArgs& a = *static_cast<const SubstitutionArgs*>(context);
  const int first = a.first_given;
  Scratch scratch;
  SubstitutedColumn solver(*a.shape, first, scratch);
  solve_some(a, item, solver, scratch, control, worker,
             [&](SubstitutedColumn& by, SubstitutedTrial& trial, int64_t b) { by.solve(trial, a.unit[b]); });
}

template <class Model>
void affine_item(void* context, int worker, int64_t item, Control& control) {
  using Solver = SubstitutedAffine<Model>;
  const SubstitutionArgs& a = *static_cast<const SubstitutionArgs*>(context);
  Scratch scratch;
  Solver solver(*a.shape, a.count, scratch);
  solve_some(a, item, solver, scratch, control, worker,
             [&](Solver& by, SubstitutedTrial& trial, int64_t b) { by.solve(trial, a.place + b * a.count, a.rows + b * a.count); });
}

template <class Model>
void last_rows_item(void* context, int worker, int64_t item, Control& control) {
  using Solver = SubstitutedLastRows<Model>;
  const SubstitutionArgs& a = *static_cast<const SubstitutionArgs*>(context);
  Scratch scratch;
  Solver solver(*a.shape, a.count, scratch);
  solve_some(a, item, solver, scratch, control, worker, [&](Solver& by, SubstitutedTrial& trial, int64_t) { by.solve(trial, a.held); });
}

}  // namespace

void substitution(const SubstitutionArgs& a, Control& control) {
  const bool deep = a.shape->kind == Kind::feedforward;
  Body body = rows_item;
  if (a.form == SubstitutionForm::column) body = column_item;
  if (a.form == SubstitutionForm::affine) body = deep ? affine_item<Feedforward<Ball>> : affine_item<Recurrent<Ball>>;
  if (a.form == SubstitutionForm::last_rows) body = deep ? last_rows_item<Feedforward<Ball>> : last_rows_item<Recurrent<Ball>>;
  parallel_for((a.batch + kTogether - 1) / kTogether, a.threads, control, body, const_cast<SubstitutionArgs*>(&a));
}

}  // namespace SL_ISA
}  // namespace sl
