// updates.h: the optimisers' updates of the learnable weights of a pack of students (ops/descend.h), in three layouts.
//
//   SameUpdate   all students learn the same r weights: r packs
//   DenseUpdate  every student its own; sgd and momentum are so cheap that every weight that some lane learns is updated, under
//                the mask of those lanes
//   OwnUpdate    every student its own; Adam costs ten times as much per weight, so the learnable (weight, lane) pairs of all lanes are
//                packed densely. AVX-512 brings the lanes of a weight to their pairs and back with one permutation each; elsewhere pair k of lane
//                l is the lane's k-th weight, gathered and scattered one by one (a third of an Adam step of 12 weights of 8 x 8).
// g, from and to are [size + 1] packs; from and to agree on entry and everywhere else on exit.
#pragma once
#include <utility>

#include "core/scratch.h"
#include "math/slots.h"
#include "ops/descend.h"

namespace sl {
namespace SL_ISA {

// m / (sqrt(q) + epsilon). AVX-512: reciprocals of 14 bits and Newton steps, to within two units in the last place, at a third of the
// price of the square root and the division (which on a 64-byte register take about 10 cycles each in float32, 16 in float64).
template <class S> SL_INLINE S over_root(S m, S q, typename Traits<S>::Scalar epsilon) {
#if defined(__AVX512F__)
  using T = typename Traits<S>::Scalar;
  // The least number keeps 0 times infinity away: its root does not change epsilon. An infinite q must give 0.
  const S least = constant<S>(sizeof(T) == 8 ? T(1e-290) : T(1e-36)), infinity = constant<S>(T(__builtin_inf()));
  const S s = q > least ? q : least;
  S y, z;
  if constexpr (sizeof(T) == 8) y = (S)_mm512_maskz_rsqrt14_pd(0xff, (__m512d)s);
  else y = (S)_mm512_maskz_rsqrt14_ps(0xffff, (__m512)s);
  if constexpr (sizeof(T) == 8) y += y * (T(0.5) - (s * T(0.5)) * y * y);
  S root = s * y;
  root += root * (T(0.5) - root * (y * T(0.5)));
  const S d = root + epsilon;
  if constexpr (sizeof(T) == 8) z = (S)_mm512_maskz_rcp14_pd(0xff, (__m512d)d);
  else z = (S)_mm512_maskz_rcp14_ps(0xffff, (__m512)d);
  z += z * (T(1) - d * z);
  if constexpr (sizeof(T) == 8) z += z * (T(1) - d * z);
  const S c = m * z;
  return q < infinity ? c + z * (m - d * c) : m * T(0);
#else
  return m / (square_root(q) + epsilon);
#endif
}

// x where the mask is on, 0 elsewhere: w - 0 leaves every w as it is.
template <class S, class M> SL_INLINE S only(M mask, S x) { return __builtin_bit_cast(S, mask & __builtin_bit_cast(M, x)); }

// What a step does to one weight: constants of the step, and the change of a weight given its gradient and its state.
template <class T>
class UpdateRule {
 public:
  UpdateRule(Optimizer optimizer, double lr) : optimizer_(optimizer), lr_(lr), rate_(static_cast<T>(lr)) {}
  void next_step() {
    power1_ *= kBeta1;
    power2_ *= kBeta2;
    rate1_ = static_cast<T>(lr_ / (1 - power1_));
    scale2_ = static_cast<T>(1 / (1 - power2_));
  }
  Optimizer optimizer() const { return optimizer_; }
  template <Optimizer kind, class S> SL_INLINE S change(S d, S& first, S& second) const {
    if constexpr (kind == Optimizer::adam) {
      first = first * T(kBeta1) + d * T(1 - kBeta1);
      second = second * T(kBeta2) + d * d * T(1 - kBeta2);
      return over_root<S>(first * rate1_, second * scale2_, T(kEpsilon));
    } else if constexpr (kind == Optimizer::momentum) {
      first = first * T(kMomentum) + d;
      return first * rate_;
    } else {
      return d * rate_;
    }
  }

