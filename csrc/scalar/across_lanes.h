// across_lanes.h: what mixes lanes. Transposition of packs, and of rows on their way into lanes; sums over the lanes of one pack, of four,
// and of as many as a pack has lanes.
#pragma once
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

// One stage of a transposition in registers: exchange blocks of h numbers between rows h apart, then blocks of 2h, ..
template <class T, int h>
SL_INLINE void exchange_blocks(Pack<T>* row) {
  constexpr int L = kLanes<T>;
  if constexpr (h < L) {
    PackMask<T> low{}, high{};
#pragma GCC unroll 16
    for (int l = 0; l < L; ++l) {
      low[l] = (l & h) ? l - h + L : l;
      high[l] = (l & h) ? l + L : l + h;
    }
#pragma GCC unroll 16
    for (int l = 0; l < L; ++l)
      if (!(l & h)) {
        const Pack<T> a = row[l], b = row[l + h];
        row[l] = __builtin_shuffle(a, b, low);
        row[l + h] = __builtin_shuffle(a, b, high);
      }
    exchange_blocks<T, 2 * h>(row);
  }
}

// As many packs as lanes, transposed in place.
template <class T>
SL_INLINE void transpose(Pack<T>* row) {
  exchange_blocks<T, 1>(row);
}

// As many rows of as many numbers, from memory, transposed in registers. Eight doubles: halves of rows are brought together by loads, which
// saves a third of the shuffles.
template <class T>
SL_INLINE void transpose_block(const T* const* from, int64_t at, Pack<T>* out) {
  constexpr int L = kLanes<T>;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 8) {
    typedef double Half __attribute__((vector_size(32)));
#pragma GCC unroll 2
    for (int half = 0; half < 8; half += 4) {
      Pack<T> x[4];
#pragma GCC unroll 4
      for (int l = 0; l < 4; ++l) {
        Half a, b;
        __builtin_memcpy(&a, from[l] + at + half, sizeof a);
        __builtin_memcpy(&b, from[l + 4] + at + half, sizeof b);
        x[l] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
      }
      const auto a = __builtin_shufflevector(x[0], x[1], 0, 8, 2, 10, 4, 12, 6, 14);
      const auto b = __builtin_shufflevector(x[0], x[1], 1, 9, 3, 11, 5, 13, 7, 15);
      const auto c = __builtin_shufflevector(x[2], x[3], 0, 8, 2, 10, 4, 12, 6, 14);
      const auto d = __builtin_shufflevector(x[2], x[3], 1, 9, 3, 11, 5, 13, 7, 15);
      out[half] = __builtin_shufflevector(a, c, 0, 1, 8, 9, 4, 5, 12, 13);
      out[half + 1] = __builtin_shufflevector(b, d, 0, 1, 8, 9, 4, 5, 12, 13);
      out[half + 2] = __builtin_shufflevector(a, c, 2, 3, 10, 11, 6, 7, 14, 15);
      out[half + 3] = __builtin_shufflevector(b, d, 2, 3, 10, 11, 6, 7, 14, 15);
    }
    return;
  }
#endif
  for (int l = 0; l < L; ++l) __builtin_memcpy(&out[l], from[l] + at, sizeof(out[l]));
  transpose<T>(out);
}

// Rows of L matrices, transposed into lanes: out[c] lane l = from[l][c], c < count.
template <class T>
SL_INLINE void transpose_row(const T* const* from, int count, Pack<T>* out) {
  constexpr int L = kLanes<T>;
  using S = Pack<T>;
  int c = 0;
  for (; c + L <= count; c += L) {
    S row[L];
    for (int l = 0; l < L; ++l) __builtin_memcpy(&row[l], from[l] + c, sizeof(S));
    transpose<T>(row);
#pragma GCC unroll 16
    for (int l = 0; l < L; ++l) out[c + l] = row[l];
  }
  for (; c < count; ++c)
    for (int l = 0; l < L; ++l) reinterpret_cast<T*>(out + c)[l] = from[l][c];
}

