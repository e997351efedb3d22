// Outputs of a batch of students, one student per lane. See ops/outputs.h.
#include "ops/outputs.h"

#include "cpu/networks.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int64_t kPacksPerItem = 16;

template <class Model, class T>
void outputs_item(void* context, int, int64_t item, Control&) {
  using S = Pack<T>;
  constexpr int L = kLanes<T>;
  const OutputsArgs<T>& a = *static_cast<const OutputsArgs<T>*>(context);
  const Students<T>& in = a.students;
  const Shape& s = *in.shape;
  Scratch scratch;
  Model model(s, scratch, Tables::gradient);
  S* theta = static_cast<S*>(scratch.take(sizeof(S) * s.size));
  S* y = static_cast<S*>(scratch.take(sizeof(S) * s.equations));
  bool none[kMaxGroups] = {};
  model.learn(none);
  for (int64_t q = item * kPacksPerItem; q < (item + 1) * kPacksPerItem && q * L < in.batch; ++q) {
    const int count = in.batch - q * L < L ? static_cast<int>(in.batch - q * L) : L;
    for (int l = 0; l < L; ++l) {
      const int64_t b = q * L + (l < count ? l : 0);
      load_lane(s, model, theta, l, in.theta + b * in.theta_stride, in.x + b * in.x_stride);
    }
    model.inputs_ready(constant<S>(T(1)));
    model.prepare(theta);
    model.forward(theta, y);
    for (int l = 0; l < count; ++l)
      for (int e = 0; e < s.equations; ++e) a.out[(q * L + l) * s.equations + e] = lane(y + e, l);
  }
}

template <class T>
void outputs_batch(const OutputsArgs<T>& a, Control& control) {
  const int64_t packs = (a.students.batch + kLanes<T> - 1) / kLanes<T>;
  with_network<Pack<T>>(*a.students.shape, [&](auto type) {
    using Model = typename decltype(type)::type;
    parallel_for((packs + kPacksPerItem - 1) / kPacksPerItem, a.threads, control, outputs_item<Model, T>, const_cast<OutputsArgs<T>*>(&a));
  });
}

}  // namespace

void outputs(const OutputsArgs<float>& a, Control& c) { outputs_batch(a, c); }
void outputs(const OutputsArgs<double>& a, Control& c) { outputs_batch(a, c); }

}  // namespace SL_ISA
}  // namespace sl
