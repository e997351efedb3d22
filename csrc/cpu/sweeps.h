// sweeps.h: loss and gradient of a network in one call, as descent needs them; picks the class for a shape.
//
//   S loss_gradient(theta, target, g, want):  sum over the equations of (y - y*)^2, and with `want` its gradient in g
//   int position(flat):                       where in theta and g the weight of that flat index lies
//   learn_only(indices, count):               g is needed for these weights only (they are the same in all lanes)
// Networks with one hidden layer have a sweep of their own (shallow.h). All others go forward and back in two passes; where few weights
// are needed, each gradient is one sum of products of table entries: at 2-8-2, T = 6, 12 of 64 weights, two loads for each of 60
// products, where all of them take 320 products.
#pragma once
#include "cpu/models.h"
#include "math/shallow.h"

namespace sl {
namespace SL_ISA {

template <class Model, class S>
class TwoPasses : public Model {
 public:
  // `listed`: how many weights learn_only may name.
  static size_t scratch_bytes(const Shape& s, int listed) {
    return Model::scratch_bytes(s) + 2 * (sizeof(S) * static_cast<size_t>(s.equations) + 64) +
           sizeof(Listed) * static_cast<size_t>(listed) + 64;
  }
  TwoPasses(const Shape& s, int listed, Scratch& scratch) : Model(s, scratch), shape_(s), equations_(s.equations) {
    y_ = take_array<S>(scratch, static_cast<size_t>(s.equations));
    e_ = take_array<S>(scratch, static_cast<size_t>(s.equations));
    list_ = take_array<Listed>(scratch, static_cast<size_t>(listed));
  }
  void learn(const bool* group_learns) {
    Model::learn(group_learns);
    dense_ = 0;
    for (int g = 0; g < shape_.groups; ++g)
      if (group_learns[g]) dense_ += shape_.group_begin[g + 1] - shape_.group_begin[g];
  }
  void learn_only(const int* indices, int count) {
    count_ = 0;
    if (count * kDensePerListed > dense_) return;
    for (int k = 0; k < count; ++k)
      if (indices[k] < shape_.size) list_[count_++] = {indices[k], Model::place(indices[k])};
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
    if (!want) return loss;
    if (count_ == 0) {
      Model::gradient(theta, e_, g);
    } else {
      Model::adjoints(theta, e_);
      for (int k = 0; k < count_; ++k) g[list_[k].flat] = Model::gradient_at(e_, list_[k].place);
    }
    return loss;
  }

 private:
  static constexpr int kDensePerListed = 4;  // so many of all gradients take as long as one by itself (measured: 2 to 4)
  struct Listed {
    int flat;
    SlotPlace place;
  };
  const Shape& shape_;
  const int equations_;
  int count_ = 0, dense_ = 0;
  S *y_, *e_;
  Listed* list_;
};

template <class S, class F>
SL_INLINE void with_sweep(const Shape& s, F&& f) {
  if (Shallow<S>::fits(s)) return f(Type<Shallow<S>>{});
  with_model<S>(s, [&](auto type) { f(Type<TwoPasses<typename decltype(type)::type, S>>{}); });
}

}  // namespace SL_ISA
}  // namespace sl
