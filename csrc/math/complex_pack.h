// complex_pack.h: complex numbers in SIMD lanes, and their first-order jets, as scalars for the network mathematics.
//
// ComplexPack holds the real parts of all lanes in one register and the imaginary parts in another: a product is four
// multiply-adds and no shuffle. Dual<S> carries a value and a derivative along one direction: (v, d) (w, e) = (v w, v e + d w),
// so that one forward pass of a network whose data move also tells how fast the outputs move. (Not Complex<Pack>: these must lie
// inside the namespace of the instruction set, so that the networks' calls of gather, lane and so on find them there.)
// Linear networks only: tanh_of, relu_of and gate_by are there to compile, and are never called.
#pragma once
#include "core/pack.h"
#include "math/slots.h"

namespace sl {
namespace SL_ISA {

struct ComplexPack {
  using R = Pack<double>;
  R re{}, im{};
};
template <> struct Traits<ComplexPack> { using Scalar = double; using Mask = PackMask<double>; static constexpr int lanes = kLanes<double>; };

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
SL_INLINE void put(ComplexPack* to, int l, double re, double im) {
  reinterpret_cast<double*>(&to->re)[l] = re;
  reinterpret_cast<double*>(&to->im)[l] = im;
}

// What the networks ask of a scalar with lanes (see slots.h).
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
SL_INLINE void add_lane(ComplexPack* to, int l, ComplexPack value) { put(to, l, to->re[l] + value.re[l], to->im[l] + value.im[l]); }
SL_INLINE ComplexPack tanh_of(ComplexPack z) { return z; }
SL_INLINE ComplexPack relu_of(ComplexPack z) { return z; }
SL_INLINE ComplexPack gate_by(ComplexPack, ComplexPack g) { return g; }

template <class S> struct Dual {
  S v{}, d{};
};
template <class S> struct Traits<Dual<S>> { using Scalar = double; using Mask = bool; static constexpr int lanes = Traits<S>::lanes; };
template <class S> SL_INLINE Dual<S> operator+(Dual<S> a, Dual<S> b) { return {a.v + b.v, a.d + b.d}; }
template <class S> SL_INLINE Dual<S> operator*(Dual<S> a, Dual<S> b) {
  Dual<S> r{a.v * b.v, a.v * b.d};
  add_product(r.d, a.d, b.v);
  return r;
}
template <class S> SL_INLINE Dual<S>& operator+=(Dual<S>& a, Dual<S> b) { return a = a + b; }
template <class S> SL_INLINE Dual<S> tanh_of(Dual<S> z) { return z; }
template <class S> SL_INLINE Dual<S> relu_of(Dual<S> z) { return z; }

}  // namespace SL_ISA
}  // namespace sl