 private:
  static constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kMomentum = 0.9, kEpsilon = 1e-8;
  const Optimizer optimizer_;
  const double lr_;
  const T rate_;
  T rate1_ = 0, scale2_ = 0;
  double power1_ = 1, power2_ = 1;
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
  static size_t scratch_bytes(int, int r) { return (2 * sizeof(S) + sizeof(int)) * static_cast<size_t>(r) + 64 * 3; }
  SameUpdate(int size, int r, Scratch& scratch) : size_(size) {
    first_ = static_cast<S*>(scratch.take(sizeof(S) * static_cast<size_t>(r)));
    second_ = static_cast<S*>(scratch.take(sizeof(S) * static_cast<size_t>(r)));
    place_ = static_cast<int*>(scratch.take(sizeof(int) * static_cast<size_t>(r)));
  }
  void learn(int, int lane, int position) {
    if (lane == 0 && position < size_) place_[count_++] = position;
  }
  void ready(const S*) {}
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
  static size_t scratch_bytes(int size, int) { return (sizeof(S) + sizeof(M) + sizeof(int)) * static_cast<size_t>(size) + 64 * 3; }
  DenseUpdate(int size, int, Scratch& scratch) : size_(size) {
    first_ = static_cast<S*>(scratch.take(sizeof(S) * static_cast<size_t>(size)));
    on_ = static_cast<M*>(scratch.take(sizeof(M) * static_cast<size_t>(size)));
    place_ = static_cast<int*>(scratch.take(sizeof(int) * static_cast<size_t>(size)));
  }
  void learn(int, int lane, int position) {
    if (position < size_) on_[position][lane] = -1;
  }
  void ready(const S*) {
    for (int k = 0; k < size_; ++k)
      if (any<M>(on_[k])) {
        on_[count_] = on_[k];
        place_[count_++] = k;
      }
  }
  void restore(M, const S*) {}
  void step(const UpdateRule<T>& rule, const S* g, M alive, const S* from, S* to) {
    with_optimizer(rule, [&](auto kind) {
      S unused{};  // second moments: Adam does not come here
      for (int k = 0; k < count_; ++k) {
        const int at = place_[k];
        const S w = from[at];
        to[at] = w - only(alive & on_[k], rule.template change<decltype(kind)::value>(g[at], first_[k], unused));
      }
    });
  }

 private:
  const int size_;
  int count_ = 0;
  S* first_;
  M* on_;
  int* place_;
};

#if defined(__AVX512F__)
// Pairs in order of weight, then lane, L to a pack; those of one weight are contiguous, in one pack or two neighbours. A piece is what
// one weight gives to one pack of pairs: pair (q, j) comes from lane source_[q][j] of its weight. Back, lane l of a weight takes number
// target_[k][l] of the two packs from pack_[k] on.
template <class S>
class OwnUpdate {
  using T = typename Traits<S>::Scalar;
  using M = typename Traits<S>::Mask;
  static constexpr int L = Traits<S>::lanes;
  static constexpr bool kWide = sizeof(T) == 8;
  struct Piece {
    int place, pack, pairs;
  };
  struct Weight {
    int place, pair, lanes;
  };

 public:
  static size_t scratch_bytes(int size, int r) {
    const size_t weights = static_cast<size_t>(size) + 1, packs = static_cast<size_t>(r) + 2;
    return 4 * sizeof(S) * packs + sizeof(Piece) * (weights + packs) + sizeof(Weight) * weights + 64 * 8;
  }
  OwnUpdate(int size, int r, Scratch& scratch) : size_(size) {
    const size_t weights = static_cast<size_t>(size) + 1, packs = static_cast<size_t>(r) + 2;
    auto take = [&](size_t count) { return static_cast<S*>(scratch.take(sizeof(S) * count)); };
    first_ = take(packs), second_ = take(packs), change_ = take(packs);
    source_ = reinterpret_cast<M*>(take(packs));
    piece_ = static_cast<Piece*>(scratch.take(sizeof(Piece) * (weights + packs)));
    weight_ = static_cast<Weight*>(scratch.take(sizeof(Weight) * weights));
  }
  void learn(int, int lane, int position) {
    if (position < size_) weight_[position].lanes |= 1 << lane;
  }
  void ready(const S*) {
    int pairs = 0;
    for (int k = 0; k < size_; ++k) {
      const int lanes = weight_[k].lanes;
      if (!lanes) continue;
      weight_[weights_] = {k, pairs, lanes};
      for (int l = 0; l < L; ++l) {
        if (!(lanes >> l & 1)) continue;
        const int q = pairs / L, j = pairs % L;
        source_[q][j] = l;
        if (pieces_ == 0 || piece_[pieces_ - 1].place != k || piece_[pieces_ - 1].pack != q) piece_[pieces_++] = {k, q, 0};
        piece_[pieces_ - 1].pairs |= 1 << j;
        ++pairs;
      }
      ++weights_;
    }
    packs_ = (pairs + L - 1) / L;
    piece_[pieces_].pack = -1;  // ends the last pack
  }
  void restore(M, const S*) {}
  void step(const UpdateRule<T>& rule, const S* g, M alive, const S* from, S* to) {
    const Piece* p = piece_;
    for (int q = 0; q < packs_; ++q) {
      const M source = source_[q];
      S packed{};
      for (; p->pack == q; ++p) packed = permuted(packed, p->pairs, source, g[p->place]);
      change_[q] = packed;
    }
    with_optimizer(rule, [&](auto kind) {
      for (int q = 0; q < packs_; ++q) change_[q] = rule.template change<decltype(kind)::value>(change_[q], first_[q], second_[q]);
    });
    int live = 0;
    for (int l = 0; l < L; ++l) live |= alive[l] ? 1 << l : 0;
    const T* change = reinterpret_cast<const T*>(change_);
    for (int k = 0; k < weights_; ++k) {
      const Weight w = weight_[k];
      to[w.place] = from[w.place] - expanded(w.lanes, w.lanes & live, change + w.pair);
    }
  }

