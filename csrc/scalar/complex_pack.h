// complex_pack.h: complex numbers in SIMD lanes, as a scalar for the network mathematics and for the path tracker.
//
// ComplexPack holds the real parts of all lanes in one register and the imaginary parts in another: a product is four
// multiply-adds and no shuffle. (Not Complex<Pack>: these must lie inside the namespace of the instruction set, so that the networks'
// calls of gather, lane and so on find them there.) Linear networks only: tanh_of, relu_of and gate_by are there to compile, and are
// never called.
#pragma once
#include "scalar/complex_lane.h"
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

struct ComplexPack {
  using R = Pack<double>;
  R re{}, im{};
};
template <> struct Traits<ComplexPack> {
  using Scalar = double;
  using Mask = PackMask<double>;
  static constexpr int lanes = kLanes<double>;
};

template <> struct Number<ComplexPack> {
  static SL_INLINE ComplexPack of(double v) { return {constant<Pack<double>>(v), Pack<double>{}}; }
};

SL_INLINE ComplexPack operator+(ComplexPack a, ComplexPack b) { return {a.re + b.re, a.im + b.im}; }
SL_INLINE ComplexPack operator-(ComplexPack a, ComplexPack b) { return {a.re - b.re, a.im - b.im}; }
SL_INLINE ComplexPack operator-(ComplexPack a) { return {-a.re, -a.im}; }
SL_INLINE ComplexPack operator*(ComplexPack a, ComplexPack b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
SL_INLINE ComplexPack operator*(ComplexPack a, Pack<double> b) { return {a.re * b, a.im * b}; }
SL_INLINE ComplexPack& operator+=(ComplexPack& a, ComplexPack b) { return a = a + b; }
// a += b c and a -= b c, as four multiply-adds each
SL_INLINE void add_product(ComplexPack& a, ComplexPack b, ComplexPack c) {
  a.re += b.re * c.re;
  a.re -= b.im * c.im;
  a.im += b.re * c.im;
  a.im += b.im * c.re;
}
SL_INLINE void subtract_product(ComplexPack& a, ComplexPack b, ComplexPack c) {
  a.re -= b.re * c.re;
  a.re += b.im * c.im;
  a.im -= b.re * c.im;
  a.im -= b.im * c.re;
}
SL_INLINE Pack<double> squared_size(ComplexPack a) { return a.re * a.re + a.im * a.im; }
SL_INLINE ComplexPack reciprocal(ComplexPack a) {
  const Pack<double> d = constant<Pack<double>>(1.0) / squared_size(a);
  return {a.re * d, -a.im * d};
}
SL_INLINE ComplexPack choose(PackMask<double> m, ComplexPack a, ComplexPack b) {
  return {select<Pack<double>>(m, a.re, b.re), select<Pack<double>>(m, a.im, b.im)};
}
SL_INLINE void put(ComplexPack* to, int l, ComplexLane value) {
  reinterpret_cast<double*>(&to->re)[l] = value.re;
  reinterpret_cast<double*>(&to->im)[l] = value.im;
}
SL_INLINE ComplexLane lane_of(const ComplexPack& a, int l) { return {a.re[l], a.im[l]}; }

// What the networks ask of a scalar with lanes (network/slots.h).
SL_INLINE ComplexPack gather(const ComplexPack* base, const int* index, bool same) {
  if (same) return base[index[0]];
  constexpr int L = kLanes<double>;
  const double* p = reinterpret_cast<const double*>(base);
  Pack<double> re{}, im{};
  for (int l = 0; l < L; ++l) {
    re[l] = p[index[l] * 2 * L + l];
    im[l] = p[index[l] * 2 * L + L + l];
  }
  return {re, im};
}
SL_INLINE void scatter(ComplexPack* base, const int* index, ComplexPack value, bool same) {
  if (same) {
    base[index[0]] = value;
    return;
  }
  constexpr int L = kLanes<double>;
  double* p = reinterpret_cast<double*>(base);
  for (int l = 0; l < L; ++l) {
    p[index[l] * 2 * L + l] = value.re[l];
    p[index[l] * 2 * L + L + l] = value.im[l];
  }
}
SL_INLINE void add_lane(ComplexPack* to, int l, ComplexPack value) { put(to, l, {to->re[l] + value.re[l], to->im[l] + value.im[l]}); }
SL_INLINE ComplexPack tanh_of(ComplexPack z) { return z; }
SL_INLINE ComplexPack relu_of(ComplexPack z) { return z; }
SL_INLINE ComplexPack gate_by(ComplexPack, ComplexPack g) { return g; }

template <> struct Beside<ComplexPack> {
  using Real = Pack<double>;
  using Mask = PackMask<double>;
  static SL_INLINE bool any(Mask m) { return SL_ISA::any<Mask>(m); }
  static SL_INLINE Mask opposite(Mask m) { return ~m; }
  static SL_INLINE Real select(Mask m, Real a, Real b) { return SL_ISA::select<Real>(m, a, b); }
  static SL_INLINE double get(Real x, int l) { return x[l]; }
  static SL_INLINE void set(Real& x, int l, double value) { x[l] = value; }
};

}  // namespace SL_ISA
}  // namespace sl
