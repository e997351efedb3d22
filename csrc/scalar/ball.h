// ball.h: a real number known to lie within rad of mid, as a scalar with + - *: rigorous bounds from plain float64 arithmetic.
//
// mid is computed rounded to nearest, off by at most eps/2 |mid| (kEps covers it twice) or by an underflow (kTiny); rad is itself
// computed with a handful of roundings, which the factor kUp covers. A fused multiply-add rounds once instead of twice: within
// the bounds too. An overflow gives infinity or NaN, which every comparison with a bound must then refuse. Linear networks only.
#pragma once
#include <cmath>

#include "scalar/lanes.h"

namespace sl {
struct Ball {
  static constexpr double kEps = 2.3e-16, kUp = 1 + 1e-14, kTiny = 1e-300;
  double mid = 0, rad = 0;
  Ball() = default;
  SL_INLINE Ball(double m, double r = 0) : mid(m), rad(r) {}
  friend SL_INLINE Ball operator+(Ball a, Ball b) {
    const double m = a.mid + b.mid;
    return {m, (a.rad + b.rad + kEps * std::fabs(m)) * kUp + kTiny};
  }
  friend SL_INLINE Ball operator-(Ball a, Ball b) {
    const double m = a.mid - b.mid;
    return {m, (a.rad + b.rad + kEps * std::fabs(m)) * kUp + kTiny};
  }
  friend SL_INLINE Ball operator*(Ball a, Ball b) {
    const double m = a.mid * b.mid;
    return {m, (std::fabs(a.mid) * b.rad + a.rad * (std::fabs(b.mid) + b.rad) + kEps * std::fabs(m)) * kUp + kTiny};
  }
  SL_INLINE Ball& operator+=(Ball b) { return *this = *this + b; }
  SL_INLINE double most() const { return (std::fabs(mid) + rad) * kUp; }  // an upper bound of the absolute value
};
namespace SL_ISA {
template <> struct Number<Ball> {
  static SL_INLINE Ball of(double v) { return Ball(v); }
};
}  // namespace SL_ISA
SL_INLINE Ball tanh_of(Ball z) { return z; }  // never called
SL_INLINE Ball relu_of(Ball z) { return z; }
SL_INLINE Ball gate_by(Ball, Ball g) { return g; }
}  // namespace sl