 private:
  // Lane j: from[index[j]] where bit j of mask is set, else into[j].
  static SL_INLINE S permuted(S into, int mask, M index, S from) {
    if constexpr (kWide) return (S)_mm512_mask_permutexvar_pd((__m512d)into, static_cast<__mmask8>(mask), (__m512i)index, (__m512d)from);
    else return (S)_mm512_mask_permutexvar_ps((__m512)into, static_cast<__mmask16>(mask), (__m512i)index, (__m512)from);
  }
  // The numbers from `from` on in the lanes of `lanes`, one after the other; 0 outside `kept`.
  static SL_INLINE S expanded(int lanes, int kept, const T* from) {
    if constexpr (kWide) return (S)_mm512_maskz_mov_pd(static_cast<__mmask8>(kept), _mm512_maskz_expandloadu_pd(static_cast<__mmask8>(lanes), from));
    else return (S)_mm512_maskz_mov_ps(static_cast<__mmask16>(kept), _mm512_maskz_expandloadu_ps(static_cast<__mmask16>(lanes), from));
  }

  const int size_;
  int weights_ = 0, pieces_ = 0, packs_ = 0;
  S *first_, *second_, *change_;
  M* source_;
  Piece* piece_;
  Weight* weight_;
};
#else
template <class S>
class OwnUpdate {
  using T = typename Traits<S>::Scalar;
  using M = typename Traits<S>::Mask;
  static constexpr int L = Traits<S>::lanes;

 public:
  static size_t scratch_bytes(int, int r) { return (3 * sizeof(S) + sizeof(int) * L) * static_cast<size_t>(r) + 64 * 4; }
  OwnUpdate(int, int r, Scratch& scratch) : r_(r) {
    auto take = [&](size_t packs) { return static_cast<S*>(scratch.take(sizeof(S) * packs)); };
    weight_ = take(static_cast<size_t>(r)), first_ = take(static_cast<size_t>(r)), second_ = take(static_cast<size_t>(r));
    place_ = static_cast<int*>(scratch.take(sizeof(int) * L * static_cast<size_t>(r)));
  }
  void learn(int k, int lane, int position) { place_[k * L + lane] = position; }
  void ready(const S* theta) { restore(M{}, theta); }
  void restore(M, const S* theta) {
    for (int k = 0; k < r_; ++k) weight_[k] = gather(theta, place_ + k * L, false);
  }
  void step(const UpdateRule<T>& rule, const S* g, M alive, const S*, S* to) {
    with_optimizer(rule, [&](auto kind) {
      for (int k = 0; k < r_; ++k) {
        const S d = gather(g, place_ + k * L, false);
        weight_[k] = select<S>(alive, weight_[k] - rule.template change<decltype(kind)::value>(d, first_[k], second_[k]), weight_[k]);
        scatter(to, place_ + k * L, weight_[k], false);
      }
    });
  }

 private:
  const int r_;
  S *weight_, *first_, *second_;
  int* place_;
};
#endif

}  // namespace SL_ISA
}  // namespace sl
