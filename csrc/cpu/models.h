// models.h: picks the network class for a shape, and fills its lanes and slots. Hidden sizes 4 and 8 of plain recurrent networks are compiled in
// (loops of known length, accumulators in registers); every other size runs the same source with sizes at run time.
#pragma once
#include "network/feedforward.h"
#include "network/recurrent.h"
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

template <class M> struct Type { using type = M; };

template <class S, class F>
SL_INLINE void with_model(const Shape& s, F&& f) {
  if (s.kind == Kind::feedforward) return f(Type<Feedforward<S>>{});
  switch (s.plain() ? s.hidden : 0) {
    case 4: return f(Type<Recurrent<S, 4>>{});
    case 8: return f(Type<Recurrent<S, 8>>{});
    default: return f(Type<Recurrent<S, 0>>{});
  }
}

// Copies student b's numbers into lane l of the tables.
template <class Model, class S, class T>
SL_INLINE void load_lane(const Shape& s, Model& model, S* theta, int l, const T* from_theta, const T* from_x) {
  for (int k = 0; k < s.size; ++k) lane(theta + k, l) = from_theta[k];
  for (int k = 0; k < s.inputs_size; ++k) lane(model.input(k), l) = from_x[k];
}

template <class Model, int L>
SL_INLINE void set_slot(const Model& model, Slots<L>& slots, int k, int l, int flat) {
  slots.set(k, l, flat, model.place(flat));
}

}  // namespace SL_ISA
}  // namespace sl
