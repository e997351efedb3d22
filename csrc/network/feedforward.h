// feedforward.h: ONE feedforward network (D1) in any scalar: outputs, gradient, Jacobian, over m input columns.
//
//   a_0 = x,  a_l = phi(W_l a_{l-1} + b_l) for l < L,  y = W_L a_{L-1} + b_L          (per sample)
//   table z[s] = [a_0 | a_1 | .. | a_{L-1} | 1]   everything a weight can read in sample s
//   gradient:  delta_L = e,  delta_l = phi'_l * (W_{l+1}^T delta_{l+1}),  dL/dW_l = sum_s delta_l a_{l-1}^T
//   Jacobian:  A(s, e)[unit] = d y[e, s] / d (pre-activation of the unit), all units of all layers side by side;
//              column of a weight into `unit` reading source k:  J[e, s] = A(s, e)[unit] z[s][k].
//   For linear phi, A does not depend on s.
// With gains a layer sends a_l = g_l * u_l, u_l = phi(..): z ends in the u of all units with gains, delta and A in d / d a of the same
// units (behind A's entry of unused slots), so that a gain's gradient and column are products of table entries like all others.
//
// Scalars and scratch as in recurrent.h. Cost of a forward pass m sum n_l n_{l-1} multiply-adds, of a gradient twice that,
// of a Jacobian n_L (m unless linear) sum n_l n_{l-1} + r m n_L.
#pragma once
#include "core/scratch.h"
#include "core/shape.h"
#include "network/activation.h"
#include "network/slots.h"
#include "network/tiles.h"

namespace sl {
namespace SL_ISA {

template <class S, class C = S>
class Feedforward {
 public:
  static constexpr int L = Traits<S>::lanes;
  const C* hidden = nullptr;  // given activities [m * (n_1 + .. + n_{L-1})] for tanh over GF(p); null otherwise

  // Bytes of a strip of a CUDA kernel. delta also holds the last layer while outputs are computed: gradients save the chains only.
  SL_HD static size_t scratch_bytes(const Shape& s, Tables tables = Tables::all) {
    size_t R = 1, U = 0;
    for (int k = 0; k < s.layers; ++k) {
      R += s.widths[k];
      U += s.widths[k + 1];
    }
    const size_t m = s.samples, blocks = s.activation == Activation::linear ? 1 : m, G = s.gained;
    return sizeof(C) *
           (m * (R + G) + m * (U + (G ? G + 1 : 0)) + (tables != Tables::gradient ? blocks * s.widths[s.layers] * (U + 1 + G) : 0));
  }

  template <class Memory>
  SL_HD Feedforward(const Shape& s, Memory& scratch, Tables tables = Tables::all)
      : shape_(s), m_(s.samples), layers_(s.layers), o_(s.widths[s.layers]), linear_(s.activation == Activation::linear) {
    one_ = 0;
    U_ = 0;
    for (int k = 0; k < layers_; ++k) {
      source_[k] = one_;
      one_ += s.widths[k];
      unit_[k] = U_;
      U_ += s.widths[k + 1];
    }
    int G = 0;
    for (int k = 0; k < layers_; ++k) {
      ungained_[k] = one_ + 1 + G;
      sent_[k] = U_ + 1 + G;
      if (s.gain[k] >= 0) G += s.widths[k + 1];
    }
    R_ = one_ + 1 + G;
    delta_step_ = G ? U_ + 1 + G : U_;
    A_step_ = U_ + 1 + G;
    z_ = take_array<C>(scratch, static_cast<size_t>(m_) * R_);
    delta_ = take_array<C>(scratch, static_cast<size_t>(m_) * delta_step_);
    if (tables != Tables::gradient) A_ = take_array<C>(scratch, static_cast<size_t>(linear_ ? 1 : m_) * o_ * A_step_);
  }

  SL_HD C* input(int flat) { return z_ + (flat % m_) * R_ + flat / m_; }  // x is n_0 x m
  // What the last layer reads in sample s, n_{L-1} values, after forward().
  SL_HD const C* read_by_last(int s) const { return z_ + s * R_ + source_[layers_ - 1]; }
  SL_HD void inputs_ready(S one) {
    for (int s = 0; s < m_; ++s) z_[s * R_ + one_] = one;
  }

  // For memory that does not come zeroed: the entries that are read and never computed (the row of unused slots).
  SL_HD void blank() {
    const int rows = !A_ ? 0 : (linear_ ? 1 : m_) * o_;
    for (int q = 0; q < rows; ++q) A_[q * A_step_ + U_] = S{};
  }

  SL_HD void learn(const bool* group_learns) {
    int g = layers_;
    first_layer_ = layers_;
    for (int k = 0; k < layers_; ++k) {
      learns_weight_[k] = group_learns[k];
      learns_bias_[k] = shape_.bias[k] >= 0 && group_learns[g++];
    }
    for (int k = 0; k < layers_; ++k) {
      learns_gain_[k] = shape_.gain[k] >= 0 && group_learns[g++];
      if ((learns_weight_[k] || learns_bias_[k] || learns_gain_[k]) && first_layer_ == layers_) first_layer_ = k;
    }
  }
  SL_HD int first_equation() const { return 0; }

