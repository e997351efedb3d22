// recurrent.h: ONE recurrent network (D1) in any scalar: outputs, gradient, Jacobian.
//
//   z_t = [x_t ; h_{t-1} ; 1]                (one row of the table z, t = 1..T; h_0 = 0)
//   h_t = phi([B W b] z_t),  y_t = D h_t + c
//   gradient:  delta_t = phi'_t * (D^T e_t + W^T delta_{t+1})       e_t = dL/dy_t
//              dL/d[B W b] = sum_t delta_t z_t^T,  dL/dD = sum_t e_t h_t^T,  dL/dc = sum_t e_t
//   Jacobian:  A(t, e, s) = d y_t[e] / d (pre-activation of step s), s <= t, by adjoint chains;
//              column of a weight in [B W b] at row a, column k:  J[t, e] = sum_{s <= t} A(t, e, s)[a] z_s[k]
//              column of D[e', a]:  J[t, e] = [e = e'] h_t[a];     of c[e']: [e = e'].
//   For linear phi, A depends on t - s only (T o chains' entries instead of T^2 o / 2).
// Beyond a plain network, with a leak a, gains g and a given h_0:
//   f_t = phi([B W b] z_t),  s_t = s_{t-1} + a (f_t - s_{t-1}),  h_t = g * s_t  for t >= 1;  s_0 = h_0 as given, without gains
//   z_t = [x_t ; h_{t-1} ; 1 ; s_t (with gains) ; f_t (with a leak)]
//   H_t = dL/dh_t = D^T e_t + W^T delta_{t+1},  sigma_t = g * H_t + (1 - a) sigma_{t+1},  delta_t = a phi'_t * sigma_t,
//   dL/dg = sum_t H_t * s_t
//   rows of delta and A: [d / d (pre-activation) ; 0 of unused slots ; d / dh (with gains)]: a gain's column is then one like all others.
// Several sequences lie one behind the other, in z with T + 1 rows each, in everything else with T.
//
// S is the scalar: float, double, a pack of them, Complex, ModP. N is the hidden size of a plain network, or 0: any, at run time.
// C is the entry type of the tables (S, or see scalar/lanes.h).
// All tables live in scratch memory given by the caller (a pack of 8 doubles at n = 8, T = 6: 7 KB of tables and weights).
// Cost of a forward pass T n (n + i + o) multiply-adds, of a gradient the same twice, of a Jacobian T o n^2 + r T^2 o / 2.
#pragma once
#include "core/scratch.h"
#include "core/shape.h"
#include "network/activation.h"
#include "network/slots.h"
#include "network/tiles.h"

namespace sl {
namespace SL_ISA {

template <class S, int N = 0, class C = S>
class Recurrent {
 public:
  static constexpr int L = Traits<S>::lanes;
  static constexpr bool kPlain = N > 0;
  const C* hidden = nullptr;  // given activities [T * n] for tanh over GF(p); null otherwise

  // Bytes of a strip of a CUDA kernel. What the tables are for: outputs and either gradients or Jacobians, or all three. Without the chains
  // of the Jacobian they grow with T, not with its square.
  SL_HD static size_t scratch_bytes(const Shape& s, Tables tables = Tables::all) {
    const size_t T = s.steps, n = s.hidden, o = s.outputs, M = s.samples, extra = (s.g >= 0 ? n : 0),
                 R = s.inputs + n + 1 + extra + (s.leak != 1 ? n : 0);
    const size_t chains = s.activation == Activation::linear ? T * o : M * T * o * T, step = n + 1 + extra;
    return sizeof(C) * (M * (T + 1) * R + M * T * n + (tables != Tables::jacobian ? M * T * (extra ? step : n) : 0) +
                        (tables != Tables::gradient ? chains * step + T + T * o : 0) + (s.leak != 1 ? n : 0));
  }

