// double_double_ball.h: a real number with about 32 digits and a bound of its error, hi + lo +- rad, as a scalar with + - *.
//
// Error-free transformations: a + b = s + e exactly (Knuth), a b = p + e exactly (one fused multiply-add where the processor has one, else
// Dekker with Veltkamp's splitting: the same e, bit for bit). No other product and sum may be fused: compiled with -ffp-contract=off.
// With u = 2^-53 a sum of two numbers is right to 3 u^2 of itself, a product to 9 u^2, a dot product of k terms to
// 4 (k + 2)^2 u^2 sum |a| |b|. rad holds these and what they inherit, rounded up: the true value of what was computed from exact numbers
// lies within rad of hi + lo. Overflow gives infinity or NaN, which no comparison with a bound may accept.
// Cost: 20 operations per term of a dot product, 14 where one factor is a float64 number; several side by side in the lanes of a pack.
#pragma once
#include <cmath>
#include <cstdint>

#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

constexpr double kU2 = 0x1p-106;
constexpr double kRoundUp = 1 + 0x1p-48;  // covers some ten roundings in the computation of a radius
constexpr double kUnderflow = 1e-290;  // covers products that underflow

// The same for a sum of k numbers that are not negative, one after the other.
SL_INLINE double round_up(int k) { return k <= 16 ? kRoundUp : 1 + (k + 16) * 0x1p-52; }

SL_INLINE double absolute(double a) { return std::fabs(a); }
SL_INLINE Pack<double> absolute(Pack<double> a) {
  using Bits = PackMask<double>;
  return __builtin_bit_cast(Pack<double>, __builtin_bit_cast(Bits, a) & (Bits{} + INT64_MAX));
}
#if defined(__FMA__)
SL_INLINE double product_less(double a, double b, double c) { return __builtin_fma(a, b, -c); }  // a b - c, rounded once
SL_INLINE Pack<double> product_less(Pack<double> a, Pack<double> b, Pack<double> c) {
#if defined(__AVX512F__)
  return _mm512_fmsub_pd(a, b, c);
#else
  return _mm256_fmsub_pd(a, b, c);
#endif
}
#endif

// V: double, or a pack of them (scalar/pack.h), side by side.
template <class V> SL_INLINE void two_sum(V a, V b, V& s, V& e) {
  const V sum = a + b, t = sum - a;
  e = (a - (sum - t)) + (b - t);
  s = sum;
}
template <class V> SL_INLINE void two_product(V a, V b, V& p, V& e) {
  const V product = a * b;
#if defined(__FMA__)
  e = product_less(a, b, product);
#else
  const V s = 134217729.0 * a, t = 134217729.0 * b;  // 2^27 + 1: halves of 26 bits
  const V a1 = s - (s - a), a0 = a - a1, b1 = t - (t - b), b0 = b - b1;
  e = ((a1 * b1 - product) + a1 * b0 + a0 * b1) + a0 * b0;
#endif
  p = product;
}
// s + e with |e| small against s, as a pair without overlap.
template <class V> SL_INLINE void renormalise(V& s, V& e) {
  const V t = s + e;
  e = e - (t - s);
  s = t;
}