  SL_HD void prepare(const C* theta) { run(theta, 0, first_layer_ < layers_ ? first_layer_ : layers_ - 1, nullptr); }
  SL_HD void forward(const C* theta, C* y) { run(theta, first_layer_ < layers_ ? first_layer_ : layers_ - 1, layers_, y); }

  // delta of every unit from the first layer that learns on, in every sample.
  SL_HD void adjoints(const C* theta, const C* e) {
    if (first_layer_ >= layers_) return;
    for (int s = 0; s < m_; ++s) {
      C* d = delta_ + s * delta_step_;
      for (int k = 0; k < o_; ++k) d[unit_[layers_ - 1] + k] = e[k * m_ + s];
      for (int k = layers_ - 2; k >= first_layer_; --k) {
        const int width = shape_.widths[k + 1];
        C* to = d + unit_[k];
        cols_times<true>(theta + shape_.weight[k + 1], width, d + unit_[k + 1], shape_.widths[k + 2], width, to);
        to_pre_activation(theta, k, s, to, d + sent_[k]);
      }
    }
  }

  SL_HD void gradient(const C* theta, const C* e, C* g) {
    if (first_layer_ >= layers_) return;
    adjoints(theta, e);
    for (int k = first_layer_; k < layers_; ++k) {
      const int rows = shape_.widths[k + 1], columns = shape_.widths[k];
      if (learns_weight_[k])
        outer_sums(delta_ + unit_[k], delta_step_, rows, z_ + source_[k], R_, columns, m_, g + shape_.weight[k], columns);
      if (learns_bias_[k])
        for (int a = 0; a < rows; ++a) {
          S sum{};
          for (int s = 0; s < m_; ++s) sum += delta_[s * delta_step_ + unit_[k] + a];
          g[shape_.bias[k] + a] = sum;
        }
      if (learns_gain_[k])
        for (int a = 0; a < rows; ++a) {
          S sum{};
          for (int s = 0; s < m_; ++s) sum += S(delta_[s * delta_step_ + sent_[k] + a]) * S(z_[s * R_ + ungained_[k] + a]);
          g[shape_.gain[k] + a] = sum;
        }
    }
  }

  // The gradient of one weight after `adjoints`: m products, where gradient() takes m n_l n_{l-1} for all weights of a layer.
  SL_HD S gradient_at(const C* /*e*/, SlotPlace p) const {
    S sum{};
    for (int s = 0; s < m_; ++s) sum += S(delta_[s * delta_step_ + p.left]) * S(z_[s * R_ + p.right]);
    return sum;
  }

  // Fills A for the state of forward(theta). `one` is the scalar 1, taken from the table.
  SL_HD void sensitivities(const C* theta) {
    const S one = z_[one_];
    for (int s = 0; s < (linear_ ? 1 : m_); ++s)
      for (int e = 0; e < o_; ++e) {
        C* row = A_ + (static_cast<size_t>(s) * o_ + e) * A_step_;
        for (int k = 0; k < o_; ++k) row[unit_[layers_ - 1] + k] = k == e ? one : S{};
        for (int k = layers_ - 2; k >= first_layer_ && k >= 0; --k) {
          const int width = shape_.widths[k + 1];
          C* to = row + unit_[k];
          if (k == layers_ - 2) {
            for (int a = 0; a < width; ++a) to[a] = theta[shape_.weight[k + 1] + e * width + a];
          } else {
            cols_times<true>(theta + shape_.weight[k + 1], width, row + unit_[k + 1], shape_.widths[k + 2], width, to);
          }
          to_pre_activation(theta, k, s, to, row + sent_[k]);
        }
      }
  }

  // As in recurrent.h:  a'_l = W_l a'_{l-1} + W'_l a_{l-1} + b'_l per sample, for linear networks without gains.
  SL_HD static size_t speed_entries(const Shape& s) {
    int most = 0;
    for (int k = 0; k <= s.layers; ++k) most = s.widths[k] > most ? s.widths[k] : most;
    return 2 * static_cast<size_t>(most);
  }
  template <class Rate, class Drift>
  SL_HD void speeds(const C* theta, const Rate& rate, const Drift& drift, C* work, C* out) {
    const size_t half = speed_entries(shape_) / 2;
    for (int s = 0; s < m_; ++s) {
      C *last = work, *now = work + half;
      for (int j = 0; j < shape_.widths[0]; ++j) last[j] = drift(j * m_ + s);
      for (int k = 0; k < layers_; ++k) {
        const int rows = shape_.widths[k + 1], columns = shape_.widths[k], at = shape_.weight[k], bias = shape_.bias[k];
        const C* in = z_ + s * R_ + source_[k];
        for (int a = 0; a < rows; ++a) {
          S sum = bias >= 0 ? S(rate(bias + a)) : S{};
          for (int j = 0; j < columns; ++j) {
            const int flat = at + a * columns + j;
            add_speed(sum, S(theta[flat]), rate(flat), S(in[j]), S(last[j]));
          }
          now[a] = sum;
        }
        C* swap = last;
        last = now;
        now = swap;
      }
      for (int e = 0; e < o_; ++e) out[e * m_ + s] = last[e];
    }
  }

