// Double-double balls against quadruple precision: sums, products, dot products, tanh and its inverse lie in the bounds claimed.
#include <cmath>

#include "check.h"
#include "scalar/double_double_ball.h"

using namespace sl::SL_ISA;

namespace {

using Quad = __float128;
using Ball = DoubleDoubleBall;

Quad size(Quad a) { return a < 0 ? -a : a; }

// exp by halving and its series: right to some 1e-32 for |z| < 50.
Quad exponential(Quad z) {
  int halvings = 0;
  for (; size(z) > Quad(0.01); z /= 2) ++halvings;
  Quad sum = 1, term = 1;
  for (int k = 1; k < 16; ++k) sum += term = term * z / k;
  for (; halvings > 0; --halvings) sum *= sum;
  return sum;
}
Quad hyperbolic_tangent(Quad z) {
  if (size(z) < Quad(1e-5)) return z - z * z * z / 3;
  const Quad e = exponential(2 * z);
  return (e - 1) / (e + 1);
}

// The middle is known to 1e-32 of itself here, so the radius may be beaten by as much.
bool holds(const Ball& ball, Quad value, Quad scale = 0) {
  return size(value - Quad(ball.hi) - Quad(ball.lo)) <= Quad(ball.rad) + scale * Quad(1e-31);
}

Ball draw(Random& random) {
  const double hi = random.symmetric() * std::ldexp(1.0, random.below(40) - 20);
  return {hi, hi * 0x1p-54 * random.symmetric(), random.below(3) ? 0.0 : std::fabs(hi) * std::ldexp(1.0, -40 - random.below(60))};
}

void arithmetic() {
  Random random{11};
  for (int k = 0; k < 20000; ++k) {
    const Ball a = draw(random), b = draw(random);
    const Ball sum = a + b, gap = a - b, product = a * b;
    for (double s : {-1.0, 0.0, 1.0})
      for (double t : {-1.0, 0.0, 1.0}) {  // any number of a ball is a possible one
        const Quad x = Quad(a.hi) + Quad(a.lo) + Quad(s) * Quad(a.rad), y = Quad(b.hi) + Quad(b.lo) + Quad(t) * Quad(b.rad);
        CHECK(holds(sum, x + y, size(x) + size(y)) && holds(gap, x - y, size(x) + size(y)) && holds(product, x * y, size(x * y)));
        const Quad on = x > 0 ? x : 0;
        CHECK(holds(relu_of(a), on, size(x)));
      }
    if (a.rad == 0 && b.rad == 0) CHECK(product.rad <= std::fabs(product.hi) * 0x1p-101 + 1e-289);
  }
}

void dot_products() {
  Random random{12};
  for (int terms = 1; terms <= 40; ++terms)
    for (int round = 0; round < 30; ++round) {
      DotProduct dot;
      FineDotProduct fine;
      DotProducts<Pack<double>> side_by_side;
      Quad truth = 0, absolute_sum = 0, uncertain = 0;
      for (int k = 0; k < terms; ++k) {
        const Ball a = draw(random), b = draw(random);
        const Quad x = Quad(a.hi) + Quad(a.lo), y = Quad(b.hi) + Quad(b.lo);
        dot.add(a, b);
        fine.add(a, b);
        side_by_side.add(in_all_lanes(a), in_all_lanes(b));
        truth += x * y;
        absolute_sum += size(x * y);
        uncertain += size(x) * Quad(b.rad) + (size(y) + Quad(b.rad)) * Quad(a.rad);
      }
      const Ball value = dot.value(terms);
      CHECK(holds(value, truth, absolute_sum));
      CHECK(Quad(value.rad) >= uncertain * Quad(1 - 1e-12));  // what the terms do not know, the sum does not
      CHECK(size(Quad(fine.value().hi) + Quad(fine.value().lo) - truth) <= absolute_sum * Quad(1e-29));
      for (int l = 0; l < kLanes<double>; ++l) {
        const Ball one = lane_of(side_by_side.value(terms), l);
        CHECK(one.hi == value.hi && one.lo == value.lo && one.rad == value.rad);
      }
    }
}

void activations() {
  Random random{13};
  for (int k = 0; k < 20000; ++k) {
    const double z = random.symmetric() * (k % 3 == 0 ? 25.0 : k % 3 == 1 ? 1.0 : std::ldexp(1.0, -random.below(60)));
    const Ball ball{z, 0, k % 2 ? 0.0 : std::fabs(z) * std::ldexp(1.0, -random.below(50) - 3)};
    const Ball h = tanh_of(ball);
    for (double s : {-1.0, 0.0, 1.0}) CHECK(holds(h, hyperbolic_tangent(Quad(z) + Quad(s) * Quad(ball.rad)), size(Quad(z))));
    if (ball.rad == 0) CHECK(h.rad <= std::fabs(h.hi) * 0x1p-49 + 1e-289);
  }
  // The inverse, up to the edge: z is right if tanh takes its ends beyond those of h.
  for (int k = 0; k < 20000; ++k) {
    const double edge = std::ldexp(1.0, -random.below(52) - 1), h = (k % 2 ? 1 - edge : random.symmetric()) * (k % 4 < 2 ? 1 : -1);
    const double room = 1 - std::fabs(h);
    const Ball ball{h, 0, k % 3 ? room * (k % 3 == 1 ? 0.4 : 0.999) * std::fabs(random.symmetric()) : 0.0};
    const Ball z = atanh_of(ball);
    const Quad low = hyperbolic_tangent(Quad(z.hi) + Quad(z.lo) - Quad(z.rad)),
               high = hyperbolic_tangent(Quad(z.hi) + Quad(z.lo) + Quad(z.rad));
    if (std::fabs(z.hi) + z.rad > 40) continue;  // beyond what quadruple precision tells from 1
    CHECK(low <= Quad(h) - Quad(ball.rad) && high >= Quad(h) + Quad(ball.rad));
  }
  CHECK(!(atanh_of(Ball{1.0}).hi == 0) && !(atanh_number(1.0) < HUGE_VAL));  // no number
}

}  // namespace

void test_fine_balls() {
  arithmetic();
  dot_products();
  activations();
}
