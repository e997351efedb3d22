// descend_in_registers.cuh: a recurrent network with N hidden units whose W and D are in the registers of its thread.
//
// For N = 4 and 8 the same operations in the same order as network/recurrent.h, which takes every weight from the strip when it needs it:
// a multiply-add with an operand from shared memory runs at a quarter of the rate of one from registers, and a weight is used
// 2 T - 1 times per step. The strip must be in shared memory (kFast). O: number of outputs (1, 2), or 0 for any number, and then D
// stays in the strip.
#pragma once
#include "cuda/strip.cuh"

namespace sl {
namespace SL_ISA {

static_assert(kActivations == 3, "an activation is written out here");

template <class M> constexpr bool kFast = false;
template <class S, int N, int O> class InRegisters;
template <class S, int N, int O> constexpr bool kFast<InRegisters<S, N, O>> = true;

template <class S, int N, int O>
class InRegisters : public Recurrent<S, N, Entry<S>> {
  using C = Entry<S>;
  using Base = Recurrent<S, N, C>;
  using Base::A_, Base::delta_, Base::drive_, Base::drive_fixed_, Base::i_, Base::learns_b_, Base::learns_B_, Base::learns_W_,
      Base::linear_, Base::R_, Base::shape_, Base::T_, Base::z_;
  static constexpr int kOutputs = O ? O : 1;
  S w_[N * N], d_[kOutputs * N];

 public:
  using Base::Base;

  SL_INLINE void forward(const C* theta, C* y) {
    if (!drive_fixed_) Base::prepare(theta);
    const int outputs = O ? O : shape_.outputs;
    SL_UNROLL(64)
    for (int k = 0; k < N * N; ++k) w_[k] = theta[shape_.W + k];
    if constexpr (O > 0) {
      SL_UNROLL(64)
      for (int k = 0; k < O * N; ++k) d_[k] = theta[shape_.D + k];
    }
    S h[N];
    for (int t = 0; t < T_; ++t) {
      S z[N];
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) z[a] = drive_[t * N + a];
      if (t > 0) {
        SL_UNROLL(8)
        for (int b = 0; b < N; ++b) SL_UNROLL(8)
        for (int a = 0; a < N; ++a) z[a] += w_[a * N + b] * h[b];
      }
      C* out = z_ + (t + 1) * R_ + i_;
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) {
        h[a] = linear_ ? z[a] : shape_.activation == Activation::relu ? relu_of(z[a]) : tanh_of(z[a]);
        out[a] = h[a];
      }
      for (int e = 0; e < outputs; ++e) {
        S sum = shape_.c >= 0 ? S(theta[shape_.c + e]) : S{};
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) sum += decoder(theta, e, a) * h[a];
        y[t * outputs + e] = sum;
      }
    }
  }

  SL_INLINE void adjoints(const C* theta, const C* e) {
    if (!(learns_B_ || learns_W_ || learns_b_)) return;
    const int outputs = O ? O : shape_.outputs;
    S next[N];
    for (int t = T_ - 1; t >= (drive_fixed_ ? 1 : 0); --t) {
      S d[N] = {};
      for (int q = 0; q < outputs; ++q) {
        const S error = e[t * outputs + q];
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) d[a] += decoder(theta, q, a) * error;
      }
      if (t + 1 < T_) {
        SL_UNROLL(8)
        for (int b = 0; b < N; ++b) SL_UNROLL(8)
        for (int a = 0; a < N; ++a) d[a] += w_[b * N + a] * next[b];
      }
      if (!linear_) {
        const C* h = z_ + (t + 1) * R_ + i_;
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) {
          const S x = h[a];
          d[a] = shape_.activation == Activation::relu ? gate_by(x, d[a]) : d[a] - x * x * d[a];
        }
      }
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) {
        next[a] = d[a];
        delta_[t * N + a] = d[a];
      }
    }
  }

  // After forward(): the chains of a linear network, W still in registers.
  SL_INLINE void sensitivities(const C* theta) {
    if (!linear_) return Base::sensitivities(theta);
    const int outputs = O ? O : shape_.outputs;
    for (int e = 0; e < outputs; ++e) {
      S g[N];
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) g[a] = theta[shape_.D + e * N + a];
      for (int q = 0;; ++q) {
        C* to = A_ + (q * outputs + e) * (N + 1);
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) to[a] = g[a];
        if (q + 1 == T_) break;
        S next[N] = {};
        SL_UNROLL(8)
        for (int b = 0; b < N; ++b) SL_UNROLL(8)
        for (int a = 0; a < N; ++a) next[a] += w_[b * N + a] * g[b];
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) g[a] = next[a];
      }
    }
  }

 private:
  // D[e][a]; e is a constant after unrolling where O > 0, so that d_ stays in registers.
  SL_INLINE S decoder(const C* theta, int e, int a) const {
    if constexpr (O == 0) return theta[shape_.D + e * N + a];
    else if constexpr (O == 1) return d_[a];
    else return e == 0 ? d_[a] : d_[N + a];
  }
};

}  // namespace SL_ISA
}  // namespace sl