  SL_HD SlotPlace place(int flat) const {
    if (flat >= shape_.size) return {U_, 0, -1, 0};
    const Place p = place_of(shape_, flat);
    if (p.kind == GroupKind::gain) return {sent_[p.group] + p.row, ungained_[p.group] + p.row, -1, 0};
    return {unit_[p.group] + p.row, p.kind == GroupKind::bias ? one_ : source_[p.group] + p.col, -1, 0};
  }

  // out[(e m + s) * stride] = J[e, s] of slot k.
  template <class I>
  SL_HD void column(const Slots<L, I>& slots, int k, int /*first*/, C* out, int stride) {
    const I *left = slots.left + k * L, *right = slots.right + k * L;
    for (int e = 0; e < o_; ++e) {
      S a = gather(A_ + e * A_step_, left, slots.same);
      for (int s = 0; s < m_; ++s) {
        if (!linear_ && s > 0) a = gather(A_ + (static_cast<size_t>(s) * o_ + e) * A_step_, left, slots.same);
        out[(e * m_ + s) * stride] = a * gather(z_ + s * R_, right, slots.same);
      }
    }
  }

 private:
  // d / d a_l of hidden layer k + 1 in `to` becomes d / d (pre-activation); with gains it is kept in `sent` first.
  SL_HD void to_pre_activation(const C* theta, int k, int s, C* to, C* sent) {
    const int width = shape_.widths[k + 1];
    const C* activity = z_ + s * R_ + source_[k + 1];
    if (shape_.gain[k] >= 0) {
      activity = z_ + s * R_ + ungained_[k];
      for (int a = 0; a < width; ++a) {
        sent[a] = to[a];
        to[a] = S(to[a]) * S(theta[shape_.gain[k] + a]);
      }
    }
    times_slope_all(shape_.activation, activity, to, width);
  }

  // out[s] = W in[s] (kFresh) or out[s] += W in[s], several samples at a time, so that a weight is loaded once for all of them.
  template <bool kFresh>
  SL_HD void all_samples(const C* W, const C* in, int rows, int columns, C* out, int step) {
    constexpr int V = kRegisters >= 32 ? 3 : 2;
    int s = 0;
    for (; s + V <= m_; s += V) rows_times_many<V, kFresh>(W, columns, in + s * R_, R_, rows, columns, out + s * step, step);
    for (; s < m_; ++s) rows_times_many<1, kFresh>(W, columns, in + s * R_, R_, rows, columns, out + s * step, step);
  }

  // Layers from `begin` up to `end`: activities of hidden layers into z, the last layer into y.
  SL_HD void run(const C* theta, int begin, int end, C* y) {
    int before = 0;  // hidden units of earlier layers, for given activities
    for (int k = 0; k < begin; ++k) before += shape_.widths[k + 1];
    for (int k = begin; k < end; ++k) {
      const int rows = shape_.widths[k + 1], columns = shape_.widths[k];
      const bool last = k == layers_ - 1;
      C* const into = last ? delta_ + unit_[k] : z_ + source_[k + 1];
      const int step = last ? delta_step_ : R_;
      const C* W = theta + shape_.weight[k];
      const C* in = z_ + source_[k];
      if (shape_.bias[k] >= 0) {
        for (int s = 0; s < m_; ++s)
          for (int a = 0; a < rows; ++a) into[s * step + a] = theta[shape_.bias[k] + a];
        all_samples<false>(W, in, rows, columns, into, step);
      } else {
        all_samples<true>(W, in, rows, columns, into, step);
      }
      if (last) {
        for (int s = 0; s < m_; ++s)
          for (int e = 0; e < rows; ++e) y[e * m_ + s] = into[s * step + e];
      } else if (hidden) {
        for (int s = 0; s < m_; ++s)
          for (int a = 0; a < rows; ++a) into[s * step + a] = hidden[before * m_ + s * rows + a];
      } else if (!linear_) {
        for (int s = 0; s < m_; ++s) activate_all(shape_.activation, into + s * step, rows);
      }
      if (shape_.gain[k] >= 0)
        for (int s = 0; s < m_; ++s)
          for (int a = 0; a < rows; ++a) {
            const S u = into[s * step + a];
            z_[s * R_ + ungained_[k] + a] = u;
            into[s * step + a] = u * S(theta[shape_.gain[k] + a]);
          }
      before += rows;
    }
  }

  const Shape& shape_;
  const int m_, layers_, o_;
  const bool linear_;
  int R_, U_, one_, delta_step_, A_step_, first_layer_ = 0;
  int source_[kMaxLayers], unit_[kMaxLayers], ungained_[kMaxLayers], sent_[kMaxLayers];  // ungained_ in z, sent_ in delta and A
  bool learns_weight_[kMaxLayers] = {}, learns_bias_[kMaxLayers] = {}, learns_gain_[kMaxLayers] = {};
  C *z_, *delta_, *A_ = nullptr;
};

}  // namespace SL_ISA
}  // namespace sl
