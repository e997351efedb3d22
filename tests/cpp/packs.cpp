// Packs: every lane does what one scalar would, whatever its neighbours hold.
#include <cmath>
#include <limits>

#include "check.h"
#include "scalar/complex_pack.h"
#include "scalar/modp_lanes.h"
#include "scalar/modp_pack.h"
#include "scalar/pack.h"

using namespace sl::SL_ISA;

namespace {

template <class T> void reals() {
  using S = Pack<T>;
  using M = PackMask<T>;
  constexpr int L = kLanes<T>;
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const T values[] = {0, T(-0.0), 1, -1, inf, -inf, nan, std::numeric_limits<T>::min(), -std::numeric_limits<T>::denorm_min()};
  Random random{1};
  for (int k = 0; k < 500; ++k) {
    S a{}, b{};
    M mask{};
    for (int l = 0; l < L; ++l) {
      a[l] = values[random.below(9)];
      b[l] = T(random.symmetric());
      mask[l] = random.below(2) ? -1 : 0;
    }
    const S chosen = select<S>(mask, a, b), positive = rectified(a);
    bool some = false;
    for (int l = 0; l < L; ++l) {
      const T want = mask[l] ? a[l] : b[l];
      CHECK(__builtin_memcmp(&want, reinterpret_cast<const T*>(&chosen) + l, sizeof want) == 0);
      CHECK(std::isnan(a[l]) ? std::isnan(positive[l]) : positive[l] == (a[l] > 0 ? a[l] : T(0)));
      some |= mask[l] != 0;
    }
    CHECK(any<M>(mask) == some);
    const S root = square_root(b * b);
    for (int l = 0; l < L; ++l) CHECK(root[l] == std::sqrt(b[l] * b[l]));
  }
  for (int l = 0; l < L; ++l) {  // one lane alone is seen
    M mask{};
    mask[l] = -1;
    CHECK(any<M>(mask));
  }
  CHECK(!any<M>(M{}));
  const S same = constant<S>(T(2.5));
  for (int l = 0; l < L; ++l) CHECK(same[l] == T(2.5));
}

void integers() {
  Random random{2};
  for (int k = 0; k < 2000; ++k) {
    ModPack a{}, b{};
    int64_t wide[kModLanes];
    for (int l = 0; l < kModLanes; ++l) {
      a[l] = static_cast<uint32_t>(random.bits());
      b[l] = k % 5 ? static_cast<uint32_t>(random.bits()) : ~0u;
      wide[l] = static_cast<int64_t>(random.bits() >> 1);
    }
    const ModWide even = product(a, b), odds = product(odd(a), odd(b));
    const ModPack high = high_halves(even, odds), low = narrow(wide), zero = is_zero(a & b), least = smaller(a, b);
    for (int l = 0; l < kModLanes; ++l) {
      const uint64_t truth = uint64_t{a[l]} * b[l];
      CHECK((l % 2 ? odds : even)[l / 2] == truth && high[l] == truth >> 32);
      CHECK(low[l] == static_cast<uint32_t>(wide[l]) && (zero[l] == ~0u) == ((a[l] & b[l]) == 0) &&
            least[l] == (a[l] < b[l] ? a[l] : b[l]));
    }
    CHECK(any_bit(a) && !any_bit(ModPack{}));
  }
  ModPack r[kModLanes];
  for (int i = 0; i < kModLanes; ++i)
    for (int l = 0; l < kModLanes; ++l) r[i][l] = static_cast<uint32_t>(100 * i + l);
  transpose(r);
  for (int i = 0; i < kModLanes; ++i)
    for (int l = 0; l < kModLanes; ++l) CHECK(r[i][l] == static_cast<uint32_t>(100 * l + i));
}

template <uint32_t P> void ring() {
  using F = sl::ModP<P>;
  using S = ModPLanes<P>;
  Random random{P};
  for (int k = 0; k < 2000; ++k) {
    S a, b;
    for (int l = 0; l < kModLanes; ++l) {
      const uint32_t edge[] = {0, 1, P - 1, P - 2, P / 2};
      a.v[l] = k % 3 ? static_cast<uint32_t>(random.bits() % P) : edge[random.below(5)];
      b.v[l] = k % 3 ? static_cast<uint32_t>(random.bits() % P) : edge[random.below(5)];
    }
    const S sum = a + b, gap = a - b, product = a * b;
    for (int l = 0; l < kModLanes; ++l) {
      const F x(a.v[l]), y(b.v[l]);
      CHECK(sum.v[l] == (x + y).v && gap.v[l] == (x - y).v && product.v[l] == (x * y).v);
    }
  }
}

void complex_packs() {
  using C = ComplexPack;
  constexpr int L = kLanes<double>;
  Random random{4};
  for (int k = 0; k < 500; ++k) {
    C a, b, c;
    for (C* each : {&a, &b, &c})
      for (int l = 0; l < L; ++l) put(each, l, {double(random.below(2000) - 1000), double(random.below(2000) - 1000)});  // exact
    C more = c, less = c;
    add_product(more, a, b);
    subtract_product(less, a, b);
    const C product = a * b;
    for (int l = 0; l < L; ++l) {
      const double re = a.re[l] * b.re[l] - a.im[l] * b.im[l], im = a.re[l] * b.im[l] + a.im[l] * b.re[l];
      CHECK(product.re[l] == re && product.im[l] == im);
      CHECK(more.re[l] == c.re[l] + re && more.im[l] == c.im[l] + im && less.re[l] == c.re[l] - re && less.im[l] == c.im[l] - im);
      if (a.re[l] == 0 && a.im[l] == 0) continue;
      const C one = a * reciprocal(a);
      CHECK(std::fabs(one.re[l] - 1) < 1e-15 * 8 && std::fabs(one.im[l]) < 1e-15 * 8);
    }
  }
}

}  // namespace

void test_packs() {
  reals<float>();
  reals<double>();
  integers();
  ring<2147483647u>();
  ring<2147483629u>();
  complex_packs();
}
