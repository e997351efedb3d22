// Descent on a part of the samples in each step. See ops/descend.h.
//
// An epoch is one order of the m samples, drawn from (seed, epoch) by core/draws.h: the same for all students, machines and calls. Its
// steps take the first, second, .. `batch_size` samples of it; what does not fill a last step is left out, so an epoch has
// floor(m / batch_size) steps. The gradient of a step is that of its samples times m / batch_size: in the mean over orders the whole
// gradient, so that a rate means the same for every batch size.
//
// A step is a descent of one step on these samples, by the same kernels, in which learnable weights and moments are carried on; groups of
// students go through all their steps one after the other, so that what a step needs stays in the caches of one core. The loss is told at
// the end, for all samples. A student whose loss of a step is not finite goes back to the weights before the last update.
#include "cpu/descend_minibatches.h"

#include <cstring>
#include <utility>

#include "core/draws.h"
#include "core/scratch.h"
#include "method/optimizers.h"
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {
namespace {

template <class T>
struct Work {
  const DescendArgs<T>* args;
  void (*descend)(const DescendArgs<T>&, Control&);
  int64_t students;  // of a group
};

void draw_order(uint64_t seed, int64_t epoch, int samples, int* order) {
  draws::Words words(Philox(seed, kBatches, static_cast<uint32_t>(epoch), static_cast<uint32_t>(static_cast<uint64_t>(epoch) >> 32)));
  for (int k = 0; k < samples; ++k) order[k] = k;
  for (int k = 0; k + 1 < samples; ++k) {
    const int other = k + static_cast<int>(words.below(static_cast<uint32_t>(samples - k))), kept = order[k];
    order[k] = order[other];
    order[other] = kept;
  }
}

// Of an array in which samples lie by columns, [rows][m], or by rows, [m][numbers]: those of a minibatch.
template <class T>
void take_columns(const T* from, int rows, int samples, const int* which, int count, T* to) {
  for (int j = 0; j < rows; ++j)
    for (int k = 0; k < count; ++k) to[j * count + k] = from[j * samples + which[k]];
}
template <class T>
void take_rows(const T* from, int numbers, const int* which, int count, T* to) {
  for (int k = 0; k < count; ++k) std::memcpy(to + k * numbers, from + which[k] * numbers, sizeof(T) * static_cast<size_t>(numbers));
}
template <class T>
void take_inputs(const Shape& s, const T* from, const int* which, int count, T* to) {
  if (s.kind == Kind::feedforward) return take_columns(from, s.widths[0], s.samples, which, count, to);
  const int numbers = s.steps * s.inputs;
  take_rows(from, numbers, which, count, to);
  if (s.start) take_rows(from + s.samples * numbers, s.hidden, which, count, to + count * numbers);
}
template <class T>
void take_targets(const Shape& s, const T* from, const int* which, int count, T* to) {
  if (s.kind == Kind::feedforward) take_columns(from, s.widths[s.layers], s.samples, which, count, to);
  else take_rows(from, s.steps * s.outputs, which, count, to);
}

template <class T>
void descend_group(void* context, int worker, int64_t group, Control& control) {
  const Work<T>& work = *static_cast<const Work<T>*>(context);
  const DescendArgs<T>& all = *work.args;
  const Shape& s = *all.students.shape;
  const int m = s.samples, size = all.more.batch_size, r = all.budget;
  const int64_t first = group * work.students;
  const int64_t count = all.students.batch - first < work.students ? all.students.batch - first : work.students;

  DescendArgs<T> whole = all;  // this group, all samples
  whole.students.batch = count;
  whole.students.theta += first * all.students.theta_stride;
  whole.students.x += first * all.students.x_stride;
  whole.y += first * all.y_stride;
  whole.indices += first * all.index_stride;
  if (all.theta_out) whole.theta_out += first * s.size;
  whole.loss_out += first;
  whole.steps_out += first;
  whole.status_out += first;
  whole.threads = 1;
  whole.more.batch_size = 0;
  whole.more.learned += first * r;
  if (all.more.first) whole.more.first += first * r;
  if (all.more.second) whole.more.second += first * r;
  whole.more.resumed = true;
  if (!all.more.resumed)
    for (int64_t b = 0; b < count; ++b)
      for (int k = 0; k < r; ++k) {
        const int flat = whole.indices[b * whole.index_stride + k];
        whole.more.learned[b * r + k] = flat < s.size ? whole.students.theta[b * whole.students.theta_stride + flat] : T(0);
      }

  Shape part = s;
  part.samples = size;
  part.equations = s.equations / m * size;
  part.inputs_size = s.inputs_size / m * size;
  Scratch scratch;
  const int64_t own_x = all.students.x_stride ? count : 1, own_y = all.y_stride ? count : 1;
  T* x = take_array<T>(scratch, static_cast<size_t>(own_x * part.inputs_size));
  T* y = take_array<T>(scratch, static_cast<size_t>(own_y * part.equations));
  const size_t weights = static_cast<size_t>(count * r);
  T *before = take_array<T>(scratch, weights), *now = take_array<T>(scratch, weights);  // of the last two steps
  int8_t* diverged = take_array<int8_t>(scratch, static_cast<size_t>(count));
  int* order = take_array<int>(scratch, static_cast<size_t>(m));
  DescendArgs<T> step = whole;
  step.students.shape = &part;
  step.students.x = x;
  step.students.x_stride = all.students.x_stride ? part.inputs_size : 0;
  step.y = y;
  step.y_stride = all.y_stride ? part.equations : 0;
  step.theta_out = nullptr;
  step.tol = -1;
  step.more.gradient = static_cast<double>(m) / size;

  Control quiet;  // polls for Ctrl-C come from the outer call
  const int64_t per_epoch = m / size;
  int64_t drawn = -1;
  BiasCorrection correction;
  correction.power1 = all.more.power1;
  correction.power2 = all.more.power2;
  for (int64_t b = 0; b < count; ++b) diverged[b] = whole.status_out[b] == static_cast<int8_t>(FitStatus::diverged);
  // Who has just diverged goes back one update.
  auto go_back = [&](bool moved) {
    for (int64_t b = 0; b < count; ++b) {
      if (diverged[b] || whole.status_out[b] != static_cast<int8_t>(FitStatus::diverged)) continue;
      diverged[b] = 1;
      if (!moved) continue;
      std::memcpy(whole.more.learned + b * r, before + b * r, sizeof(T) * static_cast<size_t>(r));
      --whole.steps_out[b];
    }
  };
  // One step more than asked for is begun: its loss tells whether the last update was one too many, as a longer call would see.
  for (int64_t k = 0; k < all.steps + (all.steps > 0); ++k) {
    if (control.should_stop(worker)) return;
    const int64_t t = all.more.begun + k, epoch = t / per_epoch;
    if (epoch != drawn) draw_order(all.more.seed, drawn = epoch, m, order);
    const int* which = order + t % per_epoch * size;
    for (int64_t b = 0; b < own_x; ++b) take_inputs(s, whole.students.x + b * s.inputs_size, which, size, x + b * part.inputs_size);
    for (int64_t b = 0; b < own_y; ++b) take_targets(s, whole.y + b * s.equations, which, size, y + b * part.equations);
    step.steps = k < all.steps;
    step.more.last_loss = !step.steps;
    step.more.begun = t;
    step.more.power1 = correction.power1;
    step.more.power2 = correction.power2;
    std::memcpy(now, whole.more.learned, sizeof(T) * weights);
    work.descend(step, quiet);
    go_back(k > 0);
    std::swap(before, now);
    correction.next_step();
  }
  int8_t* status = take_array<int8_t>(scratch, static_cast<size_t>(count));  // the loss of all samples, finite or not, stops nobody
  int64_t* steps = take_array<int64_t>(scratch, static_cast<size_t>(count));
  std::memcpy(status, whole.status_out, static_cast<size_t>(count));
  whole.status_out = status;
  whole.steps_out = steps;
  whole.more.first = whole.more.second = nullptr;
  whole.steps = 0;
  work.descend(whole, quiet);
}

}  // namespace

template <class T>
void descend_by_minibatches(const DescendArgs<T>& a, void (*descend)(const DescendArgs<T>&, Control&), Control& control) {
  const int64_t workers = worker_count(a.students.batch, a.threads), lanes = kLanes<T>;
  const int64_t each = a.students.batch / (2 * workers) / lanes * lanes, most = 4 * lanes;  // full packs, and work for all workers
  Work<T> work{&a, descend, each < lanes ? lanes : each > most ? most : each};
  parallel_for((a.students.batch + work.students - 1) / work.students, a.threads, control, descend_group<T>, &work);
}

template void descend_by_minibatches(const DescendArgs<float>&, void (*)(const DescendArgs<float>&, Control&), Control&);
template void descend_by_minibatches(const DescendArgs<double>&, void (*)(const DescendArgs<double>&, Control&), Control&);

}  // namespace SL_ISA
}  // namespace sl
