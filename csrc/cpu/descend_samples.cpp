// Masked gradient descent of networks with one hidden layer, one student at a time, its samples in the lanes. See ops/descend.h.
//
//   h = phi(W1 x + b1),  y = W2 h + b2,  e = 2 (y - y*),  loss = sum (y - y*)^2
//   dL/dW2_ej = sum_s e_e h_j,  dL/db2_e = sum_s e_e,  delta_j = phi'(h_j) sum_e W2_ej e_e,  dL/dW1_ji = sum_s delta_j x_i
// A bias is a weight from an input, or from a unit, that is always 1. With softmax, e and the loss are those of method/losses.h.
// With gains h = g u, u = phi(W1 x + b1), W1 and b1 frozen: u is computed once, and a gain is the one weight into a linear unit, from u.
//
// With students in the lanes (descend.cpp) every lane learns other weights, so all gradients are computed and then masked. Samples in the
// lanes share the mask, and what does not learn costs nothing:
//   - pre-activations begin at their frozen part z0, the sum over frozen weights, computed once, and once for all students where they
//     share weights, inputs and mask (many tasks of one network);
//   - a unit with no learnable weight on either side belongs to the target;
//   - only learnable weights have gradients, only units with learnable incoming weights have a delta.
// Multiply-adds per sample: 2 r1 + r2 + o (h + h1), r1 and r2 learnable weights in the two layers, h1 units with learnable incoming
// weights; with students in the lanes 2 i h + 3 o h. At 5-8-2 with 16 learnable weights 58 against 128.
//
// Learnable weights lie in slots, those of W1 and b1 first, unit by unit. A step takes blocks of P packs of samples forward and back and
// leaves one pack of partial sums per slot; lane_sums turns L of those into one pack of gradients, so that the optimiser moves L weights
// at once. Two small students take turns, because a step waits for the one before it.
// Up to two outputs and their errors stay in registers all the way, and the limit is loads, two a cycle (docs/speed.md). More outputs lie in
// memory: then kTile units go forward, and their activities, still in L1, are sent to tiles of kRows outputs x P packs of accumulators
// (kRows + P loads for kRows P multiply-adds); back, kUnits units share each load of an error. The order of every sum is the same.
#include "cpu/descend_samples.h"

#include <cmath>
#include <utility>

#include "core/scratch.h"
#include "cpu/descend_one_student.h"
#include "cpu/descend_updates.h"
#include "method/losses.h"
#include "network/activation.h"
#include "network/slots.h"
#include "network/tiles.h"
#include "scalar/across_lanes.h"
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

static_assert(kActivations == 3, "an activation is written out here");
namespace {

constexpr int P = 4;  // packs of samples in a block; a last block may have half of them
constexpr int kStudents = 16;  // most in one piece of work: they share the packed inputs
constexpr int kTile = 32;  // units whose activities of a block (8 KB with AVX-512) stay in L1 on their way to many outputs
constexpr int kRows = kRegisters >= 32 ? 5 : 2;  // outputs of a tile of accumulators
constexpr int kUnits = kRegisters >= 32 ? 4 : 2;  // units that share the loads of errors
constexpr int kAhead = 16;  // units whose z0, past what L2 holds, is asked for ahead
constexpr size_t kLarge = 2048;  // packs of z0 from which a student keeps its core busy, and two would only share its caches

template <class T>
class Learner : StudentState<T> {
  using Base = StudentState<T>;
  using Base::a_, Base::L, Base::theta_, Base::before_, Base::first_, Base::second_, Base::slots_, Base::packs_, Base::student_,
      Base::running_, Base::stopped_;
  using Base::judge_loss, Base::stop, Base::softmax, Base::weights, Base::packs_of_slots;
  using typename Base::S;
  struct Outgoing {  // a learnable weight from unit to output
    int unit, output;
  };

  // Rows of samples are a whole number of half blocks.
  static int packs_of_samples(const Shape& s) { return (s.samples + P / 2 * L - 1) / (P / 2 * L) * (P / 2); }
  static size_t blocks_of_samples(const Shape& s) { return (static_cast<size_t>(packs_of_samples(s)) + P - 1) / P; }

