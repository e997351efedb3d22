// slots.h: where the learnable weights of a pack of students act.
//
// The k-th learnable weight ("slot k") of every lane is described by four table positions, so that its column of the
// Jacobian is a sum of products of table entries, whatever group it lies in (see recurrent.h and feedforward.h). Lanes may
// learn different weights: positions are kept per lane, and a read gathers lane by lane. Where all lanes learn the same weights
// (`same`), a read is one vector load.
#pragma once
#include "scalar/lanes.h"

namespace sl {
namespace SL_ISA {

// base[index[l]] lane by lane; index holds one entry per lane.
template <class C, class I> SL_INLINE Value<C> gather(const C* base, const I* index, bool same) {
  using S = Value<C>;
  constexpr int L = Traits<S>::lanes;
  if constexpr (L == 1) {
    return base[index[0]];
  } else {
    if (same) return base[index[0]];
    using T = typename Traits<S>::Scalar;
    const T* p = reinterpret_cast<const T*>(base);
    S r{};
    for (int l = 0; l < L; ++l) r[l] = p[index[l] * L + l];
    return r;
  }
}

template <class C, class I> SL_INLINE void scatter(C* base, const I* index, Value<C> value, bool same) {
  using S = Value<C>;
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

template <class C> SL_INLINE typename Traits<Value<C>>::Scalar& lane(C* base, int l) {
  return reinterpret_cast<typename Traits<Value<C>>::Scalar*>(base)[l];
}

// Adds lane l of value to lane l of *to.
template <class C> SL_INLINE void add_lane(C* to, int l, Value<C> value) { lane(to, l) = lane(to, l) + lane(&value, l); }

// Which tables a network needs: those of outputs and gradients, of outputs and Jacobians, or all.
enum class Tables { gradient, jacobian, all };

// One weight's table positions. Meaning is given by the network that fills it in; -1 in `direct` means none.
struct SlotPlace { int left, right, direct, direct_right; };

// Positions of `count` slots in L lanes: entry [k * L + l]. I: int, or the entry type of a table of them.
template <int L, class I = int> struct Slots {
  int count = 0;
  bool same = false;  // all lanes hold the same positions
  I* flat = nullptr;          // flat index of the weight; `size` for an unused slot
  I* left = nullptr;
  I* right = nullptr;
  I* direct = nullptr;
  I* direct_right = nullptr;
  SL_HD static size_t ints(int count) { return static_cast<size_t>(count) * L; }
  template <class Take> SL_HD void allocate(int n, Take take) {
    count = n;
    flat = take(ints(n));
    left = take(ints(n));
    right = take(ints(n));
    direct = take(ints(n));
    direct_right = take(ints(n));
  }
  SL_HD void set(int k, int l, int flat_index, SlotPlace p) {
    const int at = k * L + l;
    flat[at] = flat_index;
    left[at] = p.left;
    right[at] = p.right;
    direct[at] = p.direct;
    direct_right[at] = p.direct_right;
  }
  SL_HD bool any_direct(int k) const {
    for (int l = 0; l < L; ++l)
      if (direct[k * L + l] >= 0) return true;
    return false;
  }
};

}  // namespace SL_ISA
}  // namespace sl
