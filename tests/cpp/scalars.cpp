// Plain scalars: GF(p) against 128-bit integers, Montgomery's reduction, balls against quadruple precision, complex numbers.
#include "check.h"
#include "scalar/ball.h"
#include "scalar/complex.h"
#include "scalar/modp.h"

namespace {

using Wide = unsigned __int128;
using Quad = __float128;  // 113 bits: a product of two doubles is exact

template <uint32_t P> void ring() {
  using F = sl::ModP<P>;
  Random random{P};
  for (int k = 0; k < 20000; ++k) {
    auto draw = [&] {
      const uint32_t edge[] = {0, 1, 2, P - 1, P - 2, P / 2};
      return k % 3 ? static_cast<uint32_t>(random.bits() % P) : edge[random.below(6)];
    };
    const uint32_t a = draw(), b = draw();
    CHECK((F(a) + F(b)).v == (uint64_t{a} + b) % P);
    CHECK((F(a) - F(b)).v == (uint64_t{a} + P - b) % P);
    CHECK((F(a) * F(b)).v == uint64_t{a} * b % P);
  }
  CHECK(F::fold(~uint64_t{0} >> 2) == (~uint64_t{0} >> 2) % P);  // the largest sum of products that is folded
}

void montgomery() {
  Random random{3};
  for (uint32_t p : {3u, 5u, 65537u, 1000003u, 2147483629u, 2147483647u}) {
    const sl::SL_ISA::Modulus modulus(p);
    CHECK(static_cast<uint32_t>(modulus.p * modulus.inverse) == 1);
    for (int k = 0; k < 5000; ++k) {
      const uint64_t most = (uint64_t{p} << 32) - 1, t = k == 0 ? 0 : k == 1 ? most : random.bits() % (most + 1);
      const uint32_t r = modulus.reduce(t);
      CHECK(r < p && static_cast<uint64_t>((Wide(r) << 32) % p) == t % p);
    }
  }
}

bool holds(sl::Ball ball, Quad value) {
  const Quad gap = value - Quad(ball.mid);
  return (gap < 0 ? -gap : gap) <= Quad(ball.rad);
}

void balls() {
  Random random{5};
  for (int k = 0; k < 5000; ++k) {
    const double scale = k % 4 ? 1.0 : 1e-160;  // products that underflow
    const double a = random.symmetric() * scale, b = random.symmetric() * scale;
    CHECK(holds(sl::Ball(a) + sl::Ball(b), Quad(a) + Quad(b)));
    CHECK(holds(sl::Ball(a) - sl::Ball(b), Quad(a) - Quad(b)));
    CHECK(holds(sl::Ball(a) * sl::Ball(b), Quad(a) * Quad(b)));
    // Any point of a ball is a possible value: the ends are.
    const sl::Ball x(a, 1e-3), y(b, 1e-4);
    for (double s : {-1.0, 1.0})
      for (double t : {-1.0, 1.0}) {
        const Quad u = Quad(a) + Quad(s) * Quad(1e-3), v = Quad(b) + Quad(t) * Quad(1e-4);
        CHECK(holds(x * y, u * v) && holds(x + y, u + v) && holds(x - y, u - v));
      }
  }
  sl::Ball sum;
  Quad truth = 0;
  for (int k = 0; k < 200; ++k) {  // cancels to nothing now and then
    const double a = random.symmetric(), b = k % 2 ? random.symmetric() : -1.0;
    sum += sl::Ball(a) * sl::Ball(b);
    truth += Quad(a) * Quad(b);
    CHECK(holds(sum, truth) && sum.rad < 1e-12 && sum.most() >= (sum.mid < 0 ? -sum.mid : sum.mid) + sum.rad);
  }
}

void complex_numbers() {
  using C = sl::Complex<double>;
  const C a(3, -2), b(-1, 5), product = a * b, sum = a + b, gap = a - b;
  CHECK(product.re == 7 && product.im == 17 && sum.re == 2 && sum.im == 3 && gap.re == 4 && gap.im == -7);
}

}  // namespace

void test_scalars() {
  ring<2147483647u>();
  ring<2147483629u>();
  ring<2147483587u>();
  montgomery();
  balls();
  complex_numbers();
}
