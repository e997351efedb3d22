// modp_lanes.h: students over GF(p) in SIMD lanes, as a scalar for the network mathematics.
//
// ModPLanes<P> holds the number of one student per 32-bit lane, each in [0, P), P = 2^31 - C as in modp.h. A product is taken for the even
// and for the odd lanes apart (64 bits each, modp_pack.h) and reduced by folding, x = hi 2^31 + lo = lo + C hi (mod P), so that every
// lane holds the bits that ModP<P> would. (Montgomery's form would save a fold, and cost a conversion at either end.)
// Linear networks, and tanh with given activities: tanh_of, relu_of and gate_by are there to compile, and are never called.
#pragma once
#include "scalar/modp.h"
#include "scalar/modp_pack.h"

namespace sl {
namespace SL_ISA {

template <uint32_t P> struct ModPLanes { ModPack v{}; };
template <uint32_t P> struct Traits<ModPLanes<P>> {
  using Scalar = ModP<P>;
  using Mask = ModPack;
  static constexpr int lanes = kModLanes;
};

template <uint32_t P> struct Number<ModPLanes<P>> {
  static SL_INLINE ModPLanes<P> of(double v) { return {every_lane(residue_of<P>(v).v)}; }
};

// x < 2^62 in every lane: less than 2^31 + 2^36, then than 2^31 + 400 C, then at most P.
template <uint32_t P> SL_INLINE ModWide folded(ModWide x) {
  constexpr uint32_t C = (uint32_t{1} << 31) - P, low = (uint32_t{1} << 31) - 1;
  auto fold = [](ModWide t) { return (t & low) + (C == 1 ? t >> 31 : product(t >> 31, every_lane(C))); };
  x = fold(fold(x));
  if constexpr (C > 1) x = fold(x);
  return x;
}

template <uint32_t P> SL_INLINE ModPLanes<P> operator+(ModPLanes<P> a, ModPLanes<P> b) { return {wrap_down(a.v + b.v, every_lane(P))}; }
template <uint32_t P> SL_INLINE ModPLanes<P> operator-(ModPLanes<P> a, ModPLanes<P> b) { return {wrap_up(a.v - b.v, every_lane(P))}; }
template <uint32_t P> SL_INLINE ModPLanes<P> operator*(ModPLanes<P> a, ModPLanes<P> b) {
  const ModWide even = folded<P>(product(a.v, b.v)), odds = folded<P>(product(odd(a.v), odd(b.v)));
  return {wrap_down(reinterpret_cast<ModPack>(even | (odds << 32)), every_lane(P))};
}
template <uint32_t P> SL_INLINE ModPLanes<P>& operator+=(ModPLanes<P>& a, ModPLanes<P> b) { return a = a + b; }

// What the networks ask of a scalar with lanes (network/slots.h).
template <uint32_t P> SL_INLINE ModPLanes<P> gather(const ModPLanes<P>* base, const int* index, bool same) {
  if (same) return base[index[0]];
  ModPack r{};
  for (int l = 0; l < kModLanes; ++l) r[l] = base[index[l]].v[l];
  return {r};
}
template <uint32_t P> SL_INLINE void scatter(ModPLanes<P>* base, const int* index, ModPLanes<P> value, bool same) {
  if (same) {
    base[index[0]] = value;
    return;
  }
  for (int l = 0; l < kModLanes; ++l) base[index[l]].v[l] = value.v[l];
}
template <uint32_t P> SL_INLINE void add_lane(ModPLanes<P>* to, int l, ModPLanes<P> value) {
  to->v[l] = (ModP<P>(to->v[l]) + ModP<P>(value.v[l])).v;
}
template <uint32_t P> SL_INLINE ModPLanes<P> tanh_of(ModPLanes<P> z) { return z; }
template <uint32_t P> SL_INLINE ModPLanes<P> relu_of(ModPLanes<P> z) { return z; }
template <uint32_t P> SL_INLINE ModPLanes<P> gate_by(ModPLanes<P>, ModPLanes<P> g) { return g; }

}  // namespace SL_ISA
}  // namespace sl