 public:
  static size_t frozen_packs(const Shape& s) { return static_cast<size_t>(s.widths[1]) * blocks_of_samples(s) * P; }
  static size_t feature_packs(const Shape& s) { return s.gained ? static_cast<size_t>(s.widths[1]) * packs_of_samples(s) : 0; }
  static size_t input_packs(const Shape& s) { return (static_cast<size_t>(s.widths[0]) + 1) * static_cast<size_t>(packs_of_samples(s)); }

  // x [i][m] as rows of packs and a row of ones. Past the last sample all are 0, and so are activities and errors.
  static void pack_inputs(const Shape& s, const T* x, S* rows) {
    const int m = packs_of_samples(s);
    for (int j = 0; j < s.widths[0]; ++j) pack_row(x + j * s.samples, s.samples, m, rows + j * m);
    for (int k = 0; k < m * L; ++k) lane(rows + s.widths[0] * m, k) = k < s.samples ? T(1) : T(0);
  }

  // shared: another Learner whose frozen parts are those of all students; null: each has its own.
  Learner(const DescendArgs<T>& a, Scratch& scratch, const Learner* shared = nullptr)
      : Base(a, scratch), s_(*a.students.shape), i_(s_.widths[0]), h_(s_.widths[1]), o_(s_.widths[2]), m_(packs_of_samples(s_)),
        shared_(shared), activation_(s_.gained ? Activation::linear : s_.activation) {
    const size_t h = static_cast<size_t>(h_) + 1, o = static_cast<size_t>(o_), m = static_cast<size_t>(m_);
    const size_t slots = packs_of_slots(a.budget) * L;
    z0_ = shared ? shared->z0_ : take_array<S>(scratch, frozen_packs(s_));
    u_ = shared ? shared->u_ : take_array<S>(scratch, feature_packs(s_));
    t0_ = take_array<S>(scratch, o * m);
    target_ = softmax() ? take_array<S>(scratch, o * m) : nullptr;
    act_ = take_array<S>(scratch, h * P);
    e_ = take_array<S>(scratch, o * P);
    g_ = take_array<S>(scratch, slots);
    row_ = take_array<const S*>(scratch, slots);
    out_ = take_array<Outgoing>(scratch, slots);
    which_ = take_array<int>(scratch, slots);
    into_ = take_array<int>(scratch, h);
    unit_ = take_array<int>(scratch, h);
    W2_ = take_array<T>(scratch, h * o);
    entry_ = take_array<int>(scratch, static_cast<size_t>(s_.size));
  }
  void begin(int64_t b, const S* x) {
    student_ = b;
    const T* theta = a_.students.theta + b * a_.students.theta_stride;
    const int* indices = Base::indices();
    const T* y = a_.y + b * a_.y_stride;
    S target2{};
    for (int e = 0; e < o_; ++e) {
      S* t = (softmax() ? target_ : t0_) + e * m_;
      pack_row(y + e * s_.samples, s_.samples, m_, t);
      for (int p = 0; p < m_; ++p) {
        target2 += softmax() ? t[p] : t[p] * t[p];
        if (softmax()) t0_[e * m_ + p] = S{};
        else t[p] = -t[p];
      }
    }
    for (int k = 0; k < a_.budget; ++k)
      if (indices[k] < s_.size) entry_[indices[k]] = k + 1;
    if (!shared_) freeze(theta, x);
    slots_ = live_ = 0;
    const S* ones = x + i_ * m_;
    const int rows = s_.bias[0] >= 0 ? i_ + 1 : i_;
    for (int j = 0; j < h_; ++j) {
      const int before = slots_;
      for (int q = 0; q < rows; ++q) {
        const int flat = q < i_ ? s_.weight[0] + j * i_ + q : s_.bias[0] + j;
        if (entry_[flat]) {
          row_[slots_] = x + q * m_;
          take_slot(flat, theta);
        }
      }
      if (s_.gained && entry_[s_.gain[0] + j]) {
        row_[slots_] = u_ + j * m_;
        take_slot(s_.gain[0] + j, theta);
      }
      bool leaves = false;
      for (int e = 0; e < o_; ++e) leaves |= entry_[s_.weight[1] + e * h_ + j] != 0;
      if (slots_ > before || leaves) {
        for (int e = 0; e < o_; ++e) W2_[live_ * o_ + e] = theta[s_.weight[1] + e * h_ + j];
        unit_[live_] = j;
        into_[live_++] = slots_ - before;
      } else {
        for (int e = 0; e < o_; ++e) {
          const T w = theta[s_.weight[1] + e * h_ + j];
          for (int p = 0; p < m_; ++p) t0_[e * m_ + p] += w * z0(j, p);
        }
      }
    }
    incoming_ = slots_;
    biases_only_ = live_ > 0 && incoming_ == live_;
    for (int u = 0; u < incoming_; ++u) biases_only_ &= row_[u] == ones;
    for (int u = 0; u < live_; ++u)
      for (int e = 0; e < o_; ++e) {
        const int flat = s_.weight[1] + e * h_ + unit_[u];
        if (entry_[flat]) {
          out_[slots_ - incoming_] = {u, e};
          take_slot(flat, theta);
        }
      }
    ones_ = nullptr;
    if (s_.bias[1] >= 0)
      for (int e = 0; e < o_; ++e) {
        const int flat = s_.bias[1] + e;
        W2_[live_ * o_ + e] = entry_[flat] ? theta[flat] : T(0);
        if (entry_[flat]) {
          ones_ = ones;
          out_[slots_ - incoming_] = {live_, e};
          take_slot(flat, theta);
        } else {
          for (int p = 0; p < m_; ++p) t0_[e * m_ + p] += theta[flat] * ones[p];
        }
      }
    for (int k = 0; k < slots_; ++k) entry_[indices[which_[k]]] = 0;
    this->begin_steps(total_of<S>(target2), [this](int k) { return which_[k]; });
    for (int k = slots_; k < packs_ * L; ++k) g_[k] = S{};
    if (a_.more.resumed) put_outgoing();
  }