// The sum of the lanes, by halves.
template <class S> SL_INLINE typename Traits<S>::Scalar total_of(S x) {
  using T = typename Traits<S>::Scalar;
#if defined(__AVX512F__)
  typedef T Half __attribute__((vector_size(32)));
  typedef T Quarter __attribute__((vector_size(16)));
  Half h[2];
  __builtin_memcpy(h, &x, sizeof x);
  const Half s = h[0] + h[1];
  Quarter q[2];
  __builtin_memcpy(q, &s, sizeof s);
  const Quarter t = q[0] + q[1];
  if constexpr (sizeof(T) == 8) return t[0] + t[1];
  else return (t[0] + t[2]) + (t[1] + t[3]);
#else
  T part[Traits<S>::lanes];
  __builtin_memcpy(part, &x, sizeof x);
  for (int half = Traits<S>::lanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) part[l] += part[l + half];
  return part[0];
#endif
}

// The sums of four packs of doubles at once: pairs are added while they are brought together, a third of the shuffles.
template <class S> SL_INLINE void totals_of(S a, S b, S c, S d, typename Traits<S>::Scalar* out) {
#if defined(__AVX2__)
  if constexpr (sizeof(typename Traits<S>::Scalar) == 8) {
#if defined(__AVX512F__)
    auto fold = [](S x) {
      __m256d half[2];
      __builtin_memcpy(half, &x, sizeof x);
      return half[0] + half[1];
    };
    const __m256d w = fold(a), x = fold(b), y = fold(c), z = fold(d);
#else
    const __m256d w = __builtin_bit_cast(__m256d, a), x = __builtin_bit_cast(__m256d, b);
    const __m256d y = __builtin_bit_cast(__m256d, c), z = __builtin_bit_cast(__m256d, d);
#endif
    const __m256d s = _mm256_hadd_pd(w, x), t = _mm256_hadd_pd(y, z);
    _mm256_storeu_pd(out, _mm256_add_pd(_mm256_permute2f128_pd(s, t, 0x21), _mm256_blend_pd(s, t, 0xC)));
    return;
  }
#endif
  out[0] = total_of<S>(a);
  out[1] = total_of<S>(b);
  out[2] = total_of<S>(c);
  out[3] = total_of<S>(d);
}

// Adds halves of a and of b while bringing both together in one pack: three patterns, in which B lanes are 128 bits.
template <class S, int kStep>
SL_INLINE S fold_pair(S a, S b) {
  using M = typename Traits<S>::Mask;
  constexpr int L = Traits<S>::lanes, B = 16 / static_cast<int>(sizeof(a[0]));
  M first, second;
  for (int l = 0; l < L; ++l) {
    const int q = l / B, p = l % B;
    if (kStep == 0) {  // a_0 b_0 a_1 b_1 | a_2 b_2 a_3 b_3 (floats), a_0 b_0 | a_1 b_1 (doubles)
      first[l] = q * B + p / 2 + (p % 2) * L;
      second[l] = first[l] + B / 2;
    } else if (kStep == 1) {  // floats only: a_0 a_1 b_0 b_1 | a_2 a_3 b_2 b_3
      first[l] = q * B + p % 2 + (p / 2) * L;
      second[l] = first[l] + 2;
    } else {  // even blocks of both | odd blocks of both
      first[l] = 2 * q * B + p;
      second[l] = first[l] + B;
    }
  }
  return __builtin_shuffle(a, b, first) + __builtin_shuffle(a, b, second);
}

// The sums of L packs, L the number of lanes: sum k in lane k. L - 1 additions and 2 (L - 1) shuffles, a quarter of L sums one by one.
// Two steps stay inside blocks of 128 bits (one for doubles), the others move whole blocks: constant patterns, single instructions.
template <class S>
SL_INLINE S lane_sums(const S* a) {
  constexpr int L = Traits<S>::lanes;
  constexpr bool wide = sizeof(typename Traits<S>::Scalar) == 8;
  S t[L / 2];
#pragma GCC unroll 8
  for (int k = 0; k < L / 2; ++k) t[k] = fold_pair<S, 0>(a[2 * k], a[2 * k + 1]);
  if constexpr (!wide) {
#pragma GCC unroll 4
    for (int k = 0; k < L / 4; ++k) t[k] = fold_pair<S, 1>(t[2 * k], t[2 * k + 1]);
  }
  constexpr int left = wide ? L / 2 : L / 4;
  if constexpr (left >= 2) {
#pragma GCC unroll 2
    for (int k = 0; k < left / 2; ++k) t[k] = fold_pair<S, 2>(t[2 * k], t[2 * k + 1]);
  }
  if constexpr (left >= 4) t[0] = fold_pair<S, 2>(t[0], t[1]);
  return t[0];
}

}  // namespace SL_ISA
}  // namespace sl
