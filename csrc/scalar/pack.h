// pack.h: SIMD lanes for the CPU (never included from a .cu file).
//
// A pack holds one value of several students side by side: lane l belongs to student l of the pack, and no operation here
// mixes lanes, so a student's result cannot depend on its neighbours. Packs are GCC/Clang vector types: + - * / and
// comparisons work lane by lane. The instruction set is fixed per compilation (SL_ISA, cmake/isa.cmake).
#pragma once
#include <type_traits>

#include "scalar/lanes.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace sl {
namespace SL_ISA {

#if defined(__AVX512F__)
constexpr int kPackBytes = 64;
#elif defined(__AVX2__)
constexpr int kPackBytes = 32;
#else
constexpr int kPackBytes = 16;
#endif

template <class T> struct PackOf;
template <> struct PackOf<float> {
  typedef float type __attribute__((vector_size(kPackBytes), aligned(kPackBytes)));
  typedef int32_t mask __attribute__((vector_size(kPackBytes), aligned(kPackBytes)));
};
template <> struct PackOf<double> {
  typedef double type __attribute__((vector_size(kPackBytes), aligned(kPackBytes)));
  typedef int64_t mask __attribute__((vector_size(kPackBytes), aligned(kPackBytes)));
};
template <class T> using Pack = typename PackOf<T>::type;
template <class T> using PackMask = typename PackOf<T>::mask;
template <class T> constexpr int kLanes = kPackBytes / static_cast<int>(sizeof(T));

template <> struct Traits<Pack<float>> {
  using Scalar = float;
  using Mask = PackMask<float>;
  static constexpr int lanes = kLanes<float>;
};
template <> struct Traits<Pack<double>> {
  using Scalar = double;
  using Mask = PackMask<double>;
  static constexpr int lanes = kLanes<double>;
};

// mask ? a : b for a mask that is kept in memory (all bits of a lane 0 or 1). Bitwise: GCC 12 cannot compile the ternary form for SSE2.
template <class S, class M> SL_INLINE S select(M mask, S a, S b) {
  return __builtin_bit_cast(S, (mask & __builtin_bit_cast(M, a)) | (~mask & __builtin_bit_cast(M, b)));
}

// Keeps x in a register as it is here: GCC 12 loads a number from memory for every use, and regroups long sums of products into trees
// that need more registers than there are.
template <class V> SL_INLINE void hold(V& x) {
#if defined(__AVX512F__)
  asm("" : "+v"(x));
#elif defined(__SSE4_1__)
  asm("" : "+x"(x));
#else
  (void)x;
#endif
}

template <class M> SL_INLINE bool any(M m) {
  if constexpr (sizeof(M) == 1) {
    return m;
  } else {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask(__builtin_bit_cast(__m512i, m), __builtin_bit_cast(__m512i, m)) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256(__builtin_bit_cast(__m256i, m), __builtin_bit_cast(__m256i, m));
#else
    int64_t r = 0;
    for (int l = 0; l < static_cast<int>(sizeof(M) / sizeof(m[0])); ++l) r |= m[l];
    return r != 0;
#endif
  }
}

// max(z, 0), NaN stays NaN: the maximum takes its second operand then. GCC 12 does not find the instruction for 64-byte packs.
template <class S> SL_INLINE S rectified(S z) {
#if defined(__AVX512F__)
  if constexpr (std::is_same<S, Pack<float>>::value) return (S)_mm512_maskz_max_ps(0xffff, __m512{}, (__m512)z);
  else if constexpr (std::is_same<S, Pack<double>>::value) return (S)_mm512_maskz_max_pd(0xff, __m512d{}, (__m512d)z);
  else
#endif
    return z > S{} ? z : (z == z ? S{} : z);
}

}  // namespace SL_ISA
}  // namespace sl
