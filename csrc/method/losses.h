// losses.h (method): the losses of `fit` beside the sum of squares, and their derivatives in the outputs.
//
//   softmax cross-entropy of one sample (or step), targets y* >= 0 whose sum s is 1:
//     loss = - sum_e y*_e ln p_e,  p = softmax(f)         d loss / d f_e = s p_e - y*_e
//   with top = max f and d = sum_e e^(f_e - top) in [1, o]:  loss = s ln d + sum_e y*_e (top - f_e),  p_e = e^(f_e - top) / d
// No term overflows and none is negative, so nothing cancels. A sample whose targets are all 0 has loss 0 and derivatives 0.
// An output that is not finite makes the loss NaN or infinite.
#pragma once
#include "scalar/exponential.h"

namespace sl {
namespace SL_ISA {

// f, target: `outputs` entries, so far apart; error: where the derivatives go, as f; it may be f.
template <class S>
SL_INLINE S softmax_loss(const S* f, const S* target, int outputs, int f_stride, int target_stride, S* error) {
  S top = f[0];
  for (int e = 1; e < outputs; ++e) {
    const S y = f[e * f_stride];
    top = y > top ? y : top;
  }
  S sum{}, wanted{}, loss{};
  for (int e = 0; e < outputs; ++e) {
    const S below = top - f[e * f_stride], t = target[e * target_stride], p = exp_of(S(-below));
    sum += p;
    wanted += t;
    loss += t * below;
    error[e * f_stride] = p;
  }
  const S scale = wanted / sum;
  for (int e = 0; e < outputs; ++e) error[e * f_stride] = error[e * f_stride] * scale - target[e * target_stride];
  return loss + wanted * log_of(sum);
}

}  // namespace SL_ISA
}  // namespace sl
