// descend_updates.h: the optimisers' updates of the learnable weights of a pack of students (ops/descend.h), in three layouts.
//
//   SameUpdate   all students learn the same r weights: r packs
//   DenseUpdate  every student its own; sgd and momentum are so cheap that every weight that some lane learns is updated, under
//                the mask of those lanes
//   OwnUpdate    every student its own; Adam costs ten times as much per weight, so slot k holds the k-th weight of every lane,
//                gathered and scattered lane by lane: a quarter of an Adam step of 12 weights of 8 x 8. (Tried on AVX-512, Zen 5, and
//                slower: packing the lanes of a weight by compress and expand or by permutations, 2 % in float32 and 15 % in float64;
//                reciprocals of 14 bits and Newton steps in place of the square root and the division, which run beside the gathers, 15 %.)
// g, from and to are [size + 1] packs; from and to agree on entry and everywhere else on exit.
#pragma once
#include <cstdint>
#include <type_traits>

#include "core/scratch.h"
#include "method/optimizers.h"
#include "ops/descend.h"
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

// x where the mask is on, 0 elsewhere: w - 0 leaves every w as it is.
template <class S, class M> SL_INLINE S only(M mask, S x) { return __builtin_bit_cast(S, mask & __builtin_bit_cast(M, x)); }

// A mask as the subtraction under it wants it: with AVX-512 one bit per lane, in registers of their own (loading and combining whole packs
// of masks took half of an update), elsewhere as it is. minus_in: w - x in the lanes of the mask.
#if defined(__AVX512F__)
template <class M> using LaneMask = uint16_t;
template <class M> SL_INLINE LaneMask<M> lane_mask(M m) {
  if constexpr (sizeof(m[0]) == 4) return static_cast<uint16_t>(_mm512_test_epi32_mask((__m512i)m, (__m512i)m));
  else return static_cast<uint16_t>(_mm512_test_epi64_mask((__m512i)m, (__m512i)m));
}
template <class S> SL_INLINE S minus_in(uint16_t lanes, S w, S x) {
  if constexpr (sizeof(w[0]) == 4) return (S)_mm512_mask_sub_ps((__m512)w, lanes, (__m512)w, (__m512)x);
  else return (S)_mm512_mask_sub_pd((__m512d)w, static_cast<__mmask8>(lanes), (__m512d)w, (__m512d)x);
}
#else
template <class M> using LaneMask = M;
template <class M> SL_INLINE M lane_mask(M m) { return m; }
template <class S, class M> SL_INLINE S minus_in(M lanes, S w, S x) { return w - only(lanes, x); }
#endif

// What a step does to one weight: constants of the step, and the change of a weight given its gradient and its state.
template <class T>
class UpdateRule {
 public:
  explicit UpdateRule(const DescendArgs<T>& a)
      : optimizer_(a.optimizer), lr_(a.optimizer == Optimizer::adam ? a.lr : a.lr * a.more.gradient),
        epsilon_(static_cast<T>(kEpsilon / a.more.gradient)), schedule_(a.more.schedule), horizon_(a.more.horizon), done_(a.more.begun) {
    correction_.power1 = a.more.power1;
    correction_.power2 = a.more.power2;
  }
  void next_step() {
    const double lr = lr_ * part_of_rate(schedule_, done_++, horizon_);
    correction_.next_step();
    rate_ = static_cast<T>(lr);
    rate1_ = static_cast<T>(correction_.rate(lr));
    scale2_ = static_cast<T>(correction_.scale());
  }
  Optimizer optimizer() const { return optimizer_; }
  template <Optimizer kind, class S> SL_INLINE S change(S d, S& first, S& second) const {
    if constexpr (kind == Optimizer::adam) {
      first = first_moment<T>(first, d);
      second = second_moment<T>(second, d);
      return first * rate1_ / (square_root(second * scale2_) + epsilon_);
    } else if constexpr (kind == Optimizer::momentum) {
      first = velocity<T>(first, d);
      return first * rate_;
    } else {
      return d * rate_;
    }
  }

 private:
  const Optimizer optimizer_;
  const double lr_;
  const T epsilon_;  // a factor of all gradients leaves Adam's changes as they are, but for this
  const Schedule schedule_;
  const int64_t horizon_;
  int64_t done_;
  T rate_ = 0, rate1_ = 0, scale2_ = 0;
  BiasCorrection correction_;
};

// Where an update keeps the moments of slot k of a lane, whose weight lies at `position`.
template <class S> struct Moments {
  S *first, *second;  // second: null where there is none
};

// Calls f(constant of the optimiser), so that the choice is outside the loop over the weights.
template <class T, class F>
SL_INLINE void with_optimizer(const UpdateRule<T>& rule, F&& f) {
  if (rule.optimizer() == Optimizer::adam) f(std::integral_constant<Optimizer, Optimizer::adam>{});
  else if (rule.optimizer() == Optimizer::momentum) f(std::integral_constant<Optimizer, Optimizer::momentum>{});
  else f(std::integral_constant<Optimizer, Optimizer::sgd>{});
}

template <class S>
class SameUpdate {
  using T = typename Traits<S>::Scalar;
  using M = typename Traits<S>::Mask;

