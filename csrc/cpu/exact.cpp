// The network mathematics over GF(p) and over the complex numbers, one student at a time. Compiled once: integer arithmetic
// gains nothing from being compiled per instruction set here. See ops/jacobian.h.
#include "core/error.h"
#include "core/draws.h"
#include "cpu/models.h"
#include "ops/jacobian.h"

namespace sl {
using namespace base;
namespace {

template <class Model, uint32_t P>
void jacobian_mod_one(void* context, int, int64_t b, Control&) {
  using S = ModP<P>;
  const JacobianModArgs& a = *static_cast<const JacobianModArgs*>(context);
  const Shape& s = *a.shape;
  const bool given = s.activation == Activation::tanh;
  int hidden = 0;
  if (s.kind == Kind::recurrent) hidden = s.steps * s.hidden;
  else for (int k = 1; k < s.layers; ++k) hidden += s.samples * s.widths[k];
  Scratch scratch(Model::scratch_bytes(s) + sizeof(S) * (s.size + 2 * static_cast<size_t>(s.equations) + hidden) + 5 * 64 + 512);
  Model model(s, scratch);
  S* theta = static_cast<S*>(scratch.take(sizeof(S) * s.size));
  S* y = static_cast<S*>(scratch.take(sizeof(S) * s.equations));
  S* column = static_cast<S*>(scratch.take(sizeof(S) * s.equations));
  S* activities = static_cast<S*>(scratch.take(sizeof(S) * (hidden + 1)));
  for (int k = 0; k < s.size; ++k) theta[k] = S(static_cast<uint32_t>(a.theta[b * s.size + k]));
  for (int k = 0; k < s.inputs_size; ++k) *model.input(k) = S(static_cast<uint32_t>(a.x[b * s.inputs_size + k]));
  if (given) {
    draws::Words words(Philox(a.hidden_seed, kInputs, static_cast<uint32_t>(b), 0));
    for (int k = 0; k < hidden; ++k) activities[k] = S(words.below(P));
    model.hidden = activities;
  }
  Slots<1> slots;
  slots.allocate(1, [&](size_t n) { return static_cast<int*>(scratch.take(n * sizeof(int))); });
  bool all[kMaxGroups];
  for (bool& g : all) g = true;
  model.learn(all);
  model.inputs_ready(S(1));
  model.prepare(theta);
  model.forward(theta, y);
  model.sensitivities(theta);
  for (int k = 0; k < s.size; ++k) {
    set_slot(model, slots, 0, 0, k);
    model.column(slots, 0, 0, column, 1);
    for (int e = 0; e < s.equations; ++e) a.out[(b * s.equations + e) * s.size + k] = column[e].v;
  }
}

template <uint32_t P>
void jacobian_mod_batch(const JacobianModArgs& a, Control& control) {
  Body body = a.shape->kind == Kind::feedforward ? jacobian_mod_one<Feedforward<ModP<P>>, P>
                                                 : jacobian_mod_one<Recurrent<ModP<P>, 0>, P>;
  parallel_for(a.batch, a.threads, control, body, const_cast<JacobianModArgs*>(&a));
}

template <class Model>
void outputs_complex_one(void* context, int, int64_t b, Control&) {
  using S = Complex<double>;
  const OutputsComplexArgs& a = *static_cast<const OutputsComplexArgs*>(context);
  const Shape& s = *a.shape;
  Scratch scratch(Model::scratch_bytes(s) + sizeof(S) * (s.size + s.equations) + 128);
  Model model(s, scratch);
  S* theta = static_cast<S*>(scratch.take(sizeof(S) * s.size));
  S* y = static_cast<S*>(scratch.take(sizeof(S) * s.equations));
  for (int k = 0; k < s.size; ++k) theta[k] = S(a.theta[(b * s.size + k) * 2], a.theta[(b * s.size + k) * 2 + 1]);
  for (int k = 0; k < s.inputs_size; ++k) *model.input(k) = S(a.x[b * s.inputs_size + k], 0.0);
  bool none[kMaxGroups] = {};
  model.learn(none);
  model.inputs_ready(S(1.0, 0.0));
  model.prepare(theta);
  model.forward(theta, y);
  for (int e = 0; e < s.equations; ++e) {
    a.out[(b * s.equations + e) * 2] = y[e].re;
    a.out[(b * s.equations + e) * 2 + 1] = y[e].im;
  }
}

}  // namespace

void jacobian_mod(const JacobianModArgs& a, Control& control) {
  require(a.shape->activation != Activation::relu, "relu has no Jacobian over GF(p)");
  if (a.p == kPrimes[0]) return jacobian_mod_batch<kPrimes[0]>(a, control);
  require(a.p == kPrimes[1], "jacobian_mod knows two primes only");
  jacobian_mod_batch<kPrimes[1]>(a, control);
}

void outputs_complex(const OutputsComplexArgs& a, Control& control) {
  Body body = a.shape->kind == Kind::feedforward ? outputs_complex_one<Feedforward<Complex<double>>>
                                                 : outputs_complex_one<Recurrent<Complex<double>, 0>>;
  parallel_for(a.batch, a.threads, control, body, const_cast<OutputsComplexArgs*>(&a));
}

}  // namespace sl
