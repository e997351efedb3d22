// shallow.h: ONE feedforward network with one hidden layer (D1), loss and gradient in one sweep over the samples, for packs of students.
//
//   h = phi(W1 x + b1),  y = W2 h + b2,  e = 2 (y - y*),  loss = sum (y - y*)^2                       (per sample)
//   dL/dW2 += e h^T,  dL/db2 += e,  delta = phi'(h) * (W2^T e),  dL/dW1 += delta x^T,  dL/db1 += delta
// The same formulas as feedforward.h, which keeps every activity and adjoint of every sample in tables: 29 % of the multiply-add
// peak at 5-8-2 and 16 samples, and past 30 samples the tables leave L1. Here V samples go forward and back before the next V;
// activities and adjoints of K units and V samples stay in registers, only sums of gradients go through L1.
//
// W1 lies transposed, [input][unit], so that K units are contiguous: `position` maps a flat index to where it lies.
// x [i][m] and y* [o][m] lie as they come. Cost per sample: i h + o h multiply-adds forward and for the gradients, o h for the adjoint;
// per V samples and tile of K units i (K + V) + o K loads forward, 2 V K + i (K + V) + 3 o K back, and V K + i K + o K stores. With 32
// registers 4 x 4 needs a third fewer loads and stores per sample than 2 x 8, and is a fifth faster at 5-8-2; with 16, 4 x 2 is 1.3 times
// as fast as 8 x 1.
#pragma once
#include "core/scratch.h"
#include "core/shape.h"
#include "network/activation.h"
#include "network/tiles.h"
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

static_assert(kActivations == 3, "an activation is written out here");

template <class S>
class Shallow {
  static constexpr int V = kRegisters >= 32 ? 4 : 2;  // samples at a time; with tiles of K = 4 units, 4 V accumulators

 public:
  static bool fits(const Shape& s) { return s.kind == Kind::feedforward && s.layers == 2 && s.plain(); }

  Shallow(const Shape& s, Scratch& scratch) : shape_(s), i_(s.widths[0]), h_(s.widths[1]), o_(s.widths[2]), m_(s.samples) {
    x_ = take(scratch, static_cast<size_t>(s.inputs_size));
    act_ = take(scratch, static_cast<size_t>(V) * h_);
    y_ = take(scratch, static_cast<size_t>(V) * o_);
  }

  S* input(int flat) { return x_ + flat; }
  int position(int flat) const {
    const int at = flat - shape_.weight[0];
    return at >= 0 && at < h_ * i_ ? shape_.weight[0] + at % i_ * h_ + at / i_ : flat;
  }
  void learn(const bool* group_learns) {
    learns_W1_ = group_learns[0];
    learns_W2_ = group_learns[1];
    int g = 2;
    learns_b1_ = shape_.bias[0] >= 0 && group_learns[g++];
    learns_b2_ = shape_.bias[1] >= 0 && group_learns[g];
  }

  // The loss at theta; with `want`, g[k] = dL/dtheta[k] for every weight of the groups that learn.
  S loss_gradient(const S* theta, const S* target, S* g, bool want) {
    switch (o_) {  // with few outputs, y and e stay in registers too
      case 1: return sweep<1>(theta, target, g, want);
      case 2: return sweep<2>(theta, target, g, want);
      default: return sweep<0>(theta, target, g, want);
    }
  }

 private:
  static S* take(Scratch& scratch, size_t count) { return static_cast<S*>(scratch.take(count * sizeof(S))); }
  static __attribute__((noinline)) void all_tanh(S* z, int count) {  // its constants must not take the registers of relu
    for (int k = 0; k < count; ++k) z[k] = tanh_of(z[k]);
  }