  template <class Memory>
  SL_HD Recurrent(const Shape& s, Memory& scratch, Tables tables = Tables::all)
      : shape_(s), i_(s.inputs), n_(N ? N : s.hidden), o_(s.outputs), T_(s.steps), M_(s.samples),
        R_(s.inputs + s.hidden + 1 + (s.g >= 0 ? s.hidden : 0) + (s.leak != 1 ? s.hidden : 0)),
        delta_step_(s.g >= 0 ? 2 * s.hidden + 1 : s.hidden), A_step_(s.g >= 0 ? 2 * s.hidden + 1 : s.hidden + 1),
        linear_(s.activation == Activation::linear), extra_(s.g >= 0 || s.leak != 1), leak_(Number<S>::of(s.leak)) {
    const size_t T = T_, n = n_, o = o_, M = M_;
    const size_t chains = linear_ ? T * o : M * T * o * T;
    z_ = take_array<C>(scratch, M * (T + 1) * R_);
    drive_ = take_array<C>(scratch, M * T * n);
    if (s.leak != 1) sigma_ = take_array<C>(scratch, n);
    if (tables != Tables::jacobian) delta_ = take_array<C>(scratch, M * T * delta_step_);
    if (tables == Tables::gradient) return;
    A_ = take_array<C>(scratch, chains * A_step_);
    right_ = take_array<C>(scratch, T);
    left_ = take_array<C>(scratch, T * o);
  }

  SL_HD C* input(int flat) {
    if (kPlain || shape_.plain()) return z_ + (flat / i_) * R_ + flat % i_;
    const int of_x = M_ * T_ * i_;
    if (flat >= of_x) return z_ + (flat - of_x) / n_ * (T_ + 1) * R_ + i_ + (flat - of_x) % n_;
    const int row = flat / i_;
    return z_ + (row / T_ * (T_ + 1) + row % T_) * R_ + flat % i_;
  }
  // What the last layer reads in step t of a plain network, n values, after forward().
  SL_HD const C* read_by_last(int t) const { return z_ + (t + 1) * R_ + i_; }
  SL_HD void inputs_ready(S one) {
    for (int t = 0; t < M_ * (T_ + 1); ++t) z_[t * R_ + i_ + n_] = one;
  }

  // For memory that does not come zeroed: the entries that are read and never computed (h_0, the row of unused slots).
  SL_HD void blank() {
    if (!starts())
      for (int m = 0; m < sequences(); ++m)
        for (int a = 0; a < n_; ++a) z_[m * (T_ + 1) * R_ + i_ + a] = S{};
    const int chains = !A_ ? 0 : linear_ ? T_ * o_ : M_ * T_ * o_ * T_;
    for (int q = 0; q < chains; ++q) A_[q * A_step() + n_] = S{};
  }

  // Tells which groups may change between calls: the drive B x_t + b is computed once where it is fixed.
  SL_HD void learn(const bool* group_learns) {
    learns_B_ = group_learns[0];
    learns_W_ = group_learns[1];
    learns_D_ = group_learns[2];
    int g = 3;
    learns_b_ = shape_.b >= 0 && group_learns[g++];
    learns_c_ = shape_.c >= 0 && group_learns[g++];
    learns_g_ = shape_.g >= 0 && group_learns[g];
    drive_fixed_ = !learns_B_ && !learns_b_;
    second_ = drive_fixed_ && !learns_g_ && !starts();
  }
  // Equations before this one cannot depend on a learnable weight (y_1 does not see W).
  SL_HD int first_equation() const { return sequences() > 1 || !second_ || learns_D_ || learns_c_ ? 0 : (T_ > 1 ? o_ : 0); }

  SL_HD void prepare(const C* theta) {
    const int n = N ? N : n_;
    for (int t = 0, row = 0; t < sequences() * T_; ++t, ++row) {
      if (sequences() > 1 && t > 0 && t % T_ == 0) ++row;
      C* u = drive_ + t * n;
      for (int a = 0; a < n; ++a) u[a] = shape_.b >= 0 ? S(theta[shape_.b + a]) : S{};
      rows_times(theta + shape_.B, i_, z_ + row * R_, n, i_, u);
    }
  }

  SL_HD void forward(const C* theta, C* y) {
    if (!drive_fixed_) prepare(theta);
    for (int m = 0; m < sequences(); ++m) forward_sequence(theta, m, y + m * T_ * o_);
  }

  // delta_t for every step that a learnable weight acts in.
  SL_HD void adjoints(const C* theta, const C* e) {
    if (!(learns_B_ || learns_W_ || learns_b_ || learns_g_)) return;
    for (int m = 0; m < sequences(); ++m) adjoints_of_sequence(theta, m, e + m * T_ * o_);
  }