template <class V> struct DoubleDoubleBalls {
  V hi{}, lo{}, rad{};  // |lo| <= u |hi|
  DoubleDoubleBalls() = default;
  SL_INLINE DoubleDoubleBalls(V h, V l = V{}, V r = V{}) : hi(h), lo(l), rad(r) {}
  friend SL_INLINE DoubleDoubleBalls operator+(const DoubleDoubleBalls& a, const DoubleDoubleBalls& b) {
    V s, e, t, f;
    two_sum(a.hi, b.hi, s, e);
    two_sum(a.lo, b.lo, t, f);
    e += t;
    renormalise(s, e);
    e += f;
    renormalise(s, e);
    return {s, e, (a.rad + b.rad + 4 * kU2 * absolute(s)) * kRoundUp};
  }
  SL_INLINE DoubleDoubleBalls operator-() const { return {-hi, -lo, rad}; }
  friend SL_INLINE DoubleDoubleBalls operator-(const DoubleDoubleBalls& a, const DoubleDoubleBalls& b) { return a + -b; }
  friend SL_INLINE DoubleDoubleBalls operator*(const DoubleDoubleBalls& a, const DoubleDoubleBalls& b) {
    V p, e;
    two_product(a.hi, b.hi, p, e);
    e += a.hi * b.lo + a.lo * b.hi;
    renormalise(p, e);
    return {p, e, (a.most() * b.rad + a.rad * b.most() + 16 * kU2 * absolute(p) + kUnderflow) * kRoundUp};
  }
  SL_INLINE DoubleDoubleBalls& operator+=(const DoubleDoubleBalls& b) { return *this = *this + b; }
  // Nearly an upper bound of the absolute value: u |hi| is missing for lo, and is covered by the factor of every radius.
  SL_INLINE V most() const { return absolute(hi) + rad; }
  SL_INLINE V slack() const { return absolute(lo) + rad; }  // how far from hi the number can be
};
using DoubleDoubleBall = DoubleDoubleBalls<double>;
using DoubleDoubleLanes = DoubleDoubleBalls<Pack<double>>;  // of one matrix or vector, not of several students

// The same number in every lane.
SL_INLINE DoubleDoubleLanes in_all_lanes(const DoubleDoubleBall& a) {
  using V = Pack<double>;
  return {constant<V>(a.hi), constant<V>(a.lo), constant<V>(a.rad)};
}
SL_INLINE void set_lane(DoubleDoubleLanes& to, int l, const DoubleDoubleBall& a) {
  to.hi[l] = a.hi;
  to.lo[l] = a.lo;
  to.rad[l] = a.rad;
}
SL_INLINE DoubleDoubleBall lane_of(const DoubleDoubleLanes& a, int l) { return {a.hi[l], a.lo[l], a.rad[l]}; }

// Dot products, term by term: value(k) after k terms. V alone: exact numbers.
template <class V> struct DotProducts {
  using Balls = DoubleDoubleBalls<V>;
  V sum{}, low{}, size{}, rad{};
  SL_INLINE void add(V a, V b) {
    V p, e;
    two_product(a, b, p, e);
    put(p, e);
  }
  SL_INLINE void add(V a, const Balls& b) {
    V p, e;
    two_product(a, b.hi, p, e);
    put(p, e + a * b.lo);
    rad += absolute(a) * b.rad;
  }
  SL_INLINE void add(const Balls& a, const Balls& b) {
    V p, e;
    two_product(a.hi, b.hi, p, e);
    put(p, e + (a.hi * b.lo + a.lo * b.hi));
    rad += a.most() * b.rad + a.rad * absolute(b.hi);
  }
  SL_INLINE Balls value(int k) const {
    V s = sum, e = low;
    renormalise(s, e);
    return {s, e, (rad + 4.0 * (k + 2) * (k + 2) * kU2 * size + kUnderflow * k) * round_up(k)};
  }

 private:
  SL_INLINE void put(V p, V e) {
    V carry;
    two_sum(sum, p, sum, carry);
    low += carry + e;
    size += absolute(p);
  }
};
using DotProduct = DotProducts<double>;

// The same without a bound.
template <class V> struct FineDotProducts {
  V sum{}, low{};
  SL_INLINE void add(const DoubleDoubleBalls<V>& a, const DoubleDoubleBalls<V>& b) {
    V p, e, carry;
    two_product(a.hi, b.hi, p, e);
    two_sum(sum, p, sum, carry);
    low += carry + (e + (a.hi * b.lo + a.lo * b.hi));
  }
  SL_INLINE DoubleDoubleBalls<V> value() const {
    V s = sum, e = low;
    renormalise(s, e);
    return {s, e};
  }
};
using FineDotProduct = FineDotProducts<double>;

