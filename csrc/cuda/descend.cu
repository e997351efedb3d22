// Masked gradient descent, one student per thread, all steps in one launch. See ops/descend.h; the formulas are those of
// cpu/descend.cpp, one lane at a time.
//
//   Gradients only where a weight learns: after the adjoints, a weight's gradient is T (or m) products of two table entries.
//   At n = 8, T = 6, 12 learnable weights that is 72 products instead of 384, and it needs no scatter of a dense gradient.
//   Recurrent n = 4 and 8: W and D of the thread's student in registers for the whole step, activities and adjoints in the strip
//   (shared memory). A product W h then costs one instruction per multiply-add; with W in shared memory it would cost two, and with
//   the rows of W spread over the threads of a group every multiply-add would wait for a shuffle (32 a cycle against 128).
//   Up to 8 steps and 2 outputs all that has a fixed place is in registers, and loops over time are unrolled (descend_few_steps.cuh).
//   At n = 8, i = o = 2, T = 6, r = 12 in W, single precision, eight warps run on a multiprocessor of an H200: 26.5 KB and 240
//   registers each. A step is then 1370 instructions of a warp, where general loops would take 2800.
// A thread whose student has converged or diverged waits for its warp; its results are then as they were when it stopped.
#include <algorithm>
#include <vector>

#include "cuda/descend_few_steps.cuh"
#include "cuda/descend_in_registers.cuh"
#include "cuda/strip.cuh"
#include "ops/cuda.h"

