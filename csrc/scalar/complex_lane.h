// complex_lane.h: one complex number in double precision: the scalar of the tracker where a path has a CUDA thread of its own, and one
// lane of a ComplexPack on the CPU. (Not Complex<double>, whose tanh and relu a kernel for linear networks must not carry along.)
//
// a += b c takes four multiply-adds in a kernel: the product stays unevaluated (Product) until it is known what it is added to. On the
// CPU it is evaluated first, in the order of ComplexPack.
#pragma once
#include <cmath>

#include "scalar/lanes.h"

namespace sl {
namespace SL_ISA {

struct alignas(16) ComplexLane {  // 16 bytes: one load of a thread
  using Real = double;
  double re, im;
};
template <> struct Number<ComplexLane> {
  static SL_INLINE ComplexLane of(double v) { return {v, 0.0}; }
};
struct Product {
  ComplexLane a, b;
  SL_INLINE operator ComplexLane() const { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
};

SL_INLINE ComplexLane operator+(ComplexLane a, ComplexLane b) { return {a.re + b.re, a.im + b.im}; }
SL_INLINE ComplexLane operator-(ComplexLane a, ComplexLane b) { return {a.re - b.re, a.im - b.im}; }
SL_INLINE ComplexLane operator-(ComplexLane a) { return {-a.re, -a.im}; }
SL_INLINE Product operator*(ComplexLane a, ComplexLane b) { return {a, b}; }
SL_INLINE ComplexLane operator*(ComplexLane a, double b) { return {a.re * b, a.im * b}; }
SL_INLINE ComplexLane operator/(ComplexLane a, ComplexLane b) {
  const double d = 1.0 / (b.re * b.re + b.im * b.im);
  return {(a.re * b.re + a.im * b.im) * d, (a.im * b.re - a.re * b.im) * d};
}
SL_INLINE ComplexLane& operator+=(ComplexLane& a, ComplexLane b) { return a = a + b; }
SL_INLINE void add_product(ComplexLane& a, ComplexLane b, ComplexLane c) {
  a.re += b.re * c.re;
  a.re -= b.im * c.im;
  a.im += b.re * c.im;
  a.im += b.im * c.re;
}
SL_INLINE void subtract_product(ComplexLane& a, ComplexLane b, ComplexLane c) {
  a.re -= b.re * c.re;
  a.re += b.im * c.im;
  a.im -= b.re * c.im;
  a.im -= b.im * c.re;
}
SL_INLINE ComplexLane& operator+=(ComplexLane& a, Product p) {
#if defined(__CUDACC__) || defined(SL_EMULATE)
  add_product(a, p.a, p.b);
#else
  a = a + ComplexLane(p);
#endif
  return a;
}
SL_INLINE double squared_size(ComplexLane a) { return a.re * a.re + a.im * a.im; }
SL_INLINE double size_of(ComplexLane a) { return std::sqrt(a.re * a.re + a.im * a.im); }
SL_INLINE ComplexLane reciprocal(ComplexLane a) {
  const double d = 1.0 / squared_size(a);
  return {a.re * d, -a.im * d};
}
SL_INLINE ComplexLane choose(bool m, ComplexLane a, ComplexLane b) { return m ? a : b; }
SL_INLINE ComplexLane lane_of(ComplexLane a, int) { return a; }
template <class C> SL_INLINE void put(C* to, int, ComplexLane value) { *to = value; }

// Linear networks only: these are there to compile, and are never called.
SL_INLINE ComplexLane tanh_of(ComplexLane z) { return z; }
SL_INLINE ComplexLane relu_of(ComplexLane z) { return z; }
SL_INLINE ComplexLane gate_by(ComplexLane, ComplexLane g) { return g; }

// What the tracker asks of real numbers and masks beside a complex scalar S, for packs and for one lane.
template <class S> struct Beside;
template <> struct Beside<ComplexLane> {
  using Real = double;
  using Mask = bool;
  static SL_INLINE bool any(bool m) { return m; }
  static SL_INLINE bool opposite(bool m) { return !m; }
  static SL_INLINE double select(bool m, double a, double b) { return m ? a : b; }
  static SL_INLINE double get(double x, int) { return x; }
  static SL_INLINE void set(double& x, int, double value) { x = value; }
};
// A table entry for T in the memory that holds entries of type C.
template <class C, class T> struct EntryBeside { using type = T; };

}  // namespace SL_ISA
}  // namespace sl
