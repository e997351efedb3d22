// draws.h: the bodies of random.h and the words of a stream, to be compiled for a CPU (core/random.cpp) and inside CUDA kernels:
// the same bits in both.
//
// Normals use only +, -, *, /, sqrt, all correctly rounded by IEEE 754, so that they are the same bits everywhere, as long as no
// compiler fuses a product and a sum: the type Rounded sees to that on a GPU; on a CPU, core/random.cpp is compiled without fusing.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/hostdev.h"
#include "core/random.h"

namespace sl {
namespace draws {

// A double whose sums and products are each rounded: never one fused multiply-add.
struct Rounded {
  double v;
  SL_INLINE Rounded(double x) : v(x) {}
#if defined(__CUDA_ARCH__)
  friend SL_INLINE Rounded operator+(Rounded a, Rounded b) { return __dadd_rn(a.v, b.v); }
  friend SL_INLINE Rounded operator-(Rounded a, Rounded b) { return __dsub_rn(a.v, b.v); }
  friend SL_INLINE Rounded operator*(Rounded a, Rounded b) { return __dmul_rn(a.v, b.v); }
  friend SL_INLINE Rounded operator/(Rounded a, Rounded b) { return __ddiv_rn(a.v, b.v); }
#else
  friend SL_INLINE Rounded operator+(Rounded a, Rounded b) { return a.v + b.v; }
  friend SL_INLINE Rounded operator-(Rounded a, Rounded b) { return a.v - b.v; }
  friend SL_INLINE Rounded operator*(Rounded a, Rounded b) { return a.v * b.v; }
  friend SL_INLINE Rounded operator/(Rounded a, Rounded b) { return a.v / b.v; }
#endif
};

SL_INLINE void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

// log(u) for 0 < u < 1: u = 2^e m with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh(s), s = (m - 1) / (m + 1).
SL_INLINE double log_below_one(double u) {
  uint64_t bits;
  std::memcpy(&bits, &u, 8);
  int e = static_cast<int>(bits >> 52) - 1023;
  bits = (bits & 0x000FFFFFFFFFFFFFull) | 0x3FF0000000000000ull;
  double m;
  std::memcpy(&m, &bits, 8);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    e += 1;
  }
  const Rounded s = (Rounded(m) - 1.0) / (Rounded(m) + 1.0), z = s * s;
  Rounded p = 1.0 / 25;
  for (int k = 23; k >= 3; k -= 2) p = p * z + 1.0 / k;
  // ln 2 in two parts: e * high is exact.
  const Rounded n = static_cast<double>(e);
  return (n * 0.693147180369123816490 + (n * 1.90821492927058770002e-10 + (Rounded(2.0) * s + Rounded(2.0) * s * z * p))).v;
}

// sine and cosine of 2 pi u for 0 <= u < 1: u = q / 4 + r with |r| <= 1/8 (exact), then Taylor polynomials in 2 pi r.
SL_INLINE void sine_cosine(double u, double* sine, double* cosine) {
  const int q = static_cast<int>(u * 4.0 + 0.5);
  const Rounded t = Rounded(6.283185307179586477) * (Rounded(u) - q * 0.25), z = t * t;
  Rounded s = 0.0, c = 0.0;
  constexpr double inverse_odd[] = {1.0 / 355687428096000.0, 1.0 / 1307674368000.0, 1.0 / 6227020800.0, 1.0 / 39916800.0,
                                    1.0 / 362880.0,          1.0 / 5040.0,          1.0 / 120.0,        1.0 / 6.0};
  constexpr double inverse_even[] = {1.0 / 20922789888000.0, 1.0 / 87178291200.0, 1.0 / 479001600.0, 1.0 / 3628800.0,
                                     1.0 / 40320.0,          1.0 / 720.0,         1.0 / 24.0,        0.5};
  SL_UNROLL(8)
  for (int k = 0; k < 8; ++k) s = Rounded(inverse_odd[k]) - s * z;   // 1/3! - z/5! + ...
  SL_UNROLL(8)
  for (int k = 0; k < 8; ++k) c = Rounded(inverse_even[k]) - c * z;  // 1/2! - z/4! + ...
  const double sr = (t - t * z * s).v, cr = (Rounded(1.0) - z * c).v;
  switch (q & 3) {
    case 0:
      *sine = sr;
      *cosine = cr;
      break;
    case 1:
      *sine = cr;
      *cosine = -sr;
      break;
    case 2:
      *sine = -sr;
      *cosine = -cr;
      break;
    default:
      *sine = -cr;
      *cosine = sr;
      break;
  }
}

// Normals 2 index and 2 index + 1 of the stream.
SL_INLINE void normal_pair(const Philox& g, uint32_t index, double out[2]) {
  const uint32_t counter[4] = {index, g.stream, g.trial, g.task};
  uint32_t w[4];
  philox(counter, g.key, w);
  const double scale = 1.0 / 4503599627370496.0;  // 2^-52; the product with a 52-bit integer plus 1/2 is exact
  const double u1 = (static_cast<double>(((uint64_t{w[0]} << 32) | w[1]) >> 12) + 0.5) * scale;
  const double u2 = (static_cast<double>(((uint64_t{w[2]} << 32) | w[3]) >> 12) + 0.5) * scale;
  const double radius = std::sqrt(-2.0 * log_below_one(u1));
  double s, c;
  sine_cosine(u2, &s, &c);
  out[0] = radius * c;
  out[1] = radius * s;
}

SL_INLINE double normal(const Philox& g, uint64_t k) {
  double pair[2];
  normal_pair(g, static_cast<uint32_t>(k / 2), pair);
  return pair[k & 1];
}

// The words of a stream in order, and unbiased integers made of them.
struct Words {
  Philox source;
  uint32_t block[4];
  uint64_t used;
  SL_INLINE explicit Words(const Philox& g) : source(g), block{}, used(0) {}
  SL_INLINE uint32_t next() {
    const uint32_t lane = static_cast<uint32_t>(used & 3);
    if (lane == 0) {
      const uint32_t counter[4] = {static_cast<uint32_t>(used / 4), source.stream, source.trial, source.task};
      philox(counter, source.key, block);
    }
    ++used;
    return lane == 0 ? block[0] : lane == 1 ? block[1] : lane == 2 ? block[2] : block[3];
  }
  // Uniform in 0 .. n-1 (Lemire's multiply and reject); n = 1 consumes no word.
  SL_INLINE uint32_t below(uint32_t n) {
    if (n <= 1) return 0;
    uint64_t m = uint64_t{next()} * n;
    uint32_t low = static_cast<uint32_t>(m);
    if (low < n) {
      const uint32_t threshold = static_cast<uint32_t>(-n) % n;
      while (low < threshold) {
        m = uint64_t{next()} * n;
        low = static_cast<uint32_t>(m);
      }
    }
    return static_cast<uint32_t>(m >> 32);
  }
};

}  // namespace draws
}  // namespace sl
