// descend_sweeps.h: loss and gradient of a network in one call, as descent needs them; picks the class for a shape.
//
// Sweep is what descent sees, so that its code is compiled once for all networks: one virtual call a step, of hundreds of nanoseconds.
// Networks with one hidden layer have a sweep of their own (shallow.h). All others go forward and back in two passes; where few weights
// are needed, each gradient is one sum of products of table entries: at 2-8-2, T = 6, 12 of 64 weights, two loads for each of 60
// products, where all of them take 320 products.
#pragma once
#include "cpu/networks.h"
#include "method/losses.h"
#include "network/shallow.h"
#include "ops/descend.h"

namespace sl {
namespace SL_ISA {

template <class S>
class Sweep {
 public:
  virtual S* input(int flat) = 0;
  virtual int position(int flat) const = 0;  // where in theta and g the weight of that flat index lies
  virtual void learn(const bool* group_learns) = 0;
  virtual void learn_only(const int* indices, int count) = 0;  // g is needed for these weights only (they are the same in all lanes)
  virtual void prepare(const S* theta) = 0;  // inputs are in place
  // The loss, and with `want` its gradient in g.
  virtual S loss_gradient(const S* theta, const S* target, S* g, bool want) = 0;

 protected:
  ~Sweep() = default;
};

template <class Model, class S>
class TwoPasses final : public Sweep<S>, private Network<Model, S> {
 public:
  // `listed`: how many weights learn_only may name.
  TwoPasses(const Shape& s, Loss loss, int washout, int listed, Scratch& scratch)
      : Net(s, scratch, Tables::gradient), shape_(s), loss_(loss), equations_(s.equations), free_(washout * s.outputs) {
    y_ = take_array<S>(scratch, static_cast<size_t>(s.equations));
    e_ = take_array<S>(scratch, static_cast<size_t>(s.equations));
    list_ = take_array<Listed>(scratch, static_cast<size_t>(listed));
  }
  S* input(int flat) override { return Net::input(flat); }
  int position(int flat) const override { return flat; }
  void learn(const bool* group_learns) override {
    Net::learn(group_learns);
    dense_ = 0;
    for (int g = 0; g < shape_.groups; ++g)
      if (group_learns[g]) dense_ += shape_.group_begin[g + 1] - shape_.group_begin[g];
  }
  void learn_only(const int* indices, int count) override {
    count_ = 0;
    // Of several sequences all gradients are sums of one sum per sequence, single ones are not: other bits, by who else is in the batch.
    if (shape_.kind == Kind::recurrent && shape_.samples > 1) return;
    if (count * kDensePerListed > dense_) return;
    for (int k = 0; k < count; ++k)
      if (indices[k] < shape_.size) list_[count_++] = {indices[k], Net::place(indices[k])};
  }
  void prepare(const S* theta) override {
    Net::inputs_ready(constant<S>(typename Traits<S>::Scalar(1)));
    Net::prepare(theta);
  }
  S loss_gradient(const S* theta, const S* target, S* g, bool want) override {
    Net::forward(theta, y_);
    const S loss = loss_ == Loss::softmax ? softmax(target) : free_ == 0 ? squared(target, 0, equations_) : by_sequence(target);
    if (!want) return loss;
    if (count_ == 0) Net::gradient(theta, e_, g);
    else Net::gradient(theta, e_, list_, count_, g);
    return loss;
  }

 private:
  using Net = Network<Model, S>;
  static constexpr int kDensePerListed = 4;  // so many of all gradients take as long as one by itself (measured: 2 to 4)

  SL_INLINE S squared(const S* target, int begin, int end) {
    S loss{};
    for (int k = begin; k < end; ++k) {
      const S d = y_[k] - target[k];
      loss += d * d;
      e_[k] = d + d;
    }
    return loss;
  }
  __attribute__((noinline)) S by_sequence(const S* target) {  // the first steps of each do not count; softmax: targets of 0 say so
    const int length = equations_ / shape_.samples;
    S loss{};
    for (int begin = 0; begin < equations_; begin += length) {
      for (int k = begin; k < begin + free_; ++k) e_[k] = S{};
      loss += squared(target, begin + free_, begin + length);
    }
    return loss;
  }
  __attribute__((noinline)) S softmax(const S* target) {
    const bool columns = shape_.kind == Kind::feedforward;  // the outputs of one sample lie a row of samples apart
    const int outputs = columns ? shape_.widths[shape_.layers] : shape_.outputs, places = equations_ / outputs;
    const int next = columns ? 1 : outputs, stride = columns ? places : 1;
    S loss{};
    for (int k = 0; k < places; ++k) loss += softmax_loss(y_ + k * next, target + k * next, outputs, stride, stride, e_ + k * next);
    return loss;
  }

  const Shape& shape_;
  const Loss loss_;
  const int equations_, free_;
  int count_ = 0, dense_ = 0;
  S *y_, *e_;
  Listed* list_;
};

template <class S>
class OnePass final : public Sweep<S>, private Shallow<S> {
  using Net = Shallow<S>;

 public:
  OnePass(const Shape& s, Loss /*squared*/, int /*washout*/, int /*listed*/, Scratch& scratch) : Net(s, scratch) {}
  S* input(int flat) override { return Net::input(flat); }
  int position(int flat) const override { return Net::position(flat); }
  void learn(const bool* group_learns) override { Net::learn(group_learns); }
  void learn_only(const int*, int) override {}  // few learnable weights: cpu/descend_samples.cpp
  void prepare(const S*) override {}
  S loss_gradient(const S* theta, const S* target, S* g, bool want) override { return Net::loss_gradient(theta, target, g, want); }
};

template <class S, class F>
SL_INLINE void with_sweep(const Shape& s, Loss loss, F&& f) {
  if (Shallow<S>::fits(s) && loss == Loss::squared) return f(Type<OnePass<S>>{});
  with_model<S>(s, [&](auto type) { f(Type<TwoPasses<typename decltype(type)::type, S>>{}); });
}

}  // namespace SL_ISA
}  // namespace sl