SL_INLINE DoubleDoubleBall relu_of(const DoubleDoubleBall& z) {  // of NaN, which has any radius: 0 +- NaN
  return {z.hi > 0 ? z.hi : 0.0, z.hi > 0 ? z.lo : 0.0, z.hi < -z.slack() ? 0.0 : z.hi == z.hi ? z.rad : z.hi};
}

// tanh of a float64 number by additions, products and one division, whose roundings are known (libraries promise no bound): y = 2|z|,
// k = round(y / ln 2), r = y - k ln 2, p = expm1(r) (Taylor to r^13: truncated below u/8) and e = 2^k p + (2^k - 1) it is e / (e + 2).
// Roundings: r to u |r| (y - k ln2_high is exact), p to 2.5 u |p|. Where k = 1 and r is next to -ln(2)/2, the worst case, e is right to
// 4.5 u, which e / (e + 2) takes to 3.8 u, and two roundings more make 5.8 u; elsewhere all is below 4 u.
inline double tanh_number(double z) {
  if (!(z == z)) return z;
  const double a = std::fabs(z) > 20 ? 20 : std::fabs(z), y = a + a;  // tanh(20) = 1 - 8e-18
  constexpr double shifter = 6755399441055744.0;  // 1.5 * 2^52: rounds to an integer
  const double k = (y * 1.4426950408889634 + shifter) - shifter;
  const double r = (y - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
  double p = 1.0 / 6227020800.0, factorial = 479001600.0;
  for (int d = 12; d >= 2; --d) {
    p = p * r + 1.0 / factorial;
    factorial /= d;
  }
  p = (p * r) * r + r;
  const double scale = __builtin_bit_cast(double, (static_cast<int64_t>(k) + 1023) << 52), e = scale * p + (scale - 1);
  return std::copysign(e / (e + 2), z);
}
SL_INLINE DoubleDoubleBall tanh_of(const DoubleDoubleBall& z) {
  const double h = tanh_number(z.hi);
  return {h, 0, z.rad + std::fabs(z.lo) + 0x1p-50 * std::fabs(h) + kUnderflow};  // slopes are at most 1; 5.8 u < 2^-50
}

// atanh of a float64 number in (-1, 1), NaN elsewhere: (1 + |h|) / (1 - |h|) = 2^k m, m in [1/sqrt 2, sqrt 2], s = (m - 1) / (m + 1);
// it is k ln(2) / 2 + s + s^3/3 + .. + s^25/25 (|s| < .172: truncated below u/100). The quotient is right to 3 u, which moves the
// result by 1.5 u; s to 3 u |s|, k ln(2) / 2 and the sums to 3 u of the result: together below 4 u (1 + |result|).
inline double atanh_number(double h) {
  const double a = std::fabs(h);
  if (!(a < 1)) return __builtin_nan("");
  int k = 0;
  double m = std::frexp((1 + a) / (1 - a), &k);  // in [1/2, 1)
  if (m < 0.70710678118654752440) {
    m += m;
    --k;
  }
  const double s = (m - 1) / (m + 1), q = s * s;
  double p = 1.0 / 25;
  for (int d = 23; d >= 3; d -= 2) p = p * q + 1.0 / d;
  return std::copysign(k * 0.34657359027997264 + (s + s * (q * p)), h);
}
SL_INLINE DoubleDoubleBall atanh_of(const DoubleDoubleBall& h) {
  // The slope is at most 1 / (1 - far^2) at the farthest point, which lies `room` from the edge: 1 - |h| is exact next to it.
  const double z = atanh_number(h.hi), left = (1 - std::fabs(h.hi)) - h.slack(), room = left > 0 ? left : 0;
  return {z, 0, h.slack() / (room * (2 - room)) * (1 + 0x1p-40) + 0x1p-50 * (1 + std::fabs(z))};
}
SL_INLINE DoubleDoubleBall gate_by(const DoubleDoubleBall&, const DoubleDoubleBall& g) { return g; }  // never called

}  // namespace SL_ISA
}  // namespace sl
