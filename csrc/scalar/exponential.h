// exponential.h: e^x and ln x of packs, a few units in the last place. The arguments of a softmax: x <= 0, and sums of at least 1.
//
//   e^x = 2^k e^r,       k = round(x / ln 2), r = x - k ln 2 in two parts, e^r by its Taylor polynomial
//   ln x = e ln 2 + 2 atanh(s),   x = 2^e m with m in [sqrt(1/2), sqrt(2)), s = (m - 1) / (m + 1), |s| < 0.172
#pragma once
#include "scalar/lanes.h"

namespace sl {
namespace SL_ISA {

// x = k ln 2 + r, |r| <= ln 2 / 2, and 2^k, put together by its exponent bits.
template <class S> struct Reduced { S r, power; };
template <class S> SL_INLINE Reduced<S> reduced_by_ln2(S x) {
  using T = typename Traits<S>::Scalar;
  using I = typename Traits<S>::Mask;
  constexpr bool wide = sizeof(T) == 8;
  const T shifter = wide ? T(6755399441055744.0) : T(12582912.0f);  // 1.5 * 2^52, 1.5 * 2^23: rounds to an integer
  const S shifted = x * T(1.4426950408889634) + shifter;
  const S k = shifted - shifter;
  const S r =
      wide ? (x - k * T(0.693147180369123816490)) - k * T(1.90821492927058770002e-10) : (x - k * T(0.693359375f)) - k * T(-2.12194440e-4f);
  const I ik = __builtin_bit_cast(I, shifted) - __builtin_bit_cast(I, constant<S>(shifter));
  if constexpr (wide) return {r, __builtin_bit_cast(S, (ik + 1023) << 52)};
  else return {r, __builtin_bit_cast(S, (ik + 127) << 23)};
}

// x <= 0; 0 where it would be less than the least normal number; NaN stays NaN.
template <class S> SL_INLINE S exp_of(S x) {
  using T = typename Traits<S>::Scalar;
  if constexpr (Traits<S>::lanes == 1) {
    return std::exp(x);
  } else {
    using M = typename Traits<S>::Mask;
    constexpr bool wide = sizeof(T) == 8;
    const S least = constant<S>(wide ? T(-708) : T(-87));
    const M gone = x < least;
    const S a = gone ? least : x;
    const auto [r, power] = reduced_by_ln2(a);
    S p = constant<S>(wide ? T(1.0 / 6227020800.0) : T(1.0 / 5040.0));
    double factorial = wide ? 479001600.0 : 720.0;
    for (int d = wide ? 12 : 6; d >= 0; --d) {
      p = p * r + T(1.0 / factorial);
      factorial /= d > 0 ? d : 1;
    }
    const S zero{};
    return gone ? zero : power * p;
  }
}

// x >= 1, finite; NaN stays NaN.
template <class S> SL_INLINE S log_of(S x) {
  using T = typename Traits<S>::Scalar;
  if constexpr (Traits<S>::lanes == 1) {
    return std::log(x);
  } else {
    using M = typename Traits<S>::Mask;
    constexpr bool wide = sizeof(T) == 8;
    constexpr int bits = wide ? 52 : 23;
    const M root = __builtin_bit_cast(M, constant<S>(T(0.70710678118654752)));
    const M from = __builtin_bit_cast(M, x) - root;
    const M e = from >> bits;  // arithmetic: floor
    const M fraction = (((M{} + 1) << bits) - 1) & from;
    const S m = __builtin_bit_cast(S, fraction + root);
    const S s = (m - T(1)) / (m + T(1)), s2 = s * s;
    S p = constant<S>(wide ? T(1.0 / 21) : T(1.0 / 9));
    for (int d = wide ? 19 : 7; d >= 1; d -= 2) p = p * s2 + T(1.0 / d);
    const S k = __builtin_convertvector(e, S);
    const S log = k * T(0.69314718055994531) + T(2) * s * p;
    return x == x ? log : x;
  }
}

}  // namespace SL_ISA
}  // namespace sl
