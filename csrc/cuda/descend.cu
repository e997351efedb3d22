// Masked gradient descent, one student per thread, all steps in one launch. See ops/descend.h; the formulas are those of
// cpu/descend.cpp, one lane at a time.
//
//   Gradients only where a weight learns: after the adjoints, a weight's gradient is T (or m) products of two table entries.
//   At n = 8, T = 6, 12 learnable weights that is 72 products instead of 384, and it needs no scatter of a dense gradient.
//   Recurrent n = 4 and 8: W and D of the thread's student in registers for the whole step, activities and adjoints in the strip
//   (shared memory). A product W h then costs one instruction per multiply-add; with W in shared memory it would cost two, and with
//   the rows of W spread over the threads of a group every multiply-add would wait for a shuffle (32 a cycle against 128).
//   Work per step at n = 8, i = o = 2, T = 6, r = 12: about 900 multiply-adds and 500 words of shared memory.
// A thread whose student has converged or diverged waits for its warp; its results are then as they were when it stopped.
#include <algorithm>
#include <vector>

#include "cuda/in_registers.cuh"
#include "cuda/strip.cuh"
#include "ops/cuda.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kMomentum = 0.9, kEpsilon = 1e-8;
// Steps after which both bias corrections of Adam are 1 in double precision: 0.999^t < 2^-54.
constexpr int64_t kRates = 40000;

template <class T> struct alignas(2 * sizeof(T)) Rate {
  T rate, scale2;  // lr / (1 - 0.9^t), 1 / (1 - 0.999^t)
};

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
      data[4 * k] = p.left; data[4 * k + 1] = p.right; data[4 * k + 2] = p.direct; data[4 * k + 3] = p.direct_right;
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

