// rank_qr.h: what the two layouts of the rank kernel share (see rank_real.cpp for the method).
#pragma once
#include <cfloat>
#include <cmath>

#include "core/pack.h"

namespace sl {
namespace SL_ISA {

constexpr double kHealthy = 1e-2;  // (row left)^2 over its expected value, below which rows are measured and exchanged

template <class T> constexpr T eps_of() { return sizeof(T) == 8 ? T(DBL_EPSILON) : T(FLT_EPSILON); }
template <class T> constexpr T max_of() { return sizeof(T) == 8 ? T(DBL_MAX) : T(FLT_MAX); }

// A power of two that brings `most` near 1 (exact scaling; squares then neither overflow nor underflow where it matters).
template <class T>
SL_INLINE T balancing(T most) {
  if (!(most > 0)) return T(1);
  int e;
  std::frexp(most, &e);
  const int limit = sizeof(T) == 8 ? 1022 : 126;
  e = -e;
  e = e > limit ? limit : e < -limit ? -limit : e;
  return std::ldexp(T(1), e);
}

}  // namespace SL_ISA
}  // namespace sl
