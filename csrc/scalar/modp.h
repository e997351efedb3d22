// modp.h: the field of integers mod a prime P < 2^31, as a scalar with + - *.
//
// Only ring operations: enough for the outputs and the Jacobian of a linear network. P is a compile-time constant of the
// form 2^31 - C with small C, so that a product is reduced by folding its high part: x = hi 2^31 + lo = lo + C hi (mod P).
// Eliminations take any odd p, a Modulus, and reduce by Montgomery's rule (see modp_pack.h).
#pragma once
#include <cmath>
#include <cstdint>

#include "scalar/lanes.h"

namespace sl {

template <uint32_t P>
struct ModP {
  uint32_t v = 0;  // in [0, P)
  ModP() = default;
  SL_HD SL_INLINE explicit ModP(uint32_t reduced) : v(reduced) {}
  static SL_HD SL_INLINE uint32_t fold(uint64_t x) {
    constexpr uint64_t C = (uint64_t{1} << 31) - P, low = (uint64_t{1} << 31) - 1;
    x = (x & low) + C * (x >> 31);
    x = (x & low) + C * (x >> 31);
    if (C > 1) x = (x & low) + C * (x >> 31);
    return static_cast<uint32_t>(x >= P ? x - P : x);
  }
  friend SL_HD SL_INLINE ModP operator+(ModP a, ModP b) {
    const uint32_t s = a.v + b.v;
    return ModP(s >= P ? s - P : s);
  }
  friend SL_HD SL_INLINE ModP operator-(ModP a, ModP b) { return ModP(a.v >= b.v ? a.v - b.v : a.v + P - b.v); }
  friend SL_HD SL_INLINE ModP operator*(ModP a, ModP b) { return ModP(fold(uint64_t{a.v} * b.v)); }
  SL_HD SL_INLINE ModP& operator+=(ModP b) { return *this = *this + b; }
};

// A float64 is a whole number times a power of two: its exact value mod p.
template <uint32_t P> SL_INLINE ModP<P> residue_of(double v) {
  int exponent;
  const double fraction = std::frexp(v, &exponent);  // v = fraction 2^exponent, 1/2 <= |fraction| < 1
  const int64_t whole = static_cast<int64_t>(fraction * 9007199254740992.0) % int64_t{P};  // 2^53
  exponent -= 53;
  ModP<P> r(static_cast<uint32_t>(whole < 0 ? whole + P : whole)), two(exponent < 0 ? (P + 1) / 2 : 2);
  for (int e = exponent < 0 ? -exponent : exponent; e > 0; e >>= 1, two = two * two)
    if (e & 1) r = r * two;
  return r;
}

namespace SL_ISA {

template <uint32_t P> struct Number<ModP<P>> {
  static SL_INLINE ModP<P> of(double v) { return residue_of<P>(v); }
};

struct Modulus {
  uint32_t p, inverse;  // inverse = p^-1 mod 2^32, by Newton's iteration
  SL_HD explicit Modulus(uint32_t prime) : p(prime), inverse(prime) {
    for (int k = 0; k < 5; ++k) inverse *= 2 - p * inverse;
  }
  SL_HD uint32_t reduce(uint64_t t) const {  // t / R mod p, t < p 2^32
    const uint32_t high = static_cast<uint32_t>(t >> 32);
    const uint32_t less = static_cast<uint32_t>((uint64_t{static_cast<uint32_t>(t) * inverse} * p) >> 32);
    return high >= less ? high - less : high - less + p;
  }
};

}  // namespace SL_ISA

}  // namespace sl
