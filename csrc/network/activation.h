// activation.h: the three activations and their slopes, for scalars, packs, complex numbers and GF(p).
//
// Slopes are written in terms of the activity h = phi(z): linear 1, relu [h > 0], tanh 1 - h^2.
#pragma once
#include <cmath>

#include "core/shape.h"
#include "scalar/complex.h"
#include "scalar/exponential.h"
#include "scalar/lanes.h"
#include "scalar/modp.h"

namespace sl {
namespace SL_ISA {

// tanh of a pack, a few units in the last place: with y = 2|z|, k = round(y / ln 2) and r = y - k ln 2,
// expm1(y) = 2^k expm1(r) + (2^k - 1) and tanh|z| = expm1(y) / (expm1(y) + 2). expm1(r) by its Taylor polynomial.
template <class S> SL_INLINE S tanh_of(S z) {
  using T = typename Traits<S>::Scalar;
  if constexpr (Traits<S>::lanes == 1) {
    return std::tanh(z);
  } else {
    using M = typename Traits<S>::Mask;
    constexpr bool wide = sizeof(T) == 8;
    const S zero{};
    const M negative = z < zero;
    S a = negative ? -z : z;
    const T most = wide ? T(20) : T(10);
    const M big = a > constant<S>(most);  // false for NaN, which then flows through
    a = big ? constant<S>(most) : a;
    const S y = a + a;
    const auto [r, power] = reduced_by_ln2(y);
    S p = constant<S>(wide ? T(1.0 / 6227020800.0) : T(1.0 / 40320.0));
    double factorial = wide ? 479001600.0 : 5040.0;
    for (int d = wide ? 12 : 7; d >= 2; --d) {
      p = p * r + T(1.0 / factorial);
      factorial /= d;
    }
    p = (p * r) * r + r;
    const S e = power * p + (power - T(1));
    const S t = e / (e + T(2));
    return negative ? -t : t;
  }
}
template <class R> SL_INLINE Complex<R> tanh_of(Complex<R> z) {
  // tanh(a + ib) = (sinh 2a + i sin 2b) / (cosh 2a + cos 2b)
  const R d = std::cosh(2 * z.re) + std::cos(2 * z.im);
  return {std::sinh(2 * z.re) / d, std::sin(2 * z.im) / d};
}
template <uint32_t P> SL_INLINE ModP<P> tanh_of(ModP<P> z) { return z; }  // never called: activities are given (see Hidden)

template <class S> SL_INLINE S relu_of(S z) {
  const S zero{};
  return z > zero ? z : (z == z ? zero : z);  // NaN stays NaN
}
template <class R> SL_INLINE Complex<R> relu_of(Complex<R> z) { return z.re > R(0) ? z : Complex<R>{}; }
template <uint32_t P> SL_INLINE ModP<P> relu_of(ModP<P> z) { return z; }

template <class S> SL_INLINE S gate_by(S h, S g) {  // [h > 0] g
  const S zero{};
  return h > zero ? g : zero;
}
template <class R> SL_INLINE Complex<R> gate_by(Complex<R> h, Complex<R> g) { return h.re > R(0) ? g : Complex<R>{}; }
template <uint32_t P> SL_INLINE ModP<P> gate_by(ModP<P>, ModP<P> g) { return g; }

// z <- phi(z) and g <- phi'(z) g given h = phi(z), over a range, with the choice of phi outside the loop.
template <class C> SL_INLINE void activate_all(Activation a, C* z, int count) {
  using S = Value<C>;
  if (a == Activation::relu)
    for (int k = 0; k < count; ++k) z[k] = relu_of(S(z[k]));
  else if (a == Activation::tanh)
    for (int k = 0; k < count; ++k) z[k] = tanh_of(S(z[k]));
}
template <class A, class C> SL_INLINE void times_slope_all(Activation a, const A* h, C* g, int count) {
  using S = Value<C>;
  if (a == Activation::relu)
    for (int k = 0; k < count; ++k) g[k] = gate_by(S(h[k]), S(g[k]));
  else if (a == Activation::tanh)
    for (int k = 0; k < count; ++k) g[k] = S(g[k]) - S(h[k]) * S(h[k]) * S(g[k]);
}

}  // namespace SL_ISA
}  // namespace sl
