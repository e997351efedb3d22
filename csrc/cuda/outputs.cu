// Outputs of a batch of students, one student per thread. See ops/outputs.h.
#include "cuda/strip.cuh"
#include "ops/cuda.h"

namespace sl {
namespace SL_ISA {
namespace {

template <class Model, class T>
__global__ void outputs_kernel(unsigned char* strips, size_t bytes, const __grid_constant__ Shape s, const __grid_constant__ Students<T> in,
                               T* out) {
  using C = Entry<T>;
  SL_STRIP(strip, strips, bytes, false);
  Model model(s, strip, Tables::gradient);
  C *theta = take_array<C>(strip, s.size), *y = take_array<C>(strip, s.equations);
  bool none[kMaxGroups] = {};
  model.learn(none);
  model.blank();
  for (int64_t b = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; b < in.batch; b += int64_t{gridDim.x} * blockDim.x) {
    load_student(s, model, theta, in.theta + b * in.theta_stride, in.x + b * in.x_stride);
    model.inputs_ready(T(1));
    model.prepare(theta);
    model.forward(theta, y);
    for (int e = 0; e < s.equations; ++e) out[b * s.equations + e] = y[e];
  }
}

template <class T> void outputs_batch(const OutputsArgs<T>& a, cuda::Stream& stream) {
  const Shape& s = *a.students.shape;
  with_strip_model<T>(s, [&](auto type) {
    using Model = typename decltype(type)::type;
    const size_t bytes = Model::scratch_bytes(s, Tables::gradient) + sizeof(Entry<T>) * (s.size + static_cast<size_t>(s.equations));
    launch_strips(outputs_kernel<Model, T>, bytes, a.students.batch, kSharedStrip, stream, s, a.students, a.out);
  });
}

}  // namespace
}  // namespace SL_ISA

void cuda::outputs(const OutputsArgs<float>& a, Stream& stream) { SL_ISA::outputs_batch(a, stream); }
void cuda::outputs(const OutputsArgs<double>& a, Stream& stream) { SL_ISA::outputs_batch(a, stream); }

}  // namespace sl
