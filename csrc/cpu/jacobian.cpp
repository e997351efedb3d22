// Masked Jacobians of a batch of students, one student per lane. See ops/jacobian.h.
#include "ops/jacobian.h"

#include "cpu/networks.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int64_t kPacksPerItem = 16;

template <class Model, class T>
void jacobian_item(void* context, int, int64_t item, Control&) {
  using S = Pack<T>;
  constexpr int L = kLanes<T>;
  const JacobianArgs<T>& a = *static_cast<const JacobianArgs<T>*>(context);
  const Students<T>& in = a.students;
  const Shape& s = *in.shape;
  Scratch scratch;
  Model model(s, scratch);
  S* theta = static_cast<S*>(scratch.take(sizeof(S) * s.size));
  S* y = static_cast<S*>(scratch.take(sizeof(S) * s.equations));
  S* column = static_cast<S*>(scratch.take(sizeof(S) * s.equations));
  Slots<L> slots;
  slots.allocate(a.budget, [&](size_t n) { return static_cast<int*>(scratch.take(n * sizeof(int))); });
  slots.same = a.index_stride == 0;
  bool all[kMaxGroups];
  for (bool& g : all) g = true;
  model.learn(all);
  for (int64_t q = item * kPacksPerItem; q < (item + 1) * kPacksPerItem && q * L < in.batch; ++q) {
    const int count = in.batch - q * L < L ? static_cast<int>(in.batch - q * L) : L;
    for (int l = 0; l < L; ++l) {
      const int64_t b = q * L + (l < count ? l : 0);
      load_lane(s, model, theta, l, in.theta + b * in.theta_stride, in.x + b * in.x_stride);
      for (int k = 0; k < a.budget; ++k) set_slot(model, slots, k, l, a.indices[b * a.index_stride + k]);
    }
    model.inputs_ready(constant<S>(T(1)));
    model.prepare(theta);
    model.forward(theta, y);
    model.sensitivities(theta);
    for (int k = 0; k < a.budget; ++k) {
      model.column(slots, k, 0, column);
      for (int l = 0; l < count; ++l) {
        T* out = a.out + (q * L + l) * s.equations * a.budget + k;
        for (int e = 0; e < s.equations; ++e) out[static_cast<int64_t>(e) * a.budget] = lane(column + e, l);
      }
    }
  }
}

template <class T>
void jacobian_batch(const JacobianArgs<T>& a, Control& control) {
  const int64_t packs = (a.students.batch + kLanes<T> - 1) / kLanes<T>;
  with_network<Pack<T>>(*a.students.shape, [&](auto type) {
    using Model = typename decltype(type)::type;
    parallel_for((packs + kPacksPerItem - 1) / kPacksPerItem, a.threads, control, jacobian_item<Model, T>,
                 const_cast<JacobianArgs<T>*>(&a));
  });
}

}  // namespace

void jacobian(const JacobianArgs<float>& a, Control& c) { jacobian_batch(a, c); }
void jacobian(const JacobianArgs<double>& a, Control& c) { jacobian_batch(a, c); }

}  // namespace SL_ISA
}  // namespace sl
