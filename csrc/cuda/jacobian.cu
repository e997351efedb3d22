// Masked Jacobians of a batch of students, and Jacobians over GF(p), one student per thread. See ops/jacobian.h.
#include "core/draws.h"
#include "core/error.h"
#include "core/primes.h"
#include "cuda/strip.cuh"
#include "ops/cuda.h"

namespace sl {
namespace SL_ISA {
namespace {

template <class Model, class T>
__global__ void jacobian_kernel(unsigned char* strips, size_t bytes, const __grid_constant__ Shape s,
                                const __grid_constant__ JacobianArgs<T> a) {
  using C = Entry<T>;
  SL_STRIP(strip, strips, bytes, false);
  Model model(s, strip, Tables::jacobian);
  C *theta = take_array<C>(strip, s.size), *y = take_array<C>(strip, s.equations), *column = take_array<C>(strip, s.equations);
  Slots<1, Entry<int>> slots;
  slots.allocate(1, [&](size_t n) { return take_array<Entry<int>>(strip, n); });
  bool all[kMaxGroups];
  for (bool& g : all) g = true;
  model.learn(all);
  model.blank();
  const Students<T>& in = a.students;
  for (int64_t b = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; b < in.batch; b += int64_t{gridDim.x} * blockDim.x) {
    load_student(s, model, theta, in.theta + b * in.theta_stride, in.x + b * in.x_stride);
    model.inputs_ready(T(1));
    model.prepare(theta);
    model.forward(theta, y);
    model.sensitivities(theta);
    for (int k = 0; k < a.budget; ++k) {
      const int flat = a.indices[b * a.index_stride + k];
      slots.set(0, 0, flat, model.place(flat));
      model.column(slots, 0, 0, column, 1);
      for (int e = 0; e < s.equations; ++e) a.out[(b * s.equations + e) * a.budget + k] = column[e];
    }
  }
}

template <class T> void jacobian_batch(const JacobianArgs<T>& a, cuda::Stream& stream) {
  const Shape& s = *a.students.shape;
  with_strip_model<T>(s, [&](auto type) {
    using Model = typename decltype(type)::type;
    const size_t bytes = Model::scratch_bytes(s, Tables::jacobian) + sizeof(Entry<T>) * (s.size + 2 * static_cast<size_t>(s.equations)) +
                         5 * sizeof(Entry<int>);
    launch_strips(jacobian_kernel<Model, T>, bytes, a.students.batch, kSharedStrip, stream, s, a);
  });
}

int given_activities(const Shape& s) {  // of tanh over GF(p), where there is no tanh: drawn
  if (s.activation != Activation::tanh) return 0;
  if (s.kind == Kind::recurrent) return s.samples * s.steps * s.hidden;
  int hidden = 0;
  for (int k = 1; k < s.layers; ++k) hidden += s.samples * s.widths[k];
  return hidden;
}

template <class Model, uint32_t P>
__global__ void jacobian_mod_kernel(unsigned char* strips, size_t bytes, const __grid_constant__ Shape s,
                                    const __grid_constant__ JacobianModArgs a, int hidden) {
  using S = ModP<P>;
  using C = Entry<S>;
  SL_STRIP(strip, strips, bytes, false);
  Model model(s, strip, Tables::jacobian);
  C *theta = take_array<C>(strip, s.size), *y = take_array<C>(strip, s.equations), *column = take_array<C>(strip, s.equations);
  C* activities = take_array<C>(strip, hidden);
  Slots<1, Entry<int>> slots;
  slots.allocate(1, [&](size_t n) { return take_array<Entry<int>>(strip, n); });
  bool all[kMaxGroups];
  for (bool& g : all) g = true;
  model.learn(all);
  model.blank();
  if (hidden > 0) model.hidden = activities;
  for (int64_t b = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; b < a.batch; b += int64_t{gridDim.x} * blockDim.x) {
    for (int k = 0; k < s.size; ++k) theta[k] = S(static_cast<uint32_t>(a.theta[b * s.size + k]));
    for (int k = 0; k < s.inputs_size; ++k) *model.input(k) = S(static_cast<uint32_t>(a.x[b * s.inputs_size + k]));
    draws::Words words(Philox(a.hidden_seed, kInputs, static_cast<uint32_t>(b), 0));
    for (int k = 0; k < hidden; ++k) activities[k] = S(words.below(P));
    model.inputs_ready(S(1));
    model.prepare(theta);
    model.forward(theta, y);
    model.sensitivities(theta);
    for (int k = 0; k < s.size; ++k) {
      slots.set(0, 0, k, model.place(k));
      model.column(slots, 0, 0, column, 1);
      for (int e = 0; e < s.equations; ++e) a.out[(b * s.equations + e) * s.size + k] = S(column[e]).v;
    }
  }
}

template <uint32_t P> void jacobian_mod_batch(const JacobianModArgs& a, cuda::Stream& stream) {
  const Shape& s = *a.shape;
  const int hidden = given_activities(s);
  with_strip_model<ModP<P>>(s, [&](auto type) {
    using Model = typename decltype(type)::type;
    const size_t numbers = s.size + 2 * static_cast<size_t>(s.equations) + hidden;
    const size_t bytes = Model::scratch_bytes(s, Tables::jacobian) + sizeof(Entry<ModP<P>>) * numbers + 5 * sizeof(Entry<int>);
    launch_strips(jacobian_mod_kernel<Model, P>, bytes, a.batch, kSharedStrip, stream, s, a, hidden);
  });
}

}  // namespace
}  // namespace SL_ISA

void cuda::jacobian(const JacobianArgs<float>& a, Stream& stream) { SL_ISA::jacobian_batch(a, stream); }
void cuda::jacobian(const JacobianArgs<double>& a, Stream& stream) { SL_ISA::jacobian_batch(a, stream); }
void cuda::jacobian_mod(const JacobianModArgs& a, Stream& stream) {
  require(a.shape->activation != Activation::relu, "relu has no Jacobian over GF(p)");
  if (a.p == kPrimes[0]) return SL_ISA::jacobian_mod_batch<kPrimes[0]>(a, stream);
  require(a.p == kPrimes[1], "jacobian_mod knows two primes only");
  SL_ISA::jacobian_mod_batch<kPrimes[1]>(a, stream);
}

}  // namespace sl
