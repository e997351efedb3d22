// Masked gradient descent, one student per lane, all steps in one call. See ops/descend.h.
//
//   e = 2 (y - y*),  g = backpropagation of e (math/),  then per learnable weight w (slot k), with g_k gathered lane by lane:
//     sgd       w -= lr g
//     momentum  v = 0.9 v + g;  w -= lr v
//     adam      m = 0.9 m + 0.1 g;  q = 0.999 q + 0.001 g^2;  w -= lr / (1 - 0.9^t) m / (sqrt(q / (1 - 0.999^t)) + 1e-8)
// Everything of a pack of students (weights, inputs, tables, optimiser state) is in one scratch block, a few KB: L1.
// A lane that has converged or diverged is held still by its mask; when all lanes are, the pack ends.
#include "ops/descend.h"

#include "cpu/models.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kMomentum = 0.9, kEpsilon = 1e-8;

template <class Model, class T, bool kSame>
void descend_pack(void* context, int worker, int64_t pack, Control& control) {
  using S = Pack<T>;
  using M = PackMask<T>;
  constexpr int L = kLanes<T>;
  const DescendArgs<T>& a = *static_cast<const DescendArgs<T>*>(context);
  const Students<T>& in = a.students;
  const Shape& s = *in.shape;
  const int r = a.budget, E = s.equations;
  Scratch scratch(Model::scratch_bytes(s) + sizeof(S) * (2 * static_cast<size_t>(s.size + 1) + 3 * static_cast<size_t>(E) + 4 * static_cast<size_t>(s.size + 1)) +
                  sizeof(M) * (s.size + 1) + sizeof(int) * (s.size + 1) +
                  5 * (sizeof(int) * Slots<L>::ints(r) + 64) + 1024);
  Model model(s, scratch);
  auto take = [&](size_t count) { return static_cast<S*>(scratch.take(count * sizeof(S))); };
  S *theta = take(s.size + 1), *g = take(s.size + 1);  // entry `size` belongs to unused slots
  S *target = take(E), *y = take(E), *e = take(E);
  // Adam works on the learnable weights gathered into slots. sgd and momentum are so cheap that it pays to update every weight that
  // some lane learns, under that weight's lane mask, instead of gathering and scattering (own masks only).
  const bool dense = !kSame && a.optimizer != Optimizer::adam;
  const int state = dense ? s.size + 1 : r;
  S *weight = take(state), *before = take(state), *first = take(state), *second = take(r);
  M* on = static_cast<M*>(scratch.take(sizeof(M) * (dense ? s.size + 1 : 0)));
  int* active = static_cast<int*>(scratch.take(sizeof(int) * (dense ? s.size + 1 : 0)));
  Slots<L> slots;
  slots.allocate(r, [&](size_t n) { return static_cast<int*>(scratch.take(n * sizeof(int))); });
  slots.same = kSame;

  const int count = in.batch - pack * L < L ? static_cast<int>(in.batch - pack * L) : L;
  S target2{};
  for (int l = 0; l < L; ++l) {
    const int64_t b = pack * L + (l < count ? l : 0);
    load_lane(s, model, theta, l, in.theta + b * in.theta_stride, in.x + b * in.x_stride);
    for (int k = 0; k < r; ++k) {
      const int flat = a.indices[b * a.index_stride + k];
      set_slot(model, slots, k, l, flat);
      if (!dense) lane(weight + k, l) = lane(theta + flat, l);
      else if (flat < s.size) on[flat][l] = -1;
    }
    for (int k = 0; k < E; ++k) lane(target + k, l) = a.y[b * a.y_stride + k];
  }
  for (int k = 0; k < E; ++k) target2 += target[k] * target[k];
  int actives = 0;
  if (dense) {
    for (int k = 0; k < s.size; ++k)
      if (any<M>(on[k])) {
        active[actives] = k;
        on[actives] = on[k];
        before[actives++] = theta[k];
      }
  } else {
    for (int k = 0; k < r; ++k) before[k] = weight[k];
  }
  model.inputs_ready(constant<S>(T(1)));
  model.learn(a.group_learns);
  model.prepare(theta);

  const T infinity = static_cast<T>(__builtin_inf());
  const S goal = a.tol >= 0 ? target2 * static_cast<T>(a.tol) : constant<S>(T(-1));
  S loss = constant<S>(infinity);
  M alive{};
  alive = alive == alive;
  int64_t done[L];
  int8_t status[L];
  for (int l = 0; l < L; ++l) {
    done[l] = 0;
    status[l] = static_cast<int8_t>(FitStatus::steps_done);
  }
  double power1 = 1, power2 = 1;
  for (int64_t step = 0;; ++step) {
    model.forward(theta, y);
    S now{};
    for (int k = 0; k < E; ++k) {
      const S d = y[k] - target[k];
      now += d * d;
      e[k] = d + d;
    }
    // A lane whose loss is no longer finite goes back to its last finite weights and stops.
    const M bad = alive & ~(now < constant<S>(infinity));
    if (any<M>(bad)) {
      if (dense) {
        for (int q = 0; q < actives; ++q) theta[active[q]] = select<S>(bad, before[q], theta[active[q]]);
      } else {
        for (int k = 0; k < r; ++k) {
          weight[k] = select<S>(bad, before[k], weight[k]);
          scatter(theta, slots.flat + k * L, weight[k], kSame);
        }
      }
      for (int l = 0; l < L; ++l)
        if (bad[l]) {
          status[l] = static_cast<int8_t>(FitStatus::diverged);
          done[l] = step > 0 ? step - 1 : 0;
          if (step == 0) lane(&loss, l) = lane(&now, l);
        }
      alive = alive & ~bad;
    }
    loss = select<S>(alive, now, loss);
    const M reached = alive & (loss <= goal);
    if (any<M>(reached)) {
      for (int l = 0; l < L; ++l)
        if (reached[l]) {
          status[l] = static_cast<int8_t>(FitStatus::converged);
          done[l] = step;
        }
      alive = alive & ~reached;
    }
    if (step == a.steps || !any<M>(alive)) {
      for (int l = 0; l < L; ++l)
        if (alive[l]) done[l] = step;
      break;
    }
    if ((step & 255) == 255 && control.should_stop(worker)) return;

    model.gradient(theta, e, g);
    g[s.size] = S{};
    power1 *= kBeta1;
    power2 *= kBeta2;
    const T rate = static_cast<T>(a.lr), rate1 = static_cast<T>(a.lr / (1 - power1)), scale2 = static_cast<T>(1 / (1 - power2));
    if (dense) {
      const bool momentum = a.optimizer == Optimizer::momentum;
      for (int q = 0; q < actives; ++q) {
        S* w = theta + active[q];
        S d = g[active[q]];
        if (momentum) d = first[q] = first[q] * T(kMomentum) + d;
        before[q] = *w;
        *w = select<S>(alive & on[q], *w - rate * d, *w);
      }
      continue;
    }
    for (int k = 0; k < r; ++k) {
      const S d = gather(g, slots.flat + k * L, kSame);
      S change;
      if (a.optimizer == Optimizer::adam) {
        first[k] = first[k] * T(kBeta1) + d * T(1 - kBeta1);
        second[k] = second[k] * T(kBeta2) + d * d * T(1 - kBeta2);
        change = rate1 * first[k] / (square_root(second[k] * scale2) + T(kEpsilon));
      } else if (a.optimizer == Optimizer::momentum) {
        first[k] = first[k] * T(kMomentum) + d;
        change = rate * first[k];
      } else {
        change = rate * d;
      }
      before[k] = weight[k];
      weight[k] = select<S>(alive, weight[k] - change, weight[k]);
      scatter(theta, slots.flat + k * L, weight[k], kSame);
    }
  }
  for (int l = 0; l < count; ++l) {
    const int64_t b = pack * L + l;
    a.loss_out[b] = lane(&loss, l);
    a.steps_out[b] = done[l];
    a.status_out[b] = status[l];
    for (int k = 0; k < r; ++k) {
      const int flat = slots.flat[k * L + l];
      if (flat < s.size) a.theta_out[b * s.size + flat] = lane(theta + flat, l);
    }
  }
}

template <class T>
void descend_batch(const DescendArgs<T>& a, Control& control) {
  const int64_t packs = (a.students.batch + kLanes<T> - 1) / kLanes<T>;
  with_model<Pack<T>>(*a.students.shape, [&](auto type) {
    using Model = typename decltype(type)::type;
    parallel_for(packs, a.threads, control, a.index_stride == 0 ? descend_pack<Model, T, true> : descend_pack<Model, T, false>,
                 const_cast<DescendArgs<T>*>(&a));
  });
}

}  // namespace

void descend(const DescendArgs<float>& a, Control& c) { descend_batch(a, c); }
void descend(const DescendArgs<double>& a, Control& c) { descend_batch(a, c); }

}  // namespace SL_ISA
}  // namespace sl