  // The loss, and the gradients' partial sums, after `step` updates; whether an update follows.
  SL_INLINE bool evaluate(int64_t step) {
    if (!running_) return false;
    const bool want = step < a_.steps && !stopped_;
    if (!want && !a_.more.last_loss) return stop(stopped_ ? FitStatus::diverged : FitStatus::steps_done, stopped_ ? 0 : step);
    const T now = softmax() ? sweep<0>(want) : o_ == 1 ? sweep<1>(want) : o_ == 2 ? sweep<2>(want) : sweep<0>(want);
    return judge_loss(now, step);
  }

  SL_INLINE void update(const UpdateRule<T>& rule) {
    with_optimizer(rule, [&](auto kind) {
      for (int k = 0; k < packs_; ++k) {
        const S g = lane_sums(g_ + k * L), w = theta_[k];
        before_[k] = w;
        theta_[k] = w - rule.template change<decltype(kind)::value>(g + g, first_[k], second_[k]);
      }
    });
    put_outgoing();
  }

  void finish() const {
    this->write([this](int k) { return which_[k]; });
  }

 private:
  SL_INLINE S& z0(int unit, int p) const { return z0_[(static_cast<size_t>(p / P) * h_ + unit) * P + p % P]; }

  // Frozen parts of pre-activations; activities of units with no learnable weight on either side.
  void freeze(const T* theta, const S* x) {
    const int biases = s_.bias[0] >= 0 ? h_ : 0;
    auto any_learns = [&](int first, int count, int stride) {
      for (int k = 0; k < count; ++k)
        if (entry_[first + k * stride]) return true;
      return false;
    };
    auto fixed = [&](int j) { return !any_learns(s_.weight[0] + j * i_, i_, 1); };
    for (int j = 0; j < h_; ++j) into_[j] = fixed(j);
    for (int at = 0; at < m_; at += P) {  // the inputs of a block stay in L1
      const int packs = m_ - at < P ? m_ - at : P;
      int j = 0;
      for (; packs == P && j + kUnits <= h_; j += kUnits) {
        bool together = true;
        for (int k = 0; k < kUnits; ++k) together &= into_[j + k] != 0;
        if (together) freeze_units<kUnits, P>(theta, x + at, j, &z0(j, at));
        else
          for (int k = 0; k < kUnits; ++k) freeze_unit(theta, x + at, j + k, P, &z0(j + k, at));
      }
      for (; j < h_; ++j) freeze_unit(theta, x + at, j, packs, &z0(j, at));
      for (j = 0; j < h_; ++j) {
        S* z = &z0(j, at);
        if (biases && !entry_[s_.bias[0] + j])
          for (int p = 0; p < packs; ++p) z[p] += theta[s_.bias[0] + j] * x[i_ * m_ + at + p];
        if (s_.gained) gain_unit(theta, j, at, packs, z);
        else if (into_[j] && !(biases && entry_[s_.bias[0] + j]) && !any_learns(s_.weight[1] + j, o_, h_))
          activate_all(s_.activation, z, packs);
      }
    }
  }
  // z, where a pre-activation is, becomes what the unit sends as far as that is frozen.
  void gain_unit(const T* theta, int j, int at, int packs, S* z) const {
    activate_all(s_.activation, z, packs);
    const bool learns = entry_[s_.gain[0] + j] != 0;
    const T gain = theta[s_.gain[0] + j];
    for (int p = 0; p < packs; ++p) {
      u_[j * m_ + at + p] = z[p];
      z[p] = learns ? S{} : z[p] * gain;
    }
  }
  void freeze_unit(const T* theta, const S* x, int j, int packs, S* z) const {
    for (int p = 0; p < packs; ++p) z[p] = S{};
    for (int q = 0, flat = s_.weight[0] + j * i_; q < i_; ++q, ++flat)
      if (!entry_[flat])
        for (int p = 0; p < packs; ++p) z[p] += theta[flat] * x[q * m_ + p];
  }
  template <int K, int U>
  SL_INLINE void freeze_units(const T* theta, const S* x, int j, S* z) const {
    S sum[K][U] = {};
    const T* W1 = opaque(theta + s_.weight[0] + j * i_);
    for (int q = 0; q < i_; ++q, x += m_)
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int p = 0; p < U; ++p) sum[k][p] += W1[k * i_ + q] * x[p];
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) z[k * P + p] = sum[k][p];
  }

  SL_INLINE void put_outgoing() {
    const T* w = weights() + incoming_;
    for (int k = 0; k < slots_ - incoming_; ++k) W2_[out_[k].unit * o_ + out_[k].output] = w[k];
  }

  static void pack_row(const T* from, int samples, int packs, S* to) {
    for (int p = samples / L; p < packs; ++p) to[p] = S{};
    __builtin_memcpy(to, from, sizeof(T) * static_cast<size_t>(samples));
  }
  void take_slot(int flat, const T* theta) {
    which_[slots_] = entry_[flat] - 1;
    lane(theta_ + slots_ / L, slots_ % L) = theta[flat];
    ++slots_;
  }

  template <int O>
  __attribute__((noinline)) T sweep(bool want) {
    S loss{};
    int at = 0;
    for (; at + P <= m_; at += P) loss += block<P, O>(at, want);
    if (at < m_) loss += block<P / 2, O>(at, want);
    return total_of<S>(loss);
  }

  // Forward and back for the U packs of samples from `at` on; O outputs in registers, or any number in memory (0).
  template <int U, int O>
  SL_INLINE S block(int at, bool want) {
    const int o = O ? O : o_;
    S few[O ? O * U : 1];
    S* y = O ? few : e_;
#pragma GCC unroll 2
    for (int e = 0; e < o; ++e)
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) y[e * U + p] = t0_[e * m_ + at + p];
    const T* w = weights();
    const S* const* row = row_;
    const S* z0 = z0_ + static_cast<size_t>(at / P) * h_ * P;
    if (O == 0 && biases_only_) {
      for (int u = 0; u < live_; u += kTile) {
        const int end = u + kTile < live_ ? u + kTile : live_;
        with_bias<U>(u, end, at, z0);
        send_many<U>(u, end, y);
      }
    } else {
      for (int u = 0; u < live_; ++u) {
        S z[U];
#pragma GCC unroll 4
        for (int p = 0; p < U; ++p) { z[p] = z0[unit_[u] * P + p]; }
        int n = into_[u];
        for (; n >= 4; n -= 4, w += 4, row += 4) weigh<4, U>(w, row, at, z);
        switch (n) {
          case 3: weigh<3, U>(w, row, at, z); break;
          case 2: weigh<2, U>(w, row, at, z); break;
          case 1: weigh<1, U>(w, row, at, z); break;
          default: break;
        }
        w += n;
        row += n;
        S* act = act_ + u * P;
        if (activation_ == Activation::relu) {
#pragma GCC unroll 4
          for (int p = 0; p < U; ++p) z[p] = rectified(z[p]);
        } else if (activation_ == Activation::tanh) {
#pragma GCC unroll 4
          for (int p = 0; p < U; ++p) act[p] = z[p];
          all_tanh(act, U);
#pragma GCC unroll 4
          for (int p = 0; p < U; ++p) z[p] = act[p];
        }
#pragma GCC unroll 4
        for (int p = 0; p < U; ++p) act[p] = z[p];
        if constexpr (O > 0) send<U, O>(u, z, y);
        else if (u % kTile == kTile - 1 || u + 1 == live_) send_many<U>(u / kTile * kTile, u + 1, y);
      }
    }
    if (ones_) {
      S one[U];
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) one[p] = act_[live_ * P + p] = ones_[at + p];
      send<U, O>(live_, one, y);
    }
    S loss{};
    if (!O && softmax()) {
      for (int p = 0; p < U; ++p) loss += softmax_loss(y + p, target_ + at + p, o, U, m_, y + p);
      for (int k = 0; k < o * U; ++k) y[k] *= T(0.5);  // back() takes half of e
    } else {
#pragma GCC unroll 2
      for (int e = 0; e < o; ++e)
#pragma GCC unroll 4
        for (int p = 0; p < U; ++p) loss += y[e * U + p] * y[e * U + p];
    }
    if (want) back<U, O>(at, y);
    return loss;
  }

  // Activities of units `begin` up to `end` where of what they read only a bias learns.
  template <int U>
  __attribute__((noinline)) void with_bias(int begin, int end, int at, const S* z0) {
    S one[U];
#pragma GCC unroll 4
    for (int p = 0; p < U; ++p) one[p] = row_[0][at + p];
    const T* w = weights();
    for (int u = begin; u < end; ++u) {
      S z[U];
      S* act = act_ + u * P;
      const S* from = z0 + unit_[u] * P;
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) {
        z[p] = from[p] + w[u] * one[p];
        if (activation_ == Activation::relu) z[p] = rectified(z[p]);
        act[p] = z[p];
        __builtin_prefetch(from + kAhead * P + p);
      }
    }
    if (activation_ == Activation::tanh) all_tanh(act_ + begin * P, (end - begin) * P);
  }
  template <int U>
  __attribute__((noinline)) void back_to_biases(int at, const S* y) {
    S one[U];
#pragma GCC unroll 4
    for (int p = 0; p < U; ++p) one[p] = row_[0][at + p];
    int u = 0;
    for (; u + kUnits <= live_; u += kUnits) back_to_bias<kUnits, U>(u, at == 0, one, y);
    for (; u < live_; ++u) back_to_bias<1, U>(u, at == 0, one, y);
  }
  template <int K, int U>
  SL_INLINE void back_to_bias(int u, bool begins, const S* one, const S* y) {
    S d[K][U];
    errors_of<K, U, 0>(u, y, d);
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
      const S* act = act_ + (u + k) * P;
      S sum = begins ? S{} : g_[u + k];
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) {
        if (activation_ == Activation::relu) d[k][p] = gate_by(act[p], d[k][p]);
        else if (activation_ == Activation::tanh) d[k][p] -= act[p] * act[p] * d[k][p];
        sum += d[k][p] * one[p];
      }
      g_[u + k] = sum;
    }
  }

  // Activities of units `begin` up to `end` to all outputs.
  template <int U>
  SL_INLINE void send_many(int begin, int end, S* y) const {
    int e = 0;
    for (; e + kRows <= o_; e += kRows) send_tile<kRows, U>(begin, end, e, y);
    if constexpr (kRows > 4) {
      if (o_ - e == 4) return send_tile<4, U>(begin, end, e, y);
      if (o_ - e == 3) return send_tile<3, U>(begin, end, e, y);
      if (o_ - e == 2) return send_tile<2, U>(begin, end, e, y);
    }
    if (o_ - e == 1) send_tile<1, U>(begin, end, e, y);
  }
  template <int K, int U>
  __attribute__((noinline)) void send_tile(int begin, int end, int e, S* y) const {
    S sum[K][U];
#pragma GCC unroll 5
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) sum[k][p] = y[(e + k) * U + p];
    const int o = o_;
    const T* W2 = opaque(W2_ + begin * o + e);
    const S* act = act_ + begin * P;
    for (int u = begin; u < end; ++u, W2 += o, act += P) {
      S z[U];
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) {
        z[p] = act[p];
        hold(z[p]);
      }