 public:
  SameUpdate(int size, int r, Scratch& scratch) : size_(size) {
    first_ = static_cast<S*>(scratch.take(sizeof(S) * static_cast<size_t>(r)));
    second_ = static_cast<S*>(scratch.take(sizeof(S) * static_cast<size_t>(r)));
    place_ = static_cast<int*>(scratch.take(sizeof(int) * static_cast<size_t>(r)));
  }
  void learn(int, int lane, int position) {
    if (lane == 0 && position < size_) place_[count_++] = position;
  }
  void ready(const S*) {}
  Moments<S> moments(int k, int) { return {first_ + k, second_ + k}; }
  void restore(M, const S*) {}
  void step(const UpdateRule<T>& rule, const S* g, M alive, const S* from, S* to) {
    with_optimizer(rule, [&](auto kind) {
      for (int k = 0; k < count_; ++k) {
        const int at = place_[k];
        const S w = from[at];
        to[at] = w - only(alive, rule.template change<decltype(kind)::value>(g[at], first_[k], second_[k]));
      }
    });
  }

 private:
  const int size_;
  int count_ = 0;
  S *first_, *second_;
  int* place_;
};

template <class S>
class DenseUpdate {
  using T = typename Traits<S>::Scalar;
  using M = typename Traits<S>::Mask;

 public:
  DenseUpdate(int size, int, Scratch& scratch) : size_(size) {
    first_ = static_cast<S*>(scratch.take(sizeof(S) * static_cast<size_t>(size)));
    on_ = static_cast<M*>(scratch.take(sizeof(M) * static_cast<size_t>(size)));
    lanes_ = static_cast<LaneMask<M>*>(scratch.take(sizeof(LaneMask<M>) * static_cast<size_t>(size)));
    place_ = static_cast<int*>(scratch.take(sizeof(int) * static_cast<size_t>(size)));
    slot_ = static_cast<int*>(scratch.take(sizeof(int) * static_cast<size_t>(size)));
  }
  void learn(int, int lane, int position) {
    if (position < size_) on_[position][lane] = -1;
  }
  void ready(const S*) {
    for (int k = 0; k < size_; ++k)
      if (any<M>(on_[k])) {
        lanes_[count_] = lane_mask<M>(on_[k]);
        slot_[k] = count_;
        place_[count_++] = k;
      }
  }
  Moments<S> moments(int, int position) { return {first_ + slot_[position], nullptr}; }
  void restore(M, const S*) {}
  void step(const UpdateRule<T>& rule, const S* g, M alive, const S* from, S* to) {
    with_optimizer(rule, [&](auto kind) {
      S unused{};  // second moments: Adam does not come here
      const LaneMask<M> live = lane_mask<M>(alive);
      for (int k = 0; k < count_; ++k) {
        const int at = place_[k];
        const S change = rule.template change<decltype(kind)::value>(g[at], first_[k], unused);
        to[at] = minus_in<S>(static_cast<LaneMask<M>>(live & lanes_[k]), from[at], change);
      }
    });
  }

 private:
  const int size_;
  int count_ = 0;
  S* first_;
  M* on_;
  LaneMask<M>* lanes_;  // [count]: of the weights that some lane learns
  int *place_, *slot_;  // [count]: where that weight lies, [size]: which of them it is
};

template <class S>
class OwnUpdate {
  using T = typename Traits<S>::Scalar;
  using M = typename Traits<S>::Mask;
  static constexpr int L = Traits<S>::lanes;

 public:
  OwnUpdate(int, int r, Scratch& scratch) : r_(r) {
    auto take = [&](size_t packs) { return static_cast<S*>(scratch.take(sizeof(S) * packs)); };
    weight_ = take(static_cast<size_t>(r)), first_ = take(static_cast<size_t>(r)), second_ = take(static_cast<size_t>(r));
    at_ = static_cast<uint32_t*>(scratch.take(sizeof(uint32_t) * L * static_cast<size_t>(r)));
  }
  void learn(int k, int lane, int position) { at_[k * L + lane] = static_cast<uint32_t>(position * L + lane); }
  void ready(const S* theta) { restore(M{}, theta); }
  Moments<S> moments(int k, int) { return {first_ + k, second_ + k}; }
  void restore(M, const S* theta) {
    for (int k = 0; k < r_; ++k) weight_[k] = gathered(theta, k);
  }
  void step(const UpdateRule<T>& rule, const S* g, M alive, const S*, S* to) {
    T* out = reinterpret_cast<T*>(to);
    with_optimizer(rule, [&](auto kind) {
      for (int k = 0; k < r_; ++k) {
        const S w = weight_[k] - only(alive, rule.template change<decltype(kind)::value>(gathered(g, k), first_[k], second_[k]));
        weight_[k] = w;
        for (int l = 0; l < L; ++l) out[at_[k * L + l]] = w[l];
      }
    });
  }

 private:
  SL_INLINE S gathered(const S* from, int k) const {
    const T* p = reinterpret_cast<const T*>(from);
    S r;
    for (int l = 0; l < L; ++l) r[l] = p[at_[k * L + l]];
    return r;
  }

  const int r_;
  S *weight_, *first_, *second_;
  uint32_t* at_;
};

}  // namespace SL_ISA
}  // namespace sl
