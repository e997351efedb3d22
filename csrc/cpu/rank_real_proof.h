// rank_real_proof.h: what the layouts of the rank kernel share (see rank_real.cpp for the method): scaling, and the proof lane by lane.
#pragma once
#include <cmath>
#include <type_traits>

#include "method/rank_proof.h"
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

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

template <class T> SL_INLINE PackMask<T> lanes_at(int c) {
  using I = typename std::remove_reference<decltype(PackMask<T>{}[0])>::type;
  return PackMask<T>{} + static_cast<I>(c);
}
template <class S> SL_INLINE S magnitude(S x) { return x < S{} ? -x : x; }

// rank_proven (method/rank_proof.h) for the matrices of a pack.
template <class T>
class LaneProof {
  using S = Pack<T>;
  using M = PackMask<T>;

 public:
  // Squared norms of the matrices, their ranks, the number of rows and of numbers in one.
  SL_INLINE LaneProof(S total, M rank, int full, int length, T rtol) : norm_(square_root(total)), total_(total), rtol_(rtol) {
    for (int l = 0; l < kLanes<T>; ++l) r_[l] = static_cast<T>(rank[l]);
    error_ = norm_ * machine_eps<T>();
    rtol_tail_ = rtol_of_tail<T>(rtol, length);
    some_ = r_ > S{};
    whole_ = r_ >= constant<S>(static_cast<T>(full));
  }
  // tail2: a bound of sigma_{r+1}^2 + sigma_{r+2}^2 + ..
  SL_INLINE M tail_is_small(S tail2) const {
    const S carried = total_ > tail2 ? total_ - tail2 : S{};
    const S low = square_root(carried / (some_ ? r_ : constant<S>(T(1)))) * rtol_tail_;
    return some_ & (whole_ | (square_root(tail2) + error_ <= low));
  }
  // inverse2: a bound of ||R11^-1||^2. 1 / ||R11^-1|| > bound, without the division.
  SL_INLINE M head_is_large(S inverse2) const {
    const M good = inverse2 > S{};
    return good & (square_root(good ? inverse2 : S{}) * (norm_ * (T(2) * rtol_) + error_) < constant<S>(T(1)));
  }

 private:
  S norm_, total_, r_, error_;
  T rtol_, rtol_tail_;
  M some_, whole_;
};

// A bound of sigma_{r+1}^2 that forgives a small last pivot, whose own rounding error the rows X of R22 repeat. With z the last column of
// L21 L11^-1, every y gives a vector u = (-y L21 L11^-1, y) with u A = y X and |u|^2 >= |y|^2 + (y z)^2, so that for every g
//   sigma_{r+1}^2 <= |g|^2 + ||X - z g||_F^2 = ||X||_F^2 - |z X|^2 / (1 + |z|^2)   at the best g.
// The same number bounds sigma_{r+1}^2 + sigma_{r+2}^2 + .., which `low` asks for: with P onto all these u, their sum is at most
// ||P A||_F^2 = tr X^T (I + Z Z^T)^-1 X, Z = L21 L11^-1, and Z Z^T >= z z^T.
// Of lane l: packs [rows][stride] after its first r rows were taken, r >= 1; inverse [rows]: 1 / pivots; sum: working memory, [length].
template <class T>
__attribute__((noinline)) T tail_beside_weak(const Pack<T>* packs, const Pack<T>* inverses, int l, int rows, int length, int stride, int r,
                                             T* sum) {
  constexpr int L = kLanes<T>;
  const T* a = reinterpret_cast<const T*>(packs) + l;
  const T inverse = reinterpret_cast<const T*>(inverses + (r - 1))[l];
  T z2 = 0, tail = 0, along = 0;
  for (int c = r; c < length; ++c) sum[c] = T(0);
  for (int j = r; j < rows; ++j) {
    const T* x = a + static_cast<int64_t>(j) * stride * L;
    const T z = x[(r - 1) * L] * inverse;
    z2 += z * z;
    for (int c = r; c < length; ++c) {
      tail += x[c * L] * x[c * L];
      sum[c] += z * x[c * L];
    }
  }
  for (int c = r; c < length; ++c) along += sum[c] * sum[c];
  const T rounding = machine_eps<T>() * static_cast<T>(4 * rows * length), bound = tail * (T(1) + rounding) - along / (T(1) + z2);
  return bound < T(0) ? T(0) : bound;  // nan stays nan, and proves nothing
}

}  // namespace SL_ISA
}  // namespace sl