  // g[k] = dL/dtheta[k] for every weight of the groups that learn; needs the state of forward(theta).
  SL_HD void gradient(const C* theta, const C* e, C* g) {
    adjoints(theta, e);
    for (int m = 0; m < sequences(); ++m) gradient_of_sequence(m, e + m * T_ * o_, g);
  }

  // The gradient of one weight after `adjoints`: T products, where gradient() takes n^2 T for all weights of W.
  SL_HD S gradient_at(const C* e, SlotPlace p) const {
    S sum{};
    for (int m = 0; m < sequences(); ++m) {
      const C *left = delta_ + m * T_ * delta_step() + p.left, *right = z_ + m * (T_ + 1) * R_ + p.right;
      if (p.direct >= 0) {
        left = e + m * T_ * o_ + p.direct, right = z_ + (m * (T_ + 1) + 1) * R_ + p.direct_right;
        for (int t = 0; t < T_; ++t, left += o_, right += R_) sum += S(*left) * S(*right);
      } else {
        int t = 0;
        if (second_) ++t, left += delta_step(), right += R_;
        for (; t < T_; ++t, left += delta_step(), right += R_) sum += S(*left) * S(*right);
      }
    }
    return sum;
  }

  // Fills the chains A for the state of forward(theta).
  SL_HD void sensitivities(const C* theta) {
    const int n = N ? N : n_;
    const C* D = theta + shape_.D;
    if (linear_) {
      for (int e = 0; e < o_; ++e)
        for (int q = 0; q < T_; ++q) {
          C* to = A_ + (q * o_ + e) * A_step();
          if (q == 0)
            for (int a = 0; a < n; ++a) to[a] = D[e * n + a];
          else chain_step(theta + shape_.W, to - o_ * A_step(), to);
          if (extra()) to_pre_activation(shape_, theta, leak_, z_, R_, q == 0, sigma_, to);
        }
    } else {
      for (int m = 0; m < sequences(); ++m) sensitivities_of_sequence(theta, m);
    }
  }

  // out[e] = d y_e / ds after forward(theta), while theta and x move with given speeds: rate(k) of weight k, drift(k) of input k.
  // Plain linear networks:  h'_t = W h'_{t-1} + W' h_{t-1} + B x'_t + B' x_t + b',  y'_t = D h'_t + D' h_t + c'.
  // work: [speed_entries]. Cost: twice a forward pass (a jet, values along with speeds, would be three times).
  SL_HD static size_t speed_entries(const Shape& s) { return 2 * static_cast<size_t>(s.hidden); }
  template <class Rate, class Drift>
  SL_HD void speeds(const C* theta, const Rate& rate, const Drift& drift, C* work, C* out) {
    constexpr bool kSplit = N > 0 && N <= 8 && kSplitSteps;  // in the order of forward()
    const int n = N ? N : n_;
    const C *W = theta + shape_.W, *D = theta + shape_.D;
    C *last = work, *now = work + n;
    for (int t = 0; t < T_; ++t) {
      const C *x = z_ + t * R_, *before = x + i_, *h = z_ + (t + 1) * R_ + i_;
      for (int a = 0; a < n; ++a) {
        S sum = shape_.b >= 0 ? S(rate(shape_.b + a)) : S{};
        for (int j = 0, at = shape_.B + a * i_; j < i_; ++j) add_speed(sum, S(theta[at + j]), rate(at + j), S(x[j]), drift(t * i_ + j));
        if (t > 0) {
          S odd{};
          SL_UNROLL(8)
          for (int j = 0; j < n; ++j)
            add_speed(kSplit && (j & 1) ? odd : sum, S(W[a * n + j]), rate(shape_.W + a * n + j), S(before[j]), S(last[j]));
          if (kSplit) sum += odd;
        }
        now[a] = sum;
      }
      for (int e = 0; e < o_; ++e) {
        S sum = shape_.c >= 0 ? S(rate(shape_.c + e)) : S{};
        SL_UNROLL(8)
        for (int a = 0; a < n; ++a) add_speed(sum, S(D[e * n + a]), rate(shape_.D + e * n + a), S(h[a]), S(now[a]));
        out[t * o_ + e] = sum;
      }
      C* swap = last;
      last = now;
      now = swap;
    }
  }

