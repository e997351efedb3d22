// Outputs over the complex numbers, one student at a time: for complex-step derivatives in tests. See ops/outputs.h.
#include "cpu/models.h"
#include "ops/outputs.h"
#include "scalar/complex.h"

namespace sl {
using namespace base;
namespace {

template <class Model>
void outputs_complex_one(void* context, int, int64_t b, Control&) {
  using S = Complex<double>;
  const OutputsComplexArgs& a = *static_cast<const OutputsComplexArgs*>(context);
  const Shape& s = *a.shape;
  Scratch scratch;
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

void outputs_complex(const OutputsComplexArgs& a, Control& control) {
  Body body = a.shape->kind == Kind::feedforward ? outputs_complex_one<Feedforward<Complex<double>>>
                                                 : outputs_complex_one<Recurrent<Complex<double>, 0>>;
  parallel_for(a.batch, a.threads, control, body, const_cast<OutputsComplexArgs*>(&a));
}

}  // namespace sl
