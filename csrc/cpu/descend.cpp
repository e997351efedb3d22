// Masked gradient descent, one student per lane, all steps in one call. See ops/descend.h.
//
// A step: the gradient of the loss (descend_sweeps.h), then the optimiser's rule for every learnable weight (method/optimizers.h).
// Everything of a pack of students (weights, inputs, tables, optimiser state) is in one scratch block, a few KB: L1. A step sees its
// network through Sweep: one copy of descend_pack for each optimiser's update, not for each network too.
// Weights are kept twice and updated from one copy into the other, so that a lane that diverges can go back one step.
// A lane that has converged or diverged is held still by its mask; when all lanes are, the pack ends.
#include "ops/descend.h"

#include <utility>

#include "cpu/descend_minibatches.h"
#include "cpu/descend_samples.h"
#include "cpu/descend_sequences.h"
#include "cpu/descend_sweeps.h"
#include "cpu/descend_units.h"
#include "cpu/descend_updates.h"

namespace sl {
namespace SL_ISA {
namespace {

template <class Update, class T>
void descend_pack(const SomeStudents<T>& some, Sweep<Pack<T>>& net, Scratch& scratch, int worker, int64_t pack, Control& control) {
  using S = Pack<T>;
  using M = PackMask<T>;
  constexpr int L = kLanes<T>;
  const DescendArgs<T>& a = *some.args;
  const Students<T>& in = a.students;
  const Shape& s = *in.shape;
  const int r = a.budget, E = s.equations;
  const size_t weights = static_cast<size_t>(s.size) + 1;  // entry `size` belongs to unused places of the index table
  Update update(s.size, r, scratch);
  auto take = [&](size_t count) { return static_cast<S*>(scratch.take(count * sizeof(S))); };
  S *theta = take(weights), *other = take(weights), *g = take(weights), *target = take(static_cast<size_t>(E));
  int* position = take_array<int>(scratch, weights);
  for (int k = 0; k < s.size; ++k) position[k] = net.position(k);
  position[s.size] = s.size;

  const int count = some.count - pack * L < L ? static_cast<int>(some.count - pack * L) : L;
  S target2{};  // what tol is relative to
  for (int l = 0; l < L; ++l) {
    const int64_t b = some.student(pack * L + (l < count ? l : 0));
    for (int k = 0; k < s.size; ++k) lane(theta + position[k], l) = in.theta[b * in.theta_stride + k];
    for (int k = 0; k < r; ++k) {
      const int flat = a.indices[b * a.index_stride + k];
      update.learn(k, l, position[flat]);
      if (a.more.resumed) lane(theta + position[flat], l) = a.more.learned[b * r + k];
    }
    for (int k = 0; k < E; ++k) lane(target + k, l) = a.y[b * a.y_stride + k];
  }
  for (int k = 0; k < s.inputs_size; ++k) {
    S* x = net.input(k);
    for (int l = 0; l < L; ++l) lane(x, l) = in.x[some.student(pack * L + (l < count ? l : 0)) * in.x_stride + k];
  }
  for (int k = 0; k < E; ++k) target2 += a.more.loss == Loss::softmax ? target[k] : target[k] * target[k];
  for (int k = 0; k <= s.size; ++k) other[k] = theta[k];
  net.learn(a.group_learns);
  if (a.index_stride == 0) net.learn_only(a.indices, r);
  net.prepare(theta);
  update.ready(theta);

  const T infinity = static_cast<T>(__builtin_inf());
  const S goal = a.tol >= 0 ? target2 * static_cast<T>(a.tol) : constant<S>(T(-1));
  S loss = constant<S>(infinity);
  M alive{};
  alive = alive == alive;
  int64_t before[L] = {}, done[L] = {};  // steps of calls before, and with those of this call
  int8_t status[L];
  for (int l = 0; l < L; ++l) status[l] = static_cast<int8_t>(FitStatus::steps_done);
  // f(student, k, its moments in lane l) for what lane l learns.
  auto each_moment = [&](int l, auto&& f) {
    const int64_t b = some.student(pack * L + l);
    for (int k = 0; k < r; ++k) {
      const int flat = a.indices[b * a.index_stride + k];
      if (flat < s.size) f(b * r + k, update.moments(k, position[flat]));
    }
  };
  // A lane's moments are kept as they are when it stops: they go on changing, its weights do not.
  auto keep_moments = [&](int l, bool zero) {
    if (!a.more.first || l >= count) return;
    each_moment(l, [&](int64_t at, Moments<S> m) {
      a.more.first[at] = zero ? T(0) : lane(m.first, l);
      if (a.more.second) a.more.second[at] = zero ? T(0) : lane(m.second, l);
    });
  };
  if (a.more.resumed)
    for (int l = 0; l < count; ++l) {
      const int64_t b = some.student(pack * L + l);
      before[l] = done[l] = a.steps_out[b];
      if (a.status_out[b] == static_cast<int8_t>(FitStatus::diverged)) {
        status[l] = a.status_out[b];
        alive[l] = 0;
      }
      if (a.more.first)
        each_moment(l, [&](int64_t at, Moments<S> m) {
          lane(m.first, l) = a.more.first[at];
          if (a.more.second) lane(m.second, l) = a.more.second[at];
        });
    }
  M still = ~alive;  // lanes that have only a loss to tell
  UpdateRule<T> rule(a);
  for (int64_t step = 0;; ++step) {
    if (step == a.steps && !a.more.last_loss) {
      for (int l = 0; l < L; ++l)
        if (alive[l]) {
          done[l] = before[l] + step;
          keep_moments(l, false);
        }
      break;
    }
    S now = net.loss_gradient(theta, target, g, step < a.steps);
    // A lane whose loss is no longer finite goes back to its last finite weights and stops.
    const M bad = alive & ~(now < constant<S>(infinity));
    if (any<M>(bad)) {
      for (int k = 0; k < s.size; ++k) theta[k] = select<S>(bad, other[k], theta[k]);
      update.restore(bad, theta);
      for (int l = 0; l < L; ++l)
        if (bad[l]) {
          status[l] = static_cast<int8_t>(FitStatus::diverged);
          done[l] = before[l] + (step > 0 ? step - 1 : 0);
          if (step == 0) lane(&loss, l) = lane(&now, l);
          keep_moments(l, true);
        }
      alive = alive & ~bad;
    }
    loss = select<S>(alive | still, now, loss);
    still = M{};
    const M reached = alive & (loss <= goal);
    if (any<M>(reached)) {
      for (int l = 0; l < L; ++l)
        if (reached[l]) {
          status[l] = static_cast<int8_t>(FitStatus::converged);
          done[l] = before[l] + step;
          keep_moments(l, false);
        }
      alive = alive & ~reached;
    }
    if (step == a.steps || !any<M>(alive)) {
      for (int l = 0; l < L; ++l)
        if (alive[l]) {
          done[l] = before[l] + step;
          keep_moments(l, false);
        }
      break;
    }
    if ((step & 255) == 255 && control.should_stop(worker)) return;
    rule.next_step();
    update.step(rule, g, alive, theta, other);
    std::swap(theta, other);
  }
  for (int l = 0; l < count; ++l) {
    const int64_t b = some.student(pack * L + l);
    a.loss_out[b] = lane(&loss, l);
    a.steps_out[b] = done[l];
    a.status_out[b] = status[l];
    for (int k = 0; k < r; ++k) {
      const int flat = a.indices[b * a.index_stride + k];
      if (flat >= s.size) continue;
      if (a.theta_out) a.theta_out[b * s.size + flat] = lane(theta + position[flat], l);
      if (a.more.learned) a.more.learned[b * r + k] = lane(theta + position[flat], l);
    }
  }
}

template <class Net, class T>
void descend_network(void* context, int worker, int64_t pack, Control& control) {
  using S = Pack<T>;
  const SomeStudents<T>& some = *static_cast<const SomeStudents<T>*>(context);
  const DescendArgs<T>& a = *some.args;
  const Shape& s = *a.students.shape;
  const int listed = a.index_stride == 0 ? a.budget : 0;
  auto run = [&](auto type) {
    using Update = typename decltype(type)::type;
    Scratch scratch;
    Net net(s, a.more.loss, a.more.washout, listed, scratch);
    descend_pack<Update>(some, net, scratch, worker, pack, control);
  };
  if (a.index_stride == 0) run(Type<SameUpdate<S>>{});
  else if (a.optimizer == Optimizer::adam) run(Type<OwnUpdate<S>>{});
  else run(Type<DenseUpdate<S>>{});
}

template <class T>
void descend_in_lanes(const SomeStudents<T>& some, Control& control) {
  const DescendArgs<T>& a = *some.args;
  const int64_t packs = (some.count + kLanes<T> - 1) / kLanes<T>;
  with_sweep<Pack<T>>(*a.students.shape, a.more.loss, [&](auto type) {
    parallel_for(packs, a.threads, control, descend_network<typename decltype(type)::type, T>, const_cast<SomeStudents<T>*>(&some));
  });
}

// Recurrent networks of many sequences: sequences in the lanes; with many units: units in the lanes. Students with few learnable weights, samples in the lanes, from the front of
// `order`; the others, students in the lanes, from its end.
template <class T>
void descend_batch(const DescendArgs<T>& a, Control& control) {
  const Shape& s = *a.students.shape;
  const int64_t batch = a.students.batch;
  if (descends_by_sequences<T>(s)) return descend_by_sequences(SomeStudents<T>{&a, nullptr, batch}, control);
  if (descends_by_units<T>(s, a.budget)) return descend_by_units(SomeStudents<T>{&a, nullptr, batch}, control);
  Scratch scratch;
  int64_t* order = take_array<int64_t>(scratch, static_cast<size_t>(batch));
  int64_t few = 0, others = 0;
  bool by_samples = false;
  for (int64_t b = 0; b < batch; ++b) {
    if (b == 0 || a.index_stride != 0) {
      int r = a.budget;
      while (r > 0 && a.indices[b * a.index_stride + r - 1] >= s.size) --r;
      by_samples = descends_by_samples<T>(s, a.indices + b * a.index_stride, r);
    }
    if (by_samples) order[few++] = b;
    else order[batch - ++others] = b;
  }
  if (few) descend_by_samples(SomeStudents<T>{&a, order, few}, control);
  if (others) descend_in_lanes(SomeStudents<T>{&a, order + few, others}, control);
}

template <class T>
void descend_from(DescendArgs<T> a, Control& control) {
  BiasCorrection correction;
  for (int64_t t = 0; t < a.more.begun; ++t) correction.next_step();
  a.more.power1 = correction.power1;
  a.more.power2 = correction.power2;
  if (a.more.batch_size > 0) descend_by_minibatches<T>(a, descend_batch<T>, control);
  else descend_batch(a, control);
}

}  // namespace

void descend(const DescendArgs<float>& a, Control& c) { descend_from(a, c); }
void descend(const DescendArgs<double>& a, Control& c) { descend_from(a, c); }

}  // namespace SL_ISA
}  // namespace sl