  SL_HD SlotPlace place(int flat) const {
    if (flat >= shape_.size) return {n_, 0, -1, 0};  // an unused slot: left position n holds zeros
    const Place p = place_of(shape_, flat);
    switch (p.group) {
      case 'B': return {p.row, p.col, -1, 0};
      case 'W': return {p.row, i_ + p.col, -1, 0};
      case 'b': return {p.row, i_ + n_, -1, 0};
      case 'D': return {n_, 0, p.row, i_ + p.col};
      case 'g': return {n_ + 1 + p.row, i_ + n_ + 1 + p.row, -1, 0};
      default: return {n_, 0, p.row, i_ + n_};
    }
  }

  // out[(t o + e) * stride] = J[t, e] of slot k, for equations from `first` on.
  template <class I>
  SL_HD void column(const Slots<L, I>& slots, int k, int first, C* out, int stride) {
    for (int m = 0; m < sequences(); ++m) column_of_sequence(slots, k, m, first, out + m * T_ * o_ * stride, stride);
  }

 protected:
  SL_HD int sequences() const { return kPlain ? 1 : M_; }
  SL_HD bool starts() const { return !kPlain && shape_.start; }
  SL_HD bool extra() const { return !kPlain && extra_; }
  SL_HD int delta_step() const { return kPlain ? N : delta_step_; }
  SL_HD int A_step() const { return kPlain ? N + 1 : A_step_; }

  template <class I>
  SL_HD void column_of_sequence(const Slots<L, I>& slots, int k, int m, int first, C* out, int stride) {
    const I *left = slots.left + k * L, *right = slots.right + k * L;
    const bool same = slots.same;
    const int t0 = first / o_;
    const C* const z = z_ + m * (T_ + 1) * R_;
    for (int s = 0; s < T_; ++s) right_[s] = gather(z + s * R_, right, same);
    if (linear_) {
      for (int q = 0; q < T_ * o_; ++q) left_[q] = gather(A_ + q * A_step(), left, same);
      for (int t = t0; t < T_; ++t)
        for (int e = 0; e < o_; ++e) {
          S sum = S(left_[t * o_ + e]) * S(right_[0]);
          for (int s = 1; s <= t; ++s) sum += S(left_[(t - s) * o_ + e]) * S(right_[s]);
          out[(t * o_ + e) * stride] = sum;
        }
    } else {
      for (int t = t0; t < T_; ++t)
        for (int e = 0; e < o_; ++e) {
          S sum{};
          for (int s = 0; s <= t; ++s) sum += gather(chain(m, t, e, s), left, same) * S(right_[s]);
          out[(t * o_ + e) * stride] = sum;
        }
    }
    if (slots.any_direct(k)) {
      const I* direct = slots.direct + k * L;
      for (int t = t0; t < T_; ++t) {
        const S h = gather(z + (t + 1) * R_, slots.direct_right + k * L, same);
        for (int l = 0; l < L; ++l)
          if (direct[l] >= 0) add_lane(out + (t * o_ + direct[l]) * stride, l, h);
      }
    }
  }

  SL_HD void sensitivities_of_sequence(const C* theta, int m) {
    const int n = N ? N : n_;
    const C *W = theta + shape_.W, *D = theta + shape_.D;
    const C* const z = z_ + m * (T_ + 1) * R_;
    for (int t = 0; t < T_; ++t)
      for (int e = 0; e < o_; ++e)
        for (int s = t; s >= 0; --s) {
          C* to = chain(m, t, e, s);
          if (s == t)
            for (int a = 0; a < n; ++a) to[a] = D[e * n + a];
          else chain_step(W, chain(m, t, e, s + 1), to);
          if (extra()) to_pre_activation(shape_, theta, leak_, z + s * R_, R_, s == t, sigma_, to);
          else times_slope_all(shape_.activation, z + (s + 1) * R_ + i_, to, n);
        }
  }

