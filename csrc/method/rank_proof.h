// rank_proof.h: when a QR factorisation of the rows of a matrix proves its numerical rank. For one matrix.
//
// R11 is the triangle of the first r rows, R22 what is left of the others:
//   sigma_{r+1} <= ||R22||_F,   sigma_r >= 1 / ||R11^-1||_F,   low <= sigma_1 <= ||A||_F,   low = sqrt((||A||_F^2 - ||R22||_F^2) / r).
// The tolerance is rtol sigma_1, so the rank is r when
//   ||R22||_F + eps ||A||_F <= (rtol - eps length / 4) low   and   1 / ||R11^-1||_F > 2 rtol ||A||_F + eps ||A||_F.
// eps ||A||_F stands for the rounding of the QR itself, eps length / 4 (length: numbers in a row) for the drift of long sums of nearly
// equal numbers, which all round the same way: three times the worst found by search (float32, 2 to 128 rows), not a theorem. "Proven"
// means up to this model of rounding. Anything nearer to the tolerance is left to an SVD.
#pragma once
#include <cfloat>
#include <cmath>

#include "scalar/lanes.h"

namespace sl {
namespace SL_ISA {

template <class T> SL_HD constexpr T machine_eps() { return sizeof(T) == 8 ? T(DBL_EPSILON) : T(FLT_EPSILON); }

// How much of rtol a tail may use.
template <class T> SL_HD inline T rtol_of_tail(T rtol, int length) { return rtol - machine_eps<T>() * static_cast<T>(length) / T(4); }

// norm2 = ||A||_F^2, tail2 = ||R22||_F^2, inverse2 = ||R11^-1||_F^2; full = the smaller side, length = the larger.
template <class T>
SL_HD inline bool rank_proven(int r, int full, int length, T norm2, T tail2, T inverse2, T rtol) {
  if (norm2 == T(0)) return true;
  if (r == 0 || !(inverse2 > T(0))) return false;
  const T norm = std::sqrt(norm2), error = machine_eps<T>() * norm;
  if (r < full) {
    const T low = norm2 > tail2 ? rtol_of_tail<T>(rtol, length) * std::sqrt((norm2 - tail2) / static_cast<T>(r)) : T(0);
    if (!(std::sqrt(tail2) + error <= low)) return false;
  }
  return T(1) / std::sqrt(inverse2) > T(2) * rtol * norm + error;
}

// A tolerance below the rounding of the method proves nothing.
template <class T> SL_HD inline bool tolerance_provable(double rtol, int length) {
  return !(rtol * 2 < static_cast<double>(machine_eps<T>()) * length);
}

}  // namespace SL_ISA
}  // namespace sl
