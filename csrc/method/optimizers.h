// optimizers.h (method): the rules of the optimisers of `fit`, one text for both devices. Gradient g, step t = 1, 2, ..; weight w <- w - change:
//   sgd       change = lr g
//   momentum  v = 0.9 v + g                                     change = lr v
//   adam      m = 0.9 m + 0.1 g,  q = 0.999 q + 0.001 g^2       change = lr / (1 - 0.9^t) m / (sqrt(q / (1 - 0.999^t)) + 1e-8)
// (Kingma & Ba 2015.) The rate lr of a step may be a part of the rate asked for, by a schedule. S is a number or a pack of them, T the scalar type of S.
#pragma once
#include <cmath>

#include "ops/descend.h"
#include "scalar/lanes.h"

namespace sl {
namespace SL_ISA {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kMomentum = 0.9, kEpsilon = 1e-8;

// What Adam's step t multiplies with, in double precision: the powers are products of t factors on every device.
struct BiasCorrection {
  double power1 = 1, power2 = 1;
  void next_step() {
    power1 *= kBeta1;
    power2 *= kBeta2;
  }
  double rate(double lr) const { return lr / (1 - power1); }
  double scale() const { return 1 / (1 - power2); }
};

// Which part of the rate step t = 0, 1, .. has.
inline double part_of_rate(Schedule schedule, int64_t t, int64_t horizon) {
  if (schedule == Schedule::constant) return 1;
  if (t >= horizon) return 0;
  const double through = static_cast<double>(t) / static_cast<double>(horizon);
  return schedule == Schedule::linear ? 1 - through : (1 + std::cos(3.14159265358979323846 * through)) / 2;
}

template <class T, class S> SL_INLINE S first_moment(S m, S g) { return m * T(kBeta1) + g * T(1 - kBeta1); }
template <class T, class S> SL_INLINE S second_moment(S q, S g) { return q * T(kBeta2) + g * g * T(1 - kBeta2); }
template <class T, class S> SL_INLINE S velocity(S v, S g) { return v * T(kMomentum) + g; }

}  // namespace SL_ISA
}  // namespace sl
