#include "core/random.h"

#include <cmath>
#include <cstring>

namespace sl {

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
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
  out[0] = c0; out[1] = c1; out[2] = c2; out[3] = c3;
}

// log(u) for 0 < u < 1: u = 2^e m with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh(s), s = (m - 1) / (m + 1).
static double portable_log(double u) {
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
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 1.0 / 25;
  for (int k = 23; k >= 3; k -= 2) p = p * z + 1.0 / k;
  // ln 2 in two parts: e * high is exact.
  return e * 0.693147180369123816490 + (e * 1.90821492927058770002e-10 + (2.0 * s + 2.0 * s * z * p));
}

// sine and cosine of 2 pi u for 0 <= u < 1: u = q / 4 + r with |r| <= 1/8 (exact), then Taylor polynomials in 2 pi r.
static void portable_sincos(double u, double* sine, double* cosine) {
  const int q = static_cast<int>(u * 4.0 + 0.5);
  const double t = 6.283185307179586477 * (u - q * 0.25), z = t * t;
  double s = 0.0, c = 0.0;
  static const double inverse_odd[] = {1.0 / 355687428096000.0, 1.0 / 1307674368000.0, 1.0 / 6227020800.0, 1.0 / 39916800.0,
                                       1.0 / 362880.0, 1.0 / 5040.0, 1.0 / 120.0, 1.0 / 6.0};
  static const double inverse_even[] = {1.0 / 20922789888000.0, 1.0 / 87178291200.0, 1.0 / 479001600.0, 1.0 / 3628800.0,
                                        1.0 / 40320.0, 1.0 / 720.0, 1.0 / 24.0, 0.5};
  for (double f : inverse_odd) s = f - s * z;   // 1/3! - z/5! + ...
  for (double f : inverse_even) c = f - c * z;  // 1/2! - z/4! + ...
  const double sr = t - t * z * s, cr = 1.0 - z * c;
  switch (q & 3) {
    case 0: *sine = sr; *cosine = cr; break;
    case 1: *sine = cr; *cosine = -sr; break;
    case 2: *sine = -sr; *cosine = -cr; break;
    default: *sine = -cr; *cosine = sr; break;
  }
}

static void normal_pair(const Philox& g, uint32_t index, double out[2]) {
  const uint32_t counter[4] = {index, g.stream, g.trial, g.task};
  uint32_t w[4];
  philox4x32(counter, g.key, w);
  const double scale = 1.0 / 4503599627370496.0;  // 2^-52
  const double u1 = (static_cast<double>(((uint64_t{w[0]} << 32) | w[1]) >> 12) + 0.5) * scale;
  const double u2 = (static_cast<double>(((uint64_t{w[2]} << 32) | w[3]) >> 12) + 0.5) * scale;
  const double radius = std::sqrt(-2.0 * portable_log(u1));
  double s, c;
  portable_sincos(u2, &s, &c);
  out[0] = radius * c;
  out[1] = radius * s;
}

double normal(const Philox& g, uint64_t k) {
  double pair[2];
  normal_pair(g, static_cast<uint32_t>(k / 2), pair);
  return pair[k & 1];
}

void normals(const Philox& g, uint64_t first, uint64_t count, double* out) {
  const uint64_t end = first + count;
  for (uint64_t k = first; k < end;) {
    double pair[2];
    normal_pair(g, static_cast<uint32_t>(k / 2), pair);
    if (k & 1) {
      out[k - first] = pair[1];
      k += 1;
    } else {
      out[k - first] = pair[0];
      if (k + 1 < end) out[k + 1 - first] = pair[1];
      k += 2;
    }
  }
}

uint32_t Words::next() {
  const uint32_t lane = static_cast<uint32_t>(used_ & 3);
  if (lane == 0) {
    const uint32_t counter[4] = {static_cast<uint32_t>(used_ / 4), source_.stream, source_.trial, source_.task};
    philox4x32(counter, source_.key, block_);
  }
  ++used_;
  return block_[lane];
}

uint32_t Words::below(uint32_t n) {
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

}  // namespace sl
