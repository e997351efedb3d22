// slots.h: where the learnable weights of a pack of students act.
//
// The k-th learnable weight ("slot k") of every lane is described by four table positions, so that its column of the
// Jacobian is a sum of products of table entries, whatever group it lies in (see recurrent.h and feedforward.h). Lanes may
// learn different weights: positions are kept per lane, and a read gathers lane by lane. Where all lanes learn the same weights
// (`same`), a read is one vector load.
#pragma once
#include "core/pack.h"

namespace sl {
namespace SL_ISA {

// base[index[l]] lane by lane; index holds one entry per lane.
template <class S> SL_INLINE S gather(const S* base, const int* index, bool same) {
  constexpr int L = Traits<S>::lanes;
  if constexpr (L == 1) {
    return base[index[0]];
  } else {
    if (same) return base[index[0]];
    using T = typename Traits<S>::Scalar;
    const T* p = reinterpret_cast<const T*>(base);
    S r;
    for (int l = 0; l < L; ++l) r[l] = p[index[l] * L + l];
    return r;
  }
}

template <class S> SL_INLINE void scatter(S* base, const int* index, S value, bool same) {
  constexpr int L = Traits<S>::lanes;
  if constexpr (L == 1) {
    base[index[0]] = value;
  } else {
    if (same) {
      base[index[0]] = value;
      return;
    }
    using T = typename Traits<S>::Scalar;
    T* p = reinterpret_cast<T*>(base);
    for (int l = 0; l < L; ++l) p[index[l] * L + l] = value[l];
  }
}

template <class S> SL_INLINE typename Traits<S>::Scalar& lane(S* base, int l) {
  return reinterpret_cast<typename Traits<S>::Scalar*>(base)[l];
}

// Adds lane l of value to lane l of *to.
template <class S> SL_INLINE void add_lane(S* to, int l, S value) { lane(to, l) = lane(to, l) + lane(&value, l); }

// One weight's table positions. Meaning is given by the network that fills it in; -1 in `direct` means none.
struct SlotPlace {
  int left, right, direct, direct_right;
};

// Positions of `count` slots in L lanes: entry [k * L + l].
template <int L> struct Slots {
  int count = 0;
  bool same = false;  // all lanes hold the same positions
  int* flat = nullptr;          // flat index of the weight; `size` for an unused slot
  int* left = nullptr;
  int* right = nullptr;
  int* direct = nullptr;
  int* direct_right = nullptr;
  static size_t ints(int count) { return static_cast<size_t>(count) * L; }
  template <class Take> void allocate(int n, Take take) {
    count = n;
    flat = take(ints(n)); left = take(ints(n)); right = take(ints(n)); direct = take(ints(n)); direct_right = take(ints(n));
  }
  void set(int k, int l, int flat_index, SlotPlace p) {
    const int at = k * L + l;
    flat[at] = flat_index; left[at] = p.left; right[at] = p.right; direct[at] = p.direct; direct_right[at] = p.direct_right;
  }
  bool any_direct(int k) const {
    for (int l = 0; l < L; ++l)
      if (direct[k * L + l] >= 0) return true;
    return false;
  }
};

}  // namespace SL_ISA
}  // namespace sl