#pragma GCC unroll 5
      for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int p = 0; p < U; ++p) sum[k][p] += W2[k] * z[p];
    }
#pragma GCC unroll 5
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) y[(e + k) * U + p] = sum[k][p];
  }

  template <int N, int U>
  SL_INLINE void weigh(const T* w, const S* const* row, int at, S* z) const {
#pragma GCC unroll 4
    for (int t = 0; t < N; ++t) {
      const S* x = row[t] + at;
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) z[p] += w[t] * x[p];
    }
  }

  template <int U, int O>
  SL_INLINE void send(int u, const S* z, S* y) const {
    const int o = O ? O : o_;
    const T* W2 = W2_ + u * o;
#pragma GCC unroll 2
    for (int e = 0; e < o; ++e)
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) y[e * U + p] += W2[e] * z[p];
  }

  // y holds y - y*: half of e, and the gradients are doubled at the end.
  template <int U, int O>
  SL_INLINE void back(int at, const S* y) {
    const int o = O ? O : o_;
    const bool begins = at == 0;
    const S* const* row = row_;
    S* g = g_;
    int u = 0;
    if (O == 0 && biases_only_) {
      back_to_biases<U>(at, y);
      g += live_;
      u = live_;
    }
    if constexpr (O == 0)
      for (; u + kUnits <= live_; u += kUnits) {
        int learn = 0;
        for (int k = 0; k < kUnits; ++k) learn += into_[u + k];
        if (learn == 0) continue;
        S d[kUnits][U];
        errors_of<kUnits, U, O>(u, y, d);
        for (int k = 0; k < kUnits; ++k) collect_unit<U>(u + k, at, d[k], row, g, begins);
      }
    for (; u < live_; ++u) {
      if (into_[u] == 0) continue;
      S d[1][U];
      errors_of<1, U, O>(u, y, d);
      collect_unit<U>(u, at, d[0], row, g, begins);
    }
    const int outgoing = slots_ - incoming_;
    if (O && outgoing > 0)
      for (int k = 0; k < o * U; ++k) e_[k] = y[k];
    for (int k = 0; k < outgoing; ++k) {
      const S *act = act_ + out_[k].unit * P, *e = e_ + out_[k].output * U;
      S sum = begins ? S{} : g[k];
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) sum += e[p] * act[p];
      g[k] = sum;
    }
  }

  // d[k] = sum_e W2_ek y_e for K units from u on.
  template <int K, int U, int O>
  SL_INLINE void errors_of(int u, const S* y, S (&d)[K][U]) const {
    const int o = O ? O : o_;
    const T* W2 = opaque(W2_ + u * o);
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) d[k][p] = W2[k * o] * y[p];
#pragma GCC unroll 2
    for (int e = 1; e < o; ++e) {
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int p = 0; p < U; ++p) d[k][p] += W2[k * o + e] * y[e * U + p];
    }
  }
  // Gradients of the weights into one unit, whose slots begin at row and g; d becomes its delta.
  template <int U>
  SL_INLINE void collect_unit(int u, int at, S* d, const S* const*& row, S*& g, bool begins) const {
    int n = into_[u];
    if (n == 0) return;
    const S* act = act_ + u * P;
    if (activation_ == Activation::relu) {
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) d[p] = gate_by(act[p], d[p]);
    } else if (activation_ == Activation::tanh) {
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) d[p] -= act[p] * act[p] * d[p];
    }
    for (; n >= 4; n -= 4, g += 4, row += 4) collect<4, U>(row, at, d, g, begins);
    switch (n) {
      case 3: collect<3, U>(row, at, d, g, begins); break;
      case 2: collect<2, U>(row, at, d, g, begins); break;
      case 1: collect<1, U>(row, at, d, g, begins); break;
      default: break;
    }
    g += n;
    row += n;
  }

  template <int N, int U>
  SL_INLINE void collect(const S* const* row, int at, const S* d, S* g, bool begins) const {
#pragma GCC unroll 4
    for (int t = 0; t < N; ++t) {
      const S* x = row[t] + at;
      S sum = begins ? S{} : g[t];
#pragma GCC unroll 4
      for (int p = 0; p < U; ++p) sum += d[p] * x[p];
      g[t] = sum;
    }
  }

  static __attribute__((noinline)) void all_tanh(S* z, int count) {  // its constants must not take the registers of relu
    for (int k = 0; k < count; ++k) z[k] = tanh_of(z[k]);
  }

  const Shape& s_;
  const int i_, h_, o_, m_;  // m_: packs of samples
  const Learner* const shared_;
  const Activation activation_;  // of what is not frozen
  S *z0_, *t0_, *target_;  // [m / P][h][P], [o][m]: frozen parts of pre-activations, and of y - y* (with softmax of y; y* by itself)
  S* u_;  // [h][m]: activities before gains
  S *act_, *e_;  // [live + 1][P], [o][P]: activities and y - y* of one block
  S* g_;  // [slots]: gradients before the sum over lanes
  const S** row_;  // [slots]: what a learnable weight of the first layer reads
  Outgoing* out_;
  int* which_;  // [slots]: place in the student's list of indices
  int *into_, *unit_;  // [live]: learnable weights into a live unit, and which unit that is
  T* W2_;  // [live + 1][o]
  int* entry_;  // [size]: place in that list + 1, 0 where frozen; in begin() only
  const S* ones_ = nullptr;  // the unit that is always 1, where a bias of the outputs learns
  int live_ = 0, incoming_ = 0;
  bool biases_only_ = false;
};