namespace sl {
namespace SL_ISA {
namespace {

// Steps after which both bias corrections of Adam are 1 in double precision: 0.999^t < 2^-54.
constexpr int64_t kRates = 40000;

// Where a learnable weight acts, in the strip: four entries of int, or one where every position is below 255 (-1 is kept as 255).
template <bool kPacked> struct Places {
  Entry<int>* data;
  SL_HD static size_t entries(int budget) { return static_cast<size_t>(budget) * (kPacked ? 1 : 4); }
  SL_INLINE void set(int k, SlotPlace p) {
    if constexpr (kPacked) {
      const unsigned direct = static_cast<unsigned>(p.direct) & 255u;
      data[k] = static_cast<int>(static_cast<unsigned>(p.left) | static_cast<unsigned>(p.right) << 8 | direct << 16 |
                                 static_cast<unsigned>(p.direct_right) << 24);
    } else {
      data[4 * k] = p.left;
      data[4 * k + 1] = p.right;
      data[4 * k + 2] = p.direct;
      data[4 * k + 3] = p.direct_right;
    }
  }
  SL_INLINE SlotPlace at(int k) const {
    if constexpr (kPacked) {
      const unsigned v = static_cast<unsigned>(int(data[k]));
      const int direct = static_cast<int>(v >> 16 & 255u);
      return {static_cast<int>(v & 255u), static_cast<int>(v >> 8 & 255u), direct == 255 ? -1 : direct, static_cast<int>(v >> 24)};
    } else {
      return {data[4 * k], data[4 * k + 1], data[4 * k + 2], data[4 * k + 3]};
    }
  }
};

// A network of network/ with all its tables in the strip.
template <class Model, class T, bool kPacked> class Tabled {
  using C = Entry<T>;

 public:
  struct Tables { size_t bytes; };
  static Tables tables(const DescendArgs<T>& a) {
    const Shape& s = *a.students.shape;
    const size_t states = a.optimizer == Optimizer::adam ? 3 : a.optimizer == Optimizer::momentum ? 2 : 1;
    const size_t numbers = s.size + 2 * static_cast<size_t>(s.equations) + states * a.budget;
    return {Model::scratch_bytes(s, sl::SL_ISA::Tables::gradient) + sizeof(C) * numbers +
            sizeof(Entry<int>) * (a.budget + Places<kPacked>::entries(a.budget))};
  }
  static size_t bytes(const Tables& t) { return t.bytes; }

  SL_DEVICE Tabled(const Shape& s, const DescendArgs<T>& a, const Groups& groups, const Tables&, Strip strip)
      : s_(s), a_(a), model_(s, strip, sl::SL_ISA::Tables::gradient) {
    theta_ = take_array<C>(strip, s.size);
    target_ = take_array<C>(strip, s.equations);
    error_ = take_array<C>(strip, s.equations);
    before_ = take_array<C>(strip, a.budget);
    if (a.optimizer != Optimizer::sgd) first_ = take_array<C>(strip, a.budget);
    if (a.optimizer == Optimizer::adam) second_ = take_array<C>(strip, a.budget);
    flats_ = take_array<Entry<int>>(strip, a.budget);
    places_ = {take_array<Entry<int>>(strip, Places<kPacked>::entries(a.budget))};
    model_.learn(groups.learns);
    model_.blank();
  }

  // Returns the sum of the squared targets.
  SL_DEVICE T load(int64_t b) {
    const Students<T>& in = a_.students;
    load_student(s_, model_, theta_, in.theta + b * in.theta_stride, in.x + b * in.x_stride);
    for (r_ = 0; r_ < a_.budget; ++r_) {  // slots are padded at the end
      const int flat = a_.indices[b * a_.index_stride + r_];
      if (flat >= s_.size) break;
      flats_[r_] = flat;
      places_.set(r_, model_.place(flat));
      before_[r_] = T(theta_[flat]);
      if (first_) first_[r_] = T(0);
      if (second_) second_[r_] = T(0);
    }
    T sum = 0;
    for (int k = 0; k < s_.equations; ++k) {
      const T v = a_.y[b * a_.y_stride + k];
      target_[k] = v;
      sum += v * v;
    }
    model_.inputs_ready(T(1));
    model_.prepare(theta_);
    return sum;
  }

  // The loss.
  SL_DEVICE T forward() {
    model_.forward(theta_, error_);
    T loss = 0;
    for (int k = 0; k < s_.equations; ++k) {
      const T d = T(error_[k]) - T(target_[k]);
      loss += d * d;
      error_[k] = d + d;
    }
    return loss;
  }

  SL_DEVICE void step(Rate<T> rate) {
    model_.adjoints(theta_, error_);
    const T plain_rate = static_cast<T>(a_.lr);
    for (int k = 0; k < r_; ++k) {
      const T d = model_.gradient_at(error_, places_.at(k));
      T change;
      if (a_.optimizer == Optimizer::adam) {
        const T m = first_moment<T>(T(first_[k]), d), q = second_moment<T>(T(second_[k]), d);
        first_[k] = m;
        second_[k] = q;
        change = adam_change(rate.rate, m, q * rate.scale2);
      } else if (a_.optimizer == Optimizer::momentum) {
        const T m = velocity<T>(T(first_[k]), d);
        first_[k] = m;
        change = plain_rate * m;
      } else {
        change = plain_rate * d;
      }
      C& weight = theta_[flats_[k]];
      const T w = weight;
      before_[k] = w;
      weight = w - change;
    }
  }

  SL_DEVICE void step_back() {
    for (int k = 0; k < r_; ++k) theta_[flats_[k]] = before_[k];
  }
  SL_DEVICE void store(int64_t b) const {
    for (int k = 0; k < r_; ++k) a_.theta_out[b * s_.size + flats_[k]] = theta_[flats_[k]];
  }

 private:
  const Shape& s_;
  const DescendArgs<T>& a_;
  Model model_;
  C *theta_, *target_, *error_, *before_, *first_ = nullptr, *second_ = nullptr;
  Entry<int>* flats_;
  Places<kPacked> places_;
  int r_ = 0;
};

template <class Learner> constexpr bool kInShared = true;
template <class Model, class T, bool kPacked> constexpr bool kInShared<Tabled<Model, T, kPacked>> = kFast<Model>;

template <class Learner, class T>
__global__ void __launch_bounds__(cuda::kWarp)
    descend_kernel(unsigned char* strips, size_t bytes, const __grid_constant__ Shape s, const __grid_constant__ DescendArgs<T> a,
                   const __grid_constant__ Groups groups, const __grid_constant__ typename Learner::Tables tables, const Rate<T>* rates,
                   int64_t rate_count, const int8_t* open) {
  SL_STRIP(strip, strips, bytes, kInShared<Learner>);
  Learner learner(s, a, groups, tables, strip);
  for (int64_t b = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; b < a.students.batch; b += int64_t{gridDim.x} * blockDim.x) {
    const T infinity = static_cast<T>(__builtin_inf());
    if (open && open[b] != kSearched) {
      a.loss_out[b] = infinity;
      a.steps_out[b] = 0;
      a.status_out[b] = static_cast<int8_t>(FitStatus::steps_done);
      continue;
    }
    const T target2 = learner.load(b), goal = a.tol >= 0 ? target2 * static_cast<T>(a.tol) : T(-1);
    T loss = infinity;
    FitStatus status = FitStatus::steps_done;
    int64_t step = 0, done = 0;
    for (;; ++step) {
      Rate<T> rate = {};
      if (a.optimizer == Optimizer::adam) rate = rates[step < rate_count ? step : rate_count - 1];
      const T now = learner.forward();
      if (!(now < infinity)) {  // back to the last finite weights
        learner.step_back();
        if (step == 0) loss = now;
        status = FitStatus::diverged;
        done = step > 0 ? step - 1 : 0;
        break;
      }
      loss = now;
      done = step;
      if (loss <= goal) {
        status = FitStatus::converged;
        break;
      }
      if (step == a.steps) break;
      learner.step(rate);
    }
    a.loss_out[b] = loss;
    a.steps_out[b] = done;
    a.status_out[b] = static_cast<int8_t>(status);
    if (a.theta_out) learner.store(b);
  }
}

// False, and nothing done, where the strip must be in shared memory and is too large.
template <class Learner, class T>
bool descend_with(const DescendArgs<T>& a, cuda::Stream& stream, const int8_t* open) {
  const typename Learner::Tables tables = Learner::tables(a);
  const size_t bytes = Learner::bytes(tables);
  if (kInShared<Learner> && !fits_in_shared(bytes, kSharedStrip, stream)) return false;
  // The bias corrections depend on the step only: one table for all students, computed as on the CPU.
  std::vector<Rate<T>> table(static_cast<size_t>(a.optimizer == Optimizer::adam ? std::max<int64_t>(1, std::min(a.steps, kRates)) : 1));
  BiasCorrection correction;
  for (Rate<T>& rate : table) {
    correction.next_step();
    rate = {static_cast<T>(correction.rate(a.lr)), static_cast<T>(correction.scale())};
  }
  Rate<T>* rates = stream.scratch<Rate<T>>(static_cast<int64_t>(table.size()));
  stream.upload(rates, table.data(), table.size() * sizeof(Rate<T>));
  const Shape& s = *a.students.shape;
  launch_strips(descend_kernel<Learner, T>, bytes, a.students.batch, kSharedStrip, stream, s, a, groups_of(s, a.group_learns), tables,
                rates, static_cast<int64_t>(table.size()), open);
  return true;
}

template <class Learner, class T> bool descend_if_can(const DescendArgs<T>& a, cuda::Stream& stream, const int8_t* open) {
  return Learner::can(a) && descend_with<Learner>(a, stream, open);
}
template <int N, int O, class T> bool descend_few_steps(const DescendArgs<T>& a, cuda::Stream& stream, const int8_t* open) {
  return descend_if_can<FewSteps<T, N, O, 6>>(a, stream, open) || descend_if_can<FewSteps<T, N, O, 0>>(a, stream, open);
}

template <int N, class T> bool descend_in_registers(const DescendArgs<T>& a, cuda::Stream& stream, const int8_t* open) {
  const Shape& s = *a.students.shape;
  if (s.hidden != N || !s.plain()) return false;
  if (descend_few_steps<N, 1>(a, stream, open) || descend_few_steps<N, 2>(a, stream, open)) return true;
  if (s.inputs + N + 1 > 254 || s.outputs > 254) return false;
  switch (s.outputs) {
    case 1: return descend_with<Tabled<InRegisters<T, N, 1>, T, true>>(a, stream, open);
    case 2: return descend_with<Tabled<InRegisters<T, N, 2>, T, true>>(a, stream, open);
    default: return descend_with<Tabled<InRegisters<T, N, 0>, T, true>>(a, stream, open);
  }
}

template <class T> void descend_batch(const DescendArgs<T>& a, cuda::Stream& stream, const int8_t* open) {
  if (a.students.shape->kind == Kind::feedforward) descend_with<Tabled<Feedforward<T, Entry<T>>, T, false>>(a, stream, open);
  else if (!descend_in_registers<8>(a, stream, open) && !descend_in_registers<4>(a, stream, open))
    descend_with<Tabled<Recurrent<T, 0, Entry<T>>, T, false>>(a, stream, open);
}

}  // namespace
}  // namespace SL_ISA

void cuda::descend(const DescendArgs<float>& a, Stream& stream, const int8_t* open) { SL_ISA::descend_batch(a, stream, open); }
void cuda::descend(const DescendArgs<double>& a, Stream& stream, const int8_t* open) { SL_ISA::descend_batch(a, stream, open); }

}  // namespace sl
