// modp_pack.h: vectors of numbers mod p for the CPU. A ModPack holds kModLanes unsigned 32-bit numbers side by side. Products need 64 bits,
// so the even and the odd lanes are multiplied apart: product(a, b) multiplies lanes 0, 2, 4, .. (the odd lanes of a and b are ignored),
// product(odd(a), odd(b)) lanes 1, 3, 5, ..; the results are ModWides, half as many 64-bit numbers.
//
// Montgomery's reduction, R = 2^32, v = p^-1 mod R: with m = t v mod R, t - m p is divisible by R, and
// (t - m p) / R = high(t) - high(m p), because the low halves of t and m p agree. It is t / R mod p and lies in (-p, high(t)]. p is odd.
#pragma once
#include <cstdint>

#if defined(__SSE4_1__)
#include <immintrin.h>
#endif

#include "scalar/modp.h"
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

typedef uint32_t ModPack __attribute__((vector_size(kPackBytes), aligned(kPackBytes)));
typedef uint64_t ModWide __attribute__((vector_size(kPackBytes), aligned(kPackBytes)));
constexpr int kModLanes = kPackBytes / 4;

SL_INLINE ModPack load_pack(const uint32_t* p) {
  ModPack x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
SL_INLINE void store_pack(uint32_t* p, ModPack x) { __builtin_memcpy(p, &x, sizeof x); }
SL_INLINE ModPack every_lane(uint32_t x) { return ModPack{} + x; }
SL_INLINE ModPack odd(ModPack x) { return reinterpret_cast<ModPack>(reinterpret_cast<ModWide>(x) >> 32); }
SL_INLINE ModPack smaller(ModPack a, ModPack b) { return a < b ? a : b; }
SL_INLINE ModPack is_zero(ModPack x) { return reinterpret_cast<ModPack>(x == 0); }  // all bits of a lane, or none

SL_INLINE ModWide product(ModPack a, ModPack b) {
#if defined(__AVX512F__)
  return reinterpret_cast<ModWide>(_mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<ModWide>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE4_1__)
  return reinterpret_cast<ModWide>(_mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return (reinterpret_cast<ModWide>(a) & 0xffffffffu) * (reinterpret_cast<ModWide>(b) & 0xffffffffu);
#endif
}
SL_INLINE ModWide product(ModWide a, ModPack b) { return product(reinterpret_cast<ModPack>(a), b); }  // of the low halves of a

// The high halves of the products of the even and of the odd lanes, in order again.
SL_INLINE ModPack high_halves(ModWide even, ModWide odd) {
#if defined(__AVX512F__)
  return reinterpret_cast<ModPack>(
      _mm512_mask_shuffle_epi32(reinterpret_cast<__m512i>(odd), 0x5555, reinterpret_cast<__m512i>(even), _MM_PERM_DDBB));
#elif defined(__AVX2__)
  return reinterpret_cast<ModPack>(_mm256_blend_epi32(reinterpret_cast<__m256i>(even >> 32), reinterpret_cast<__m256i>(odd), 0xaa));
#elif defined(__SSE4_1__)
  return reinterpret_cast<ModPack>(_mm_blend_epi16(reinterpret_cast<__m128i>(even >> 32), reinterpret_cast<__m128i>(odd), 0xcc));
#else
  return reinterpret_cast<ModPack>((even >> 32) | (odd & ~uint64_t{0xffffffffu}));
#endif
}

SL_INLINE bool any_bit(ModPack x) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(x)) != 0;
#elif defined(__AVX2__)
  return !_mm256_testz_si256(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(x));
#else
  const ModWide y = reinterpret_cast<ModWide>(x);
  return (y[0] | y[1]) != 0;
#endif
}

// The low halves of kModLanes 64-bit numbers.
SL_INLINE ModPack narrow(const int64_t* p) {
  ModPack a, b, index{};
  __builtin_memcpy(&a, p, sizeof a);
  __builtin_memcpy(&b, p + kModLanes / 2, sizeof b);
  for (int l = 0; l < kModLanes; ++l) index[l] = 2 * l;
  return __builtin_shuffle(a, b, index);
}

// r[i] lane j <-> r[j] lane i: blocks of h are exchanged between vectors h apart, h = 1, 2, 4, ..
SL_INLINE void transpose(ModPack* r) {
#pragma GCC unroll 8
  for (int h = 1; h < kModLanes; h *= 2) {
    ModPack low{}, high{};
    for (int l = 0; l < kModLanes; ++l) {
      low[l] = (l & h) ? l - h + kModLanes : l;
      high[l] = (l & h) ? l + kModLanes : l + h;
    }
#pragma GCC unroll 16
    for (int l = 0; l < kModLanes; ++l)
      if (!(l & h)) {
        const ModPack a = r[l], b = r[l + h];
        r[l] = __builtin_shuffle(a, b, low);
        r[l + h] = __builtin_shuffle(a, b, high);
      }
  }
}

// x mod p for x < 2p < 2^32: x - p wraps to a huge number when x < p.
SL_INLINE ModPack wrap_down(ModPack x, ModPack p) { return smaller(x, x - p); }
// x mod p for x in (-p, p) kept mod 2^32.
SL_INLINE ModPack wrap_up(ModPack x, ModPack p) { return smaller(x, x + p); }

}  // namespace SL_ISA
}  // namespace sl
