// Exact Jacobians over GF(p): students side by side in lanes, or one at a time where they would leave most of a pack empty. The same
// template does both, and every student gets the same bits either way. See ops/jacobian.h.
#include "core/draws.h"
#include "core/primes.h"
#include "cpu/models.h"
#include "ops/jacobian.h"
#include "scalar/modp_lanes.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int kColumns = 16;  // worked on together, so that they are written out row by row

template <class Model, class S>
void jacobian_mod_item(void* context, int, int64_t item, Control&) {
  constexpr int L = Traits<S>::lanes;
  using Field = typename Traits<S>::Scalar;
  const JacobianModArgs& a = *static_cast<const JacobianModArgs*>(context);
  const Shape& s = *a.shape;
  const bool given = s.activation == Activation::tanh;
  int hidden = 0;
  if (s.kind == Kind::recurrent) hidden = s.samples * s.steps * s.hidden;
  else
    for (int k = 1; k < s.layers; ++k) hidden += s.samples * s.widths[k];
  Scratch scratch;
  Model model(s, scratch);
  S* theta = static_cast<S*>(scratch.take(sizeof(S) * s.size));
  S* y = static_cast<S*>(scratch.take(sizeof(S) * s.equations));
  S* block = static_cast<S*>(scratch.take(sizeof(S) * s.equations * kColumns));
  S* activities = static_cast<S*>(scratch.take(sizeof(S) * (hidden + 1)));
  S* one = activities + hidden;
  Slots<L> slots;
  slots.allocate(1, [&](size_t n) { return static_cast<int*>(scratch.take(n * sizeof(int))); });
  slots.same = true;
  const int count = a.batch - item * L < L ? static_cast<int>(a.batch - item * L) : L;
  for (int l = 0; l < L; ++l) {
    const int64_t b = item * L + (l < count ? l : 0);
    for (int k = 0; k < s.size; ++k) lane(theta + k, l) = Field(static_cast<uint32_t>(a.theta[b * s.size + k]));
    for (int k = 0; k < s.inputs_size; ++k) lane(model.input(k), l) = Field(static_cast<uint32_t>(a.x[b * s.inputs_size + k]));
    lane(one, l) = Field(1);
    if (given) {
      draws::Words words(Philox(a.hidden_seed, kInputs, static_cast<uint32_t>(b), 0));
      for (int k = 0; k < hidden; ++k) lane(activities + k, l) = Field(words.below(a.p));
    }
  }
  if (given) model.hidden = activities;
  bool all[kMaxGroups];
  for (bool& g : all) g = true;
  model.learn(all);
  model.inputs_ready(*one);
  model.prepare(theta);
  model.forward(theta, y);
  model.sensitivities(theta);
  for (int k0 = 0; k0 < s.size; k0 += kColumns) {
    const int columns = s.size - k0 < kColumns ? s.size - k0 : kColumns;
    for (int k = 0; k < columns; ++k) {
      const SlotPlace place = model.place(k0 + k);
      for (int l = 0; l < L; ++l) slots.set(0, l, k0 + k, place);
      model.column(slots, 0, 0, block + k, kColumns);
    }
    for (int l = 0; l < count; ++l)
      for (int e = 0; e < s.equations; ++e) {
        int64_t* out = a.out + ((item * L + l) * s.equations + e) * s.size + k0;
        for (int k = 0; k < columns; ++k) out[k] = lane(block + e * kColumns + k, l).v;
      }
  }
}

template <class S>
void jacobian_mod_batch(const JacobianModArgs& a, Control& control) {
  constexpr int L = Traits<S>::lanes;
  Body body = a.shape->kind == Kind::feedforward ? jacobian_mod_item<Feedforward<S>, S> : jacobian_mod_item<Recurrent<S>, S>;
  parallel_for((a.batch + L - 1) / L, a.threads, control, body, const_cast<JacobianModArgs*>(&a));
}

template <uint32_t P>
void jacobian_mod_field(const JacobianModArgs& a, Control& control) {
  if (a.batch < 4) jacobian_mod_batch<ModP<P>>(a, control);
  else jacobian_mod_batch<ModPLanes<P>>(a, control);
}

}  // namespace

// The caller has checked p and the activation (bind/register_cpu_networks.cpp).
void jacobian_mod(const JacobianModArgs& a, Control& control) {
  if (a.p == kPrimes[0]) jacobian_mod_field<kPrimes[0]>(a, control);
  else jacobian_mod_field<kPrimes[1]>(a, control);
}

}  // namespace SL_ISA
}  // namespace sl
