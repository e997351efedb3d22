// lanes.h: what the network mathematics asks of a scalar, for plain scalars (one lane). No vector types and no intrinsics, so
// that CUDA kernels can include it: GCC vector types are a hard error in __host__ __device__ templates. pack.h adds the packs.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/hostdev.h"

#ifndef SL_ISA
#define SL_ISA base
#endif

namespace sl {
namespace SL_ISA {

// The scalar type of one lane, the number of lanes and the mask type, for packs and for plain scalars alike.
template <class S> struct Traits {
  using Scalar = S;
  using Mask = bool;
  static constexpr int lanes = 1;
};

// The scalar kept in an entry of a table: the entry itself on the CPU; CUDA kernels keep the tables of neighbouring threads
// interleaved in memory, in entries of another type (cuda/strip.cuh).
template <class C> struct ValueOf { using type = C; };
template <class C> using Value = typename ValueOf<C>::type;

template <class S> SL_INLINE S constant(typename Traits<S>::Scalar x) {
  S r{};
  return r + x;
}
template <> SL_INLINE float constant<float>(float x) { return x; }
template <> SL_INLINE double constant<double>(double x) { return x; }

// A given real number as a scalar: rounded to float, in every lane, exact mod p.
template <class S> struct Number {
  static SL_INLINE S of(double v) { return constant<S>(static_cast<typename Traits<S>::Scalar>(v)); }
};

template <class S> SL_INLINE S square_root(S x) {
  if constexpr (Traits<S>::lanes == 1) {
    return std::sqrt(x);
  } else {
    S r;
    for (int l = 0; l < Traits<S>::lanes; ++l) r[l] = std::sqrt(x[l]);
    return r;
  }
}

// Hides where a pointer comes from, so that the compiler addresses a whole tile from this one register. Without it GCC 12 keeps one
// hoisted pointer per entry of a small matrix, runs out of registers, and spends more time on addresses than on products.
template <class T> SL_INLINE const T* opaque(const T* p) {
#if !defined(__CUDACC__)
  asm("" : "+r"(p));
#endif
  return p;
}

}  // namespace SL_ISA
}  // namespace sl