  // Loaded once: GCC reads an operand in memory anew for each of its V products, and then the two loads a cycle are the limit.
  static SL_INLINE S kept(S x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(x) == kPackBytes) asm("" : "+v"(x));
#endif
    return x;
  }

  template <int O>
  S sweep(const S* theta, const S* target, S* g, bool want) {
    S loss{};
    int s = 0;
    for (; s + V <= m_; s += V) loss += samples<V, O>(theta, target, s, g, want);
    return s < m_ ? last_samples<O>(theta, target, s, g, want, loss) : loss;
  }

  template <int O>
  __attribute__((noinline)) S last_samples(const S* theta, const S* target, int s, S* g, bool want, S loss) {
    if constexpr (V > 2)
      for (; s + 2 <= m_; s += 2) loss += samples<2, O>(theta, target, s, g, want);
    for (; s < m_; ++s) loss += samples<1, O>(theta, target, s, g, want);
    return loss;
  }

  template <int U, int O>
  SL_INLINE S samples(const S* theta, const S* target, int s, S* g, bool want) {
    const int o = O ? O : o_, h = h_;
    S few[O ? O * U : 1];
    S* y = O ? few : y_;
#pragma GCC unroll 2
    for (int e = 0; e < o; ++e)
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v) y[e * U + v] = shape_.bias[1] >= 0 ? theta[shape_.bias[1] + e] : S{};
    constexpr int K = U == V ? 4 : 8;
    int k = 0;
    for (; k + K <= h; k += K) up<K, U, O>(theta, s, k, y);
    if (K > 4 && (h & 4)) up<4, U, O>(theta, s, k, y), k += 4;
    if (h & 2) up<2, U, O>(theta, s, k, y), k += 2;
    if (h & 1) up<1, U, O>(theta, s, k, y);
    S loss{};
#pragma GCC unroll 2
    for (int e = 0; e < o; ++e)
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v) {
        const S d = y[e * U + v] - target[e * m_ + s + v];
        loss += d * d;
        y[e * U + v] = d + d;
      }
    if (!want) return loss;
    if (learns_b2_)
      for (int e = 0; e < o; ++e) {
        S sum = s == 0 ? S{} : g[shape_.bias[1] + e];
#pragma GCC unroll 4
        for (int v = 0; v < U; ++v) sum += y[e * U + v];
        g[shape_.bias[1] + e] = sum;
      }
    if (s == 0) all_down<U, O, true>(theta, s, g, y);
    else all_down<U, O, false>(theta, s, g, y);
    return loss;
  }

  // kFirst: sums of gradients begin here.
  template <int U, int O, bool kFirst>
  SL_INLINE void all_down(const S* theta, int s, S* g, const S* y) {
    constexpr int K = U == V ? 4 : 8;
    const int h = h_;
    int k = 0;
    for (; k + K <= h; k += K) down<K, U, O, kFirst>(theta, s, k, g, y);
    if (K > 4 && (h & 4)) down<4, U, O, kFirst>(theta, s, k, g, y), k += 4;
    if (h & 2) down<2, U, O, kFirst>(theta, s, k, g, y), k += 2;
    if (h & 1) down<1, U, O, kFirst>(theta, s, k, g, y);
  }

  // Activities of Q units from k on, and what they add to the outputs.
  template <int Q, int U, int O>
  SL_INLINE void up(const S* theta, int s, int k, S* y) {
    const int o = O ? O : o_, h = h_;
    const S *W1 = opaque(theta + shape_.weight[0] + k), *x = x_ + s;
    S z[U][Q];
#pragma GCC unroll 4
    for (int v = 0; v < U; ++v)
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) z[v][q] = S{};
    if (shape_.bias[0] >= 0) {
      const S* b = theta + shape_.bias[0] + k;
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v)
#pragma GCC unroll 8
        for (int q = 0; q < Q; ++q) z[v][q] = b[q];
    }
    for (int j = 0; j < i_; ++j, W1 += h, x += m_) {
      S in[U];
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v) in[v] = x[v];
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) {
        const S w = kept(W1[q]);
#pragma GCC unroll 4
        for (int v = 0; v < U; ++v) z[v][q] += w * in[v];
      }
    }
    if (shape_.activation == Activation::relu) {
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v)
#pragma GCC unroll 8
        for (int q = 0; q < Q; ++q) z[v][q] = rectified(z[v][q]);
    }
    S* to = act_ + k * U;
