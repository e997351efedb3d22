// Outputs over GF(p), one student at a time: exact numbers of linear networks. See ops/outputs.h.
#include "core/primes.h"
#include "cpu/models.h"
#include "ops/outputs.h"
#include "scalar/modp.h"

namespace sl {
using namespace base;
namespace {

template <class Model, class S>
void outputs_mod_one(void* context, int, int64_t b, Control&) {
  const OutputsModArgs& a = *static_cast<const OutputsModArgs*>(context);
  const Shape& s = *a.shape;
  Scratch scratch;
  Model model(s, scratch, Tables::gradient);
  S *theta = take_array<S>(scratch, s.size), *y = take_array<S>(scratch, s.equations);
  for (int k = 0; k < s.size; ++k) theta[k] = S(static_cast<uint32_t>(a.theta[b * s.size + k]));
  for (int k = 0; k < s.inputs_size; ++k) *model.input(k) = S(static_cast<uint32_t>(a.x[b * s.inputs_size + k]));
  bool all[kMaxGroups];
  for (bool& g : all) g = true;
  model.learn(all);
  model.inputs_ready(S(1));
  model.prepare(theta);
  model.forward(theta, y);
  for (int e = 0; e < s.equations; ++e) a.out[b * s.equations + e] = y[e].v;
}

}  // namespace

void outputs_mod(const OutputsModArgs& a, Control& control) {
  using S = ModP<kPrimes[0]>;
  Body body = a.shape->kind == Kind::feedforward ? outputs_mod_one<Feedforward<S>, S> : outputs_mod_one<Recurrent<S>, S>;
  parallel_for(a.batch, a.threads, control, body, const_cast<OutputsModArgs*>(&a));
}

}  // namespace sl