template <class Model, class T, bool kPacked>
__global__ void __launch_bounds__(cuda::kWarp)
    descend_kernel(unsigned char* strips, size_t bytes, const __grid_constant__ Shape s, const __grid_constant__ DescendArgs<T> a,
                   const __grid_constant__ Groups groups, const Rate<T>* rates, int64_t rate_count, const int8_t* open) {
  using C = Entry<T>;
  SL_STRIP(strip, strips, bytes, kFast<Model>);
  Model model(s, strip, Tables::gradient);
  C *theta = take_array<C>(strip, s.size), *target = take_array<C>(strip, s.equations), *error = take_array<C>(strip, s.equations);
  C *before = take_array<C>(strip, a.budget), *first = nullptr, *second = nullptr;
  if (a.optimizer != Optimizer::sgd) first = take_array<C>(strip, a.budget);
  if (a.optimizer == Optimizer::adam) second = take_array<C>(strip, a.budget);
  Entry<int>* flats = take_array<Entry<int>>(strip, a.budget);
  Places<kPacked> places{take_array<Entry<int>>(strip, Places<kPacked>::entries(a.budget))};
  model.learn(groups.learns);
  model.blank();
  const Students<T>& in = a.students;
  for (int64_t b = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; b < in.batch; b += int64_t{gridDim.x} * blockDim.x) {
    if (open && open[b] != kSearched) {
      a.loss_out[b] = static_cast<T>(__builtin_inf());
      a.steps_out[b] = 0;
      a.status_out[b] = static_cast<int8_t>(FitStatus::steps_done);
      continue;
    }
    load_student(s, model, theta, in.theta + b * in.theta_stride, in.x + b * in.x_stride);
    int r = 0;  // slots are padded at the end
    for (; r < a.budget; ++r) {
      const int flat = a.indices[b * a.index_stride + r];
      if (flat >= s.size) break;
      flats[r] = flat;
      places.set(r, model.place(flat));
      before[r] = T(theta[flat]);
      if (first) first[r] = T(0);
      if (second) second[r] = T(0);
    }
    T target2 = 0;
    for (int k = 0; k < s.equations; ++k) {
      const T v = a.y[b * a.y_stride + k];
      target[k] = v;
      target2 += v * v;
    }
    model.inputs_ready(T(1));
    model.prepare(theta);

    const T infinity = static_cast<T>(__builtin_inf());
    const T goal = a.tol >= 0 ? target2 * static_cast<T>(a.tol) : T(-1);
    const T plain_rate = static_cast<T>(a.lr);
    T loss = infinity;
    FitStatus status = FitStatus::steps_done;
    int64_t step = 0, done = 0;
    for (;; ++step) {
      model.forward(theta, error);
      T now = 0;
      for (int k = 0; k < s.equations; ++k) {
        const T d = T(error[k]) - T(target[k]);
        now += d * d;
        error[k] = d + d;
      }
      if (!(now < infinity)) {  // back to the last finite weights
        for (int k = 0; k < r; ++k) theta[flats[k]] = before[k];
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

      model.adjoints(theta, error);
      Rate<T> rate = {};
      if (a.optimizer == Optimizer::adam) rate = rates[step < rate_count ? step : rate_count - 1];
      for (int k = 0; k < r; ++k) {
        const T d = model.gradient_at(error, places.at(k));
        T change;
        if (a.optimizer == Optimizer::adam) {
          const T m = T(first[k]) * T(kBeta1) + d * T(1 - kBeta1), q = T(second[k]) * T(kBeta2) + d * d * T(1 - kBeta2);
          first[k] = m;
          second[k] = q;
          change = rate.rate * m / (square_root(q * rate.scale2) + T(kEpsilon));
        } else if (a.optimizer == Optimizer::momentum) {
          const T m = T(first[k]) * T(kMomentum) + d;
          first[k] = m;
          change = plain_rate * m;
        } else {
          change = plain_rate * d;
        }
        C& weight = theta[flats[k]];
        const T w = weight;
        before[k] = w;
        weight = w - change;
      }
    }
    a.loss_out[b] = loss;
    a.steps_out[b] = done;
    a.status_out[b] = static_cast<int8_t>(status);
    for (int k = 0; k < r && a.theta_out; ++k) a.theta_out[b * s.size + flats[k]] = theta[flats[k]];
  }
}

// False, and nothing done, where the model must have its strip in shared memory and cannot.
template <class Model, bool kPacked, class T>
bool descend_with(const DescendArgs<T>& a, cuda::Stream& stream, const int8_t* open) {
  const Shape& s = *a.students.shape;
  const size_t states = a.optimizer == Optimizer::adam ? 3 : a.optimizer == Optimizer::momentum ? 2 : 1;
  const size_t numbers = s.size + 2 * static_cast<size_t>(s.equations) + states * a.budget;
  const size_t bytes = Model::scratch_bytes(s, Tables::gradient) + sizeof(Entry<T>) * numbers +
                       sizeof(Entry<int>) * (a.budget + Places<kPacked>::entries(a.budget));
  if (kFast<Model> && !fits_in_shared(bytes, kSharedStrip, stream)) return false;
  // The bias corrections depend on the step only: one table for all students, computed as on the CPU.
  std::vector<Rate<T>> table(static_cast<size_t>(a.optimizer == Optimizer::adam ? std::max<int64_t>(1, std::min(a.steps, kRates)) : 1));
  double power1 = 1, power2 = 1;
  for (Rate<T>& rate : table) {
    power1 *= kBeta1;
    power2 *= kBeta2;
    rate = {static_cast<T>(a.lr / (1 - power1)), static_cast<T>(1 / (1 - power2))};
  }
  Rate<T>* rates = stream.scratch<Rate<T>>(static_cast<int64_t>(table.size()));
  stream.upload(rates, table.data(), table.size() * sizeof(Rate<T>));
  launch_strips(descend_kernel<Model, T, kPacked>, bytes, a.students.batch, kSharedStrip, stream, s, a, groups_of(s, a.group_learns),
                rates, static_cast<int64_t>(table.size()), open);
  return true;
}

template <int N, class T> bool descend_in_registers(const DescendArgs<T>& a, cuda::Stream& stream, const int8_t* open) {
  const Shape& s = *a.students.shape;
  if (s.hidden != N || s.inputs + N + 1 > 254 || s.outputs > 254) return false;
  switch (s.outputs) {
    case 1: return descend_with<InRegisters<T, N, 1>, true>(a, stream, open);
    case 2: return descend_with<InRegisters<T, N, 2>, true>(a, stream, open);
    default: return descend_with<InRegisters<T, N, 0>, true>(a, stream, open);
  }
}

template <class T> void descend_batch(const DescendArgs<T>& a, cuda::Stream& stream, const int8_t* open) {
  if (a.students.shape->kind == Kind::feedforward) descend_with<Feedforward<T, Entry<T>>, false>(a, stream, open);
  else if (!descend_in_registers<8>(a, stream, open) && !descend_in_registers<4>(a, stream, open))
    descend_with<Recurrent<T, 0, Entry<T>>, false>(a, stream, open);
}

}  // namespace
}  // namespace SL_ISA

void cuda::descend(const DescendArgs<float>& a, Stream& stream, const int8_t* open) { SL_ISA::descend_batch(a, stream, open); }
void cuda::descend(const DescendArgs<double>& a, Stream& stream, const int8_t* open) { SL_ISA::descend_batch(a, stream, open); }

}  // namespace sl
