// complex.h: a complex number over any real scalar or pack, with + - *. (std::complex is slow on the CPU: its product
// checks for infinities, and it cannot hold packs.)
#pragma once
#include "scalar/lanes.h"

namespace sl {
template <class R>
struct Complex {
  R re{}, im{};
  Complex() = default;
  SL_HD Complex(R a, R b) : re(a), im(b) {}
  friend SL_HD Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
  friend SL_HD Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
  friend SL_HD Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
  SL_HD Complex& operator+=(Complex b) { return *this = *this + b; }
};
namespace SL_ISA {
template <class R> struct Number<Complex<R>> {
  static SL_INLINE Complex<R> of(double v) { return {Number<R>::of(v), R{}}; }
};
}  // namespace SL_ISA
}  // namespace sl
