// sweeps.h: loss and gradient of a network in one call, as descent needs them; picks the class for a shape.
//
//   S loss_gradient(theta, target, g, want):  sum over the equations of (y - y*)^2, and with `want` its gradient in g
//   int position(flat):                       where in theta and g the weight of that flat index lies
// Networks with one hidden layer have a sweep of their own (shallow.h). All others go forward and back in two passes.
#pragma once
#include "cpu/models.h"
#include "math/shallow.h"

namespace sl {
namespace SL_ISA {

template <class Model, class S>
class TwoPasses : public Model {
 public:
  static size_t scratch_bytes(const Shape& s) { return Model::scratch_bytes(s) + 2 * (sizeof(S) * static_cast<size_t>(s.equations) + 64); }
  TwoPasses(const Shape& s, Scratch& scratch) : Model(s, scratch), equations_(s.equations) {
    y_ = static_cast<S*>(scratch.take(sizeof(S) * static_cast<size_t>(s.equations)));
    e_ = static_cast<S*>(scratch.take(sizeof(S) * static_cast<size_t>(s.equations)));
  }
  int position(int flat) const { return flat; }
  S loss_gradient(const S* theta, const S* target, S* g, bool want) {
    Model::forward(theta, y_);
    S loss{};
    for (int k = 0; k < equations_; ++k) {
      const S d = y_[k] - target[k];
      loss += d * d;
      e_[k] = d + d;
    }
    if (want) Model::gradient(theta, e_, g);
    return loss;
  }

 private:
  const int equations_;
  S *y_, *e_;
};

template <class S, class F>
SL_INLINE void with_sweep(const Shape& s, F&& f) {
  if (Shallow<S>::fits(s)) return f(Type<Shallow<S>>{});
  with_model<S>(s, [&](auto type) { f(Type<TwoPasses<typename decltype(type)::type, S>>{}); });
}

}  // namespace SL_ISA
}  // namespace sl
