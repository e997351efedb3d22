// convolve.cuh: the triangular convolution that gives a column of a linear network's Jacobian, by one lane, from a chain and a row of the
// network's table; for every scalar. See network/recurrent.h, whose convolution is that of a thread that has a whole student.
#pragma once
#if !defined(SL_ISA)
#define SL_ISA device
#endif
#include "core/hostdev.h"
#include "cuda/launch.cuh"

namespace sl {
namespace SL_ISA {

// out[t] = sum_{s <= t} left[t - s] right[s], t < count, every table with its own pitch. kTile outputs at a time, in registers.
template <int kTile, class C>
__device__ __forceinline__ void convolve(const C* left, int l, const C* right, int r, int count, C* out, int pitch) {
  C w[kTile];
  SL_UNROLL(6)
  for (int j = 0; j < kTile; ++j) w[j] = j < count ? left[j * l] : C{};
  SL_ROLLED
  for (int t0 = 0; t0 < count; t0 += kTile) {
    C v[kTile];
    SL_UNROLL(6)
    for (int j = 0; j < kTile; ++j) v[j] = C{};
    SL_ROLLED
    for (int s = 0; s < t0; ++s) {
      const C x = right[s * r];
      SL_UNROLL(6)
      for (int j = 0; j < kTile; ++j)
        if (t0 + j < count) v[j] += left[(t0 + j - s) * l] * x;
    }
    SL_UNROLL(6)
    for (int s = 0; s < kTile; ++s) {
      if (t0 + s >= count) break;
      const C x = right[(t0 + s) * r];
      SL_UNROLL(6)
      for (int j = s; j < kTile; ++j) v[j] += w[j - s] * x;
    }
    SL_UNROLL(6)
    for (int j = 0; j < kTile; ++j)
      if (t0 + j < count) out[(t0 + j) * pitch] = v[j];
  }
}

}  // namespace SL_ISA
}  // namespace sl