#pragma GCC unroll 4
    for (int v = 0; v < U; ++v)
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) to[v * Q + q] = z[v][q];
    if (shape_.activation == Activation::tanh) {
      all_tanh(to, U * Q);
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v)
#pragma GCC unroll 8
        for (int q = 0; q < Q; ++q) z[v][q] = to[v * Q + q];
    }
    const S* W2 = theta + shape_.weight[1] + k;
#pragma GCC unroll 2
    for (int e = 0; e < o; ++e, W2 += h) {
      S even[U], odd[U];
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v) {
        even[v] = y[e * U + v];
        odd[v] = S{};
      }
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) {
        const S w = kept(W2[q]);
#pragma GCC unroll 4
        for (int v = 0; v < U; ++v) {
          if (q & 1) odd[v] += w * z[v][q];
          else even[v] += w * z[v][q];
        }
      }
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v) y[e * U + v] = even[v] + odd[v];
    }
  }

  // Gradients of the weights into and out of Q units from k on; y holds e.
  template <int Q, int U, int O, bool kFirst>
  SL_INLINE void down(const S* theta, int s, int k, S* g, const S* y) {
    const int o = O ? O : o_, h = h_;
    const S* act = act_ + k * U;
    if (learns_W2_) {
      S a[U][Q];
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v)
#pragma GCC unroll 8
        for (int q = 0; q < Q; ++q) a[v][q] = act[v * Q + q];
      S* to = g + shape_.weight[1] + k;
#pragma GCC unroll 2
      for (int e = 0; e < o; ++e, to += h) {
#pragma GCC unroll 8
        for (int q = 0; q < Q; ++q) {
          S sum = kFirst ? S{} : to[q];
#pragma GCC unroll 4
          for (int v = 0; v < U; ++v) sum += y[e * U + v] * a[v][q];
          to[q] = sum;
        }
      }
    }
    if (!(learns_W1_ || learns_b1_)) return;
    S delta[U][Q] = {};
    const S* W2 = opaque(theta + shape_.weight[1] + k);
#pragma GCC unroll 2
    for (int e = 0; e < o; ++e, W2 += h) {
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) {
        const S w = kept(W2[q]);
#pragma GCC unroll 4
        for (int v = 0; v < U; ++v) delta[v][q] += w * y[e * U + v];
      }
    }
    if (shape_.activation == Activation::relu) {
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v)
#pragma GCC unroll 8
        for (int q = 0; q < Q; ++q) delta[v][q] = gate_by(act[v * Q + q], delta[v][q]);
    } else if (shape_.activation == Activation::tanh) {
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v)
#pragma GCC unroll 8
        for (int q = 0; q < Q; ++q) delta[v][q] -= act[v * Q + q] * act[v * Q + q] * delta[v][q];
    }
    if (learns_b1_) {
      S* to = g + shape_.bias[0] + k;
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) {
        S sum = kFirst ? S{} : to[q];
#pragma GCC unroll 4
        for (int v = 0; v < U; ++v) sum += delta[v][q];
        to[q] = sum;
      }
    }
    if (!learns_W1_) return;
    const S* x = x_ + s;
    S* to = g + shape_.weight[0] + k;
    for (int j = 0; j < i_; ++j, x += m_, to += h) {
      S in[U];
#pragma GCC unroll 4
      for (int v = 0; v < U; ++v) in[v] = x[v];
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) {
        S sum = kFirst ? S{} : to[q];
#pragma GCC unroll 4
        for (int v = 0; v < U; ++v) sum += delta[v][q] * in[v];
        to[q] = sum;
      }
    }
  }

  const Shape& shape_;
  const int i_, h_, o_, m_;
  bool learns_W1_ = true, learns_W2_ = true, learns_b1_ = true, learns_b2_ = true;
  S *x_, *act_, *y_;
};

}  // namespace SL_ISA
}  // namespace sl