template <class T>
struct Pieces {
  const SomeStudents<T>* some;
  int64_t students;  // in one piece
  const Learner<T>* frozen;  // holds the frozen parts of all of them; or null
};

template <class T>
void descend_students(void* context, int worker, int64_t piece, Control& control) {
  using S = Pack<T>;
  const Pieces<T>& pieces = *static_cast<const Pieces<T>*>(context);
  const SomeStudents<T>& some = *pieces.some;
  const DescendArgs<T>& a = *some.args;
  const Students<T>& in = a.students;
  const Shape& s = *in.shape;
  const size_t inputs = Learner<T>::input_packs(s);
  Scratch scratch;
  S* x[2] = {take_array<S>(scratch, inputs), in.x_stride ? take_array<S>(scratch, inputs) : nullptr};
  if (in.x_stride == 0) Learner<T>::pack_inputs(s, in.x, x[0]);
  const int64_t begin = piece * pieces.students, end = begin + pieces.students < some.count ? begin + pieces.students : some.count;
  auto descend_some = [&](Learner<T>* learner, int most) {
    for (int64_t first = begin; first < end && !control.stopped(); first += most) {
      const int count = end - first < most ? 1 : most;
      for (int k = 0; k < count; ++k) {
        const int64_t b = some.student(first + k);
        if (in.x_stride) Learner<T>::pack_inputs(s, in.x + b * in.x_stride, x[k]);
        learner[k].begin(b, in.x_stride ? x[k] : x[0]);
      }
      UpdateRule<T> rule(a);
      for (int64_t step = 0;; ++step) {
        const bool one = learner[0].evaluate(step), two = count == 2 && learner[1].evaluate(step);
        if (!one && !two) break;
        if ((step & 255) == 255 && control.should_stop(worker)) return;
        rule.next_step();
        if (one) learner[0].update(rule);
        if (two) learner[1].update(rule);
      }
      for (int k = 0; k < count; ++k) learner[k].finish();
    }
  };
  if (Learner<T>::frozen_packs(s) < kLarge) {
    Learner<T> pair[2] = {Learner<T>(a, scratch, pieces.frozen), Learner<T>(a, scratch, pieces.frozen)};
    descend_some(pair, 2);
  } else {
    Learner<T> one(a, scratch, pieces.frozen);
    descend_some(&one, 1);
  }
}

}  // namespace

