// Outputs and linear systems in double-double balls, one student or system at a time. See ops/enclosed.h.
#include "ops/enclosed.h"

#include "cpu/models.h"
#include "method/enclosed_solve.h"

namespace sl {
namespace SL_ISA {
namespace {

using Ball = DoubleDoubleBall;

Ball at(const EnclosedNumbers& a, int64_t k) { return {a.hi[k], a.lo ? a.lo[k] : 0.0, a.rad ? a.rad[k] : 0.0}; }

template <class Model>
void outputs_item(void* context, int, int64_t b, Control&) {
  const EnclosedOutputsArgs& a = *static_cast<const EnclosedOutputsArgs*>(context);
  const Shape& s = *a.shape;
  Scratch scratch;
  Model model(s, scratch, Tables::gradient);
  Ball *theta = take_array<Ball>(scratch, s.size), *y = take_array<Ball>(scratch, s.equations);
  for (int k = 0; k < s.size; ++k) theta[k] = at(a.theta, b * s.size + k);
  for (int k = 0; k < s.inputs_size; ++k) *model.input(k) = Ball(a.x[b * s.inputs_size + k]);
  bool all[kMaxGroups];
  for (bool& g : all) g = true;
  model.learn(all);
  model.inputs_ready(Ball(1.0));
  model.prepare(theta);
  model.forward(theta, y);
  for (int e = 0; e < s.equations; ++e) {
    const int64_t to = b * s.equations + e;
    const Ball value = a.y.hi ? y[e] - at(a.y, to) : y[e];
    a.hi[to] = value.hi;
    a.lo[to] = value.lo;
    a.rad[to] = value.rad;
  }
}

void systems_item(void* context, int, int64_t b, Control&) {
  const EnclosedSystemsArgs& a = *static_cast<const EnclosedSystemsArgs*>(context);
  const int m = a.m, k = a.k;
  const size_t entries = static_cast<size_t>(m) * k;
  Scratch scratch;
  PickedSolve system(scratch, m, k);
  Ball *A = take_array<Ball>(scratch, entries), *w = take_array<Ball>(scratch, k);
  for (size_t e = 0; e < entries; ++e) A[e] = at(a.A, static_cast<int64_t>(b * entries + e));
  for (int c = 0; c < k; ++c) w[c] = Ball(a.hi[b * k + c], a.lo[b * k + c], a.rad[b * k + c]);
  system.load(A, m, k);
  a.proven[b] = system.solve([&](int r) { return at(a.right, b * m + r); }, a.allowed + b * k, w);
  for (int c = 0; c < k; ++c) {
    a.hi[b * k + c] = w[c].hi;
    a.lo[b * k + c] = w[c].lo;
    a.rad[b * k + c] = a.proven[b] ? w[c].rad : __builtin_nan("");
  }
}

void pick_item(void* context, int, int64_t b, Control&) {
  const PickColumnsArgs& a = *static_cast<const PickColumnsArgs*>(context);
  const size_t entries = static_cast<size_t>(a.m) * a.k;
  Scratch scratch;
  double* work = take_array<double>(scratch, entries + a.k);
  int* chosen = a.chosen + b * a.count;
  if (!pick(a.A + b * entries, a.k, 1, a.m, a.k, a.allowed + b * a.k, a.count, work, chosen))
    for (int j = 0; j < a.count; ++j) chosen[j] = -1;
}

}  // namespace

void enclosed_outputs(const EnclosedOutputsArgs& a, Control& control) {
  Body body = a.shape->kind == Kind::feedforward ? outputs_item<Feedforward<Ball>> : outputs_item<Recurrent<Ball>>;
  parallel_for(a.batch, a.threads, control, body, const_cast<EnclosedOutputsArgs*>(&a));
}
void enclosed_systems(const EnclosedSystemsArgs& a, Control& control) {
  parallel_for(a.batch, a.threads, control, systems_item, const_cast<EnclosedSystemsArgs*>(&a));
}
void pick_columns(const PickColumnsArgs& a, Control& control) {
  parallel_for(a.batch, a.threads, control, pick_item, const_cast<PickColumnsArgs*>(&a));
}

}  // namespace SL_ISA
}  // namespace sl