  SL_HD void forward_sequence(const C* theta, int m, C* y) {
    const int n = N ? N : n_;
    const C *W = theta + shape_.W, *D = theta + shape_.D;
    C* const z = z_ + m * (T_ + 1) * R_;
    S state[N ? N : 1] = {};  // h_{t-1}, in registers for compiled-in sizes
    if constexpr (N > 0 && N <= 8) {
      if (starts()) {
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) state[a] = z[i_ + a];
      }
    }
    for (int t = 0; t < T_; ++t) {
      C* h = z + (t + 1) * R_ + i_;
      const C* u = drive_ + (m * T_ + t) * n;
      if constexpr (N > 0 && N <= 8) {
        S acc[N];
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) acc[a] = u[a];
        if (t > 0 || starts()) rows_step<N>(W, state, acc);
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) h[a] = acc[a];
      } else {
        for (int a = 0; a < n; ++a) h[a] = u[a];
        if (t > 0 || starts()) rows_times(W, n, z + t * R_ + i_, n, n, h);
      }
      if (hidden)
        for (int a = 0; a < n; ++a) h[a] = hidden[(m * T_ + t) * n + a];
      else if (!linear_) activate_all(shape_.activation, h, n);
      if (extra()) leak_and_gain(shape_, theta, leak_, z + t * R_, R_, t == 0);
      for (int e = 0; e < o_; ++e) y[t * o_ + e] = shape_.c >= 0 ? S(theta[shape_.c + e]) : S{};
      if constexpr (N > 0 && N <= 8) {
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) state[a] = h[a];
        int e = 0;
        for (; e + 2 <= o_; e += 2) rows_tile<2, N>(D + e * N, N, state, N, y + t * o_ + e);
        if (e < o_) rows_tile<1, N>(D + e * N, N, state, N, y + t * o_ + e);
      } else {
        rows_times(D, n, h, o_, n, y + t * o_);
      }
    }
  }

  // From phi(..) of step t, where h_t will be, to h_t.
  // (This and to_pre_activation are functions apart, which see nothing of the object: a kernel then keeps its members in registers.)
  SL_APART static void leak_and_gain(const Shape& shape, const C* theta, S leak, C* row, int R, bool first) {
    const int i = shape.inputs, n = shape.hidden;
    C *h = row + R + i, *s = row + i + n + 1, *f = row + R - n;
    const bool gains = shape.g >= 0, leaks = shape.leak != 1;
    for (int a = 0; a < n; ++a) {
      S now = h[a];
      if (leaks) {
        f[a] = now;
        // s_{t-1} is in the row before where gains act on it, and h_{t-1} elsewhere.
        const S before = !first && gains ? S(s[a - R]) : !first || shape.start ? S(row[i + a]) : S{};
        now = before + (now - before) * leak;
      }
      if (gains) {
        s[a] = now;
        now = now * S(theta[shape.g + a]);
      }
      h[a] = now;
    }
  }
  SL_HD void adjoints_of_sequence(const C* theta, int m, const C* e) {
    const int n = N ? N : n_;
    const C *W = theta + shape_.W, *D = theta + shape_.D;
    const C* const z = z_ + m * (T_ + 1) * R_;
    C* const delta = delta_ + m * T_ * delta_step();
    S after[N ? N : 1] = {};  // delta_{t+1}
    for (int t = T_ - 1; t >= 0; --t) {
      C* d = delta + t * delta_step();
      if (t == 0 && second_) break;  // delta_1 is not needed for W
      const C* h = z + (t + 1) * R_ + i_;
      if constexpr (N > 0 && N <= 8) {
        S acc[N] = {};
        cols_tile<N>(D, N, e + t * o_, o_, acc);
        if (t + 1 < T_) cols_step<N>(W, after, acc);
        if (extra()) {
          SL_UNROLL(8)
          for (int a = 0; a < N; ++a) d[a] = acc[a];
          to_pre_activation(shape_, theta, leak_, z + t * R_, R_, t + 1 == T_, sigma_, d);
          SL_UNROLL(8)
          for (int a = 0; a < N; ++a) after[a] = d[a];
          continue;
        }
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) after[a] = acc[a];
        if (!linear_) times_slope_all(shape_.activation, h, after, N);
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) d[a] = after[a];
        continue;
      } else {
        cols_times<true>(D, n, e + t * o_, o_, n, d);
        if (t + 1 < T_) cols_times(W, n, delta + (t + 1) * delta_step(), n, n, d);
      }
      if (extra()) to_pre_activation(shape_, theta, leak_, z + t * R_, R_, t + 1 == T_, sigma_, d);
      else times_slope_all(shape_.activation, h, d, n);
    }
  }

  // H_t in d becomes delta_t; sigma of the step after is in sigma_, and becomes that of this step.
  SL_APART static void to_pre_activation(const Shape& shape, const C* theta, S leak, const C* row, int R, bool last, C* sigma, C* d) {
    const int i = shape.inputs, n = shape.hidden;
    const bool gains = shape.g >= 0, leaks = shape.leak != 1;
    for (int a = 0; a < n; ++a) {
      S now = d[a];
      if (gains) {
        d[n + 1 + a] = now;
        now = now * S(theta[shape.g + a]);
      }
      if (leaks) {
        if (!last) now += S(sigma[a]) - S(sigma[a]) * leak;
        sigma[a] = now;
        now = now * leak;
      }
      d[a] = now;
    }
    times_slope_all(shape.activation, leaks ? row + R - n : gains ? row + i + n + 1 : row + R + i, d, n);
  }

  // Sums over the steps of sequence m; g receives them from the first sequence and adds those of the others.
  SL_HD void gradient_of_sequence(int m, const C* e, C* g) {
    const int n = N ? N : n_;
    const bool more = m > 0;
    const C *z = z_ + m * (T_ + 1) * R_, *delta = delta_ + m * T_ * delta_step();
    auto sums = [&](const C* left, int step, int count, C* out) {
      for (int k = 0; k < count; ++k) {
        S sum = more ? S(out[k]) : S{};
        for (int t = 0; t < T_; ++t) sum += left[t * step + k];
        out[k] = sum;
      }
    };
    if (learns_D_) outer_sums(e, o_, o_, z + R_ + i_, R_, n, T_, g + shape_.D, n, more);
    if (learns_c_) sums(e, o_, o_, g + shape_.c);
    const int first = starts() ? 0 : 1;  // W reads h_0 in step 1
    if (learns_W_ && T_ > first)
      outer_sums(delta + first * delta_step(), delta_step(), n, z + first * R_ + i_, R_, n, T_ - first, g + shape_.W, n, more);
    if (learns_W_ && T_ == first)
      for (int k = 0; k < n * n; ++k) g[shape_.W + k] = S{};
    if (learns_B_) outer_sums(delta, delta_step(), n, z, R_, i_, T_, g + shape_.B, i_, more);
    if (learns_b_) sums(delta, delta_step(), n, g + shape_.b);
    if (learns_g_)
      for (int a = 0; a < n; ++a) {
        S sum = more ? S(g[shape_.g + a]) : S{};
        for (int t = 0; t < T_; ++t) sum += S(delta[t * delta_step() + n + 1 + a]) * S(z[t * R_ + i_ + n + 1 + a]);
        g[shape_.g + a] = sum;
      }
  }

  SL_HD C* chain(int m, int t, int e, int s) { return A_ + (((static_cast<size_t>(m) * T_ + t) * o_ + e) * T_ + s) * A_step(); }
  SL_HD void chain_step(const C* W, const C* from, C* to) {
    const int n = N ? N : n_;
    if constexpr (N > 0 && N <= 8) {
      S acc[N] = {};
      cols_tile<N, N>(W, N, from, N, acc);
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) to[a] = acc[a];
    } else {
      cols_times<true>(W, n, from, n, n, to);
    }
  }

  const Shape& shape_;
  const int i_, n_, o_, T_, M_, R_, delta_step_, A_step_;
  const bool linear_, extra_;
  const S leak_;
  bool learns_B_ = true, learns_W_ = true, learns_D_ = true, learns_b_ = true, learns_c_ = true, learns_g_ = true;
  bool drive_fixed_ = false, second_ = false;  // second_: nothing that learns acts before the second step
  C *z_, *drive_, *sigma_ = nullptr, *delta_ = nullptr, *A_ = nullptr, *right_ = nullptr, *left_ = nullptr;
};

}  // namespace SL_ISA
}  // namespace sl