// Time of a step in multiply-adds of packs, fitted to both ways on Zen 5 (2026-11-21, AVX-512, 14 % off; with 16 registers students in the
// lanes keep less of a tile in them).
template <class T>
bool descends_by_samples(const Shape& s, const int* indices, int learnable) {
  if (s.kind != Kind::feedforward || s.layers != 2) return false;
  for (int k = 0; s.gained && k < learnable; ++k) {
    const Place place = place_of(s, indices[k]);
    if (place.group == 0 && place.kind != GroupKind::gain) return false;
  }
  const double i = s.widths[0], h = s.widths[1], o = s.widths[2], r = learnable;
  const double packs = (s.samples + P / 2 * kLanes<T> - 1) / (P / 2 * kLanes<T>)*(P / 2);
  const double live = h * (1 - std::pow(1 - r / s.size, i + o));  // units with a learnable weight, if these are scattered
  const double by_samples = packs * (2.7 * r + live * (2.7 + 3.1 * o)) - 1.7 * r + 107;
  const double in_lanes = s.samples * (2 * i * h + 3 * o * h) / kLanes<T> * (kRegisters >= 32 ? 1.0 : 1.2);
  return by_samples < in_lanes;
}

template <class T>
void descend_by_samples(const SomeStudents<T>& some, Control& control) {
  const int threads = some.args->threads;
  int64_t students = some.count / (4 * worker_count(some.count, threads)) / 2 * 2;
  students = students < 2 ? 2 : students > kStudents ? kStudents : students;
  Pieces<T> pieces{&some, students, nullptr};
  const DescendArgs<T>& a = *some.args;
  const Students<T>& in = a.students;
  auto run = [&] { parallel_for((some.count + students - 1) / students, threads, control, descend_students<T>, &pieces); };
  Scratch scratch;
  if (in.theta_stride == 0 && in.x_stride == 0 && a.index_stride == 0 && some.count > 1) {
    Pack<T>* x = take_array<Pack<T>>(scratch, Learner<T>::input_packs(*in.shape));
    Learner<T>::pack_inputs(*in.shape, in.x, x);
    Learner<T> first(a, scratch);
    first.begin(some.student(0), x);
    pieces.frozen = &first;
    return run();
  }
  run();
}

template bool descends_by_samples<float>(const Shape&, const int*, int);
template bool descends_by_samples<double>(const Shape&, const int*, int);
template void descend_by_samples<float>(const SomeStudents<float>&, Control&);
template void descend_by_samples<double>(const SomeStudents<double>&, Control&);

}  // namespace SL_ISA
}  // namespace sl
