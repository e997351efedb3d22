// pattern_proof.h: is there a true relu match (T11) near a numerical one? One layer k of a feedforward network learns.
//
// Within a pattern (which hidden units are on in which sample) the outputs are affine in the pre-activations u_s = [W b] S_s of layer k:
//     f_s = G_s u_s + g_s + b_L,   G_s = V D_{L-1} W_{L-1} .. D_{k+1} W_{k+1} D_k,   D_l = diag(on_l), V = W_L,
// so G_s u_s = y_s - b_L - g_s is linear in [W b], with the entry G_s[q][j] S_s[l] at equation (s, q) and weight (j, l). A square part, at the
// weights with the best pivots, is solved with enclosures; then every unit is evaluated at the solution, and every sign must hold by
// more than its bound: above 0 where it is on, below where it is off. A unit that reads nothing is at 0, and counts as off.
// A sample in which a whole layer is off has a fixed output: the target must be exactly that, which is known where it is b_L or zero. The
// others give o equations each, of which there must be no more than learnable weights.
// The last layer learns (k = L): one linear system per row, over the samples with any feature; in the others the target must be exactly 0.
#pragma once
#include "method/enclosed_solve.h"
#include "network/activation.h"

namespace sl {
namespace SL_ISA {

class PatternProof {
 public:
  using Ball = DoubleDoubleBall;
  // Sizes of the layer that learns; at most `equations` at a time.
  struct Sizes {
    int n, in, width, o, m, widest, columns, equations;
    Sizes(const Shape& s, int k)
        : n(s.widths[k]), in(s.widths[k - 1]), width(in + (s.bias[k - 1] >= 0)), o(s.widths[s.layers]), m(s.samples), widest(1),
          columns(k == s.layers ? width : n * width) {
      for (int l = 0; l <= s.layers; ++l) widest = s.widths[l] > widest ? s.widths[l] : widest;
      const int wanted = k == s.layers ? m : m * o;
      equations = wanted < columns ? wanted : columns;
    }
  };
  PatternProof(const Shape& shape, int k, Scratch& scratch) : s_(shape), k_(k), z_(shape, k), system_(scratch, z_.equations, z_.columns) {
    const size_t m = z_.m, w = z_.widest, n = z_.n, o = z_.o;
    signal_ = take_array<Ball>(scratch, w * m);
    next_ = take_array<Ball>(scratch, w * m);
    S_ = take_array<Ball>(scratch, z_.width * m);
    G_ = take_array<Ball>(scratch, w * n);
    G_next_ = take_array<Ball>(scratch, w * n);
    g_ = take_array<Ball>(scratch, w);
    g_next_ = take_array<Ball>(scratch, w);
    slopes_ = take_array<Ball>(scratch, m * o * n);
    offsets_ = take_array<Ball>(scratch, m * o);
    target_ = take_array<Ball>(scratch, o * m);
    A_ = take_array<Ball>(scratch, static_cast<size_t>(z_.equations) * z_.columns);
    right_ = take_array<Ball>(scratch, z_.equations);
    weights_ = take_array<Ball>(scratch, n * z_.width);
    allowed_ = take_array<bool>(scratch, n * z_.width);
    alive_ = take_array<bool>(scratch, m);
    silent_ = take_array<bool>(scratch, m);
    samples_ = take_array<int>(scratch, m);
  }

  bool prove(double* theta, const double* x, const double* y, const bool* learns, const bool* on) {
    const int m = z_.m, o = z_.o, n = z_.n, width = z_.width;
    start(theta, x, y, learns);
    int count = 0, free = 0;
    for (int s = 0; s < m; ++s) {
      alive_[s] = true;
      for (int l = k_; l < s_.layers; ++l) alive_[s] &= any_on(on, l, s);
      follow_pattern(theta, on, s);
      for (int q = 0; q < o; ++q) {
        offsets_[s * o + q] = target_[q * m + s] - offsets_[s * o + q];  // what G u has to be
        if (!alive_[s] && !is_zero(offsets_[s * o + q])) return false;
      }
      if (alive_[s]) samples_[count++] = s;
    }
    for (int c = 0; c < n * width; ++c) free += allowed_[c];
    if (free < o * count) return false;
    for (int i = 0; i < count; ++i)
      for (int q = 0; q < o; ++q) {
        const int s = samples_[i], row = i * o + q;
        right_[row] = offsets_[s * o + q];
        for (int j = 0; j < n; ++j)
          for (int l = 0; l < width; ++l)
            A_[static_cast<size_t>(row) * z_.columns + j * width + l] = slopes_[(s * o + q) * n + j] * S_[l * m + s];
      }
    if (count > 0) {
      system_.load(A_, count * o, z_.columns);
      if (!system_.solve([&](int r) { return right_[r]; }, allowed_, weights_)) return false;
    }
    if (!has_signs(theta, on)) return false;
    for (int j = 0; j < n; ++j) write_row(theta, j);
    return true;
  }

  bool prove_last(double* theta, const double* x, const double* y, const bool* learns) {
    const int m = z_.m, o = z_.o, width = z_.width;
    start(theta, x, y, learns);
    int count = 0;
    for (int s = 0; s < m; ++s) {
      bool some = false;
      for (int l = 0; l < width; ++l) some |= !is_zero(S_[l * m + s]);
      for (int q = 0; q < o && !some; ++q)
        if (!is_zero(target_[q * m + s])) return false;
      if (some) samples_[count++] = s;
    }
    for (int q = 0; q < o; ++q) {
      int free = 0;
      for (int l = 0; l < width; ++l) free += allowed_[q * width + l];
      if (free < count) return false;
    }
    for (int i = 0; i < count; ++i)
      for (int l = 0; l < width; ++l) A_[i * width + l] = S_[l * m + samples_[i]];
    if (count > 0) system_.load(A_, count, width);
    for (int q = 0; q < o && count > 0; ++q) {
      const auto right = [&](int r) { return target_[q * m + samples_[r]]; };
      if (!system_.solve(right, allowed_ + q * width, weights_ + q * width)) return false;
    }
    for (int q = 0; q < o && count > 0; ++q) write_row(theta, q);
    return true;
  }

  bool reads_nothing(const double* theta, const double* x, const double* y, const bool* learns) {
    const int m = z_.m, width = z_.width;
    start(theta, x, y, learns);
    for (int l = 0; l < width; ++l) {
      bool reads = false, frozen = false;
      for (int s = 0; s < m; ++s) reads |= !is_zero(S_[l * m + s]);
      for (int j = 0; j < z_.n; ++j) frozen |= weights_[j * width + l].hi != 0 && !allowed_[j * width + l];
      if (reads && frozen) return false;
    }
    for (int e = 0; e < z_.o * m; ++e)
      if (target_[e].hi != 0 || target_[e].lo != 0) return false;
    return true;
  }

 private:
  const Shape& s_;
  const int k_;
  const Sizes z_;
  PickedSolve system_;
  Ball *signal_, *next_;  // [width of a layer][m]
  Ball* S_;  // [width][m]: what layer k reads, with a row of ones for its bias
  Ball *G_, *G_next_, *g_, *g_next_;  // [width of a layer][n], [width of a layer]
  Ball *slopes_, *offsets_, *target_;  // [m][o][n], [m][o], [o][m]
  Ball *A_, *right_, *weights_;  // weights: [n][width], [W b] of layer k
  bool *allowed_, *alive_, *silent_;
  int* samples_;

  static bool is_zero(const Ball& a) { return a.hi == 0 && a.lo == 0 && a.rad == 0; }
  // Weight (a, c) of layer l, its bias at c = widths[l - 1]: where it lies in theta.
  int flat(int l, int a, int c) const { return c < s_.widths[l - 1] ? s_.weight[l - 1] + a * s_.widths[l - 1] + c : s_.bias[l - 1] + a; }
  bool has_bias(int l) const { return s_.bias[l - 1] >= 0; }
  const bool* units_on(const bool* on, int l, int s) const {  // of layer l = k .. L - 1 in sample s
    int total = 0, before = 0;
    for (int j = k_; j < s_.layers; ++j) {
      before += j < l ? s_.widths[j] : 0;
      total += s_.widths[j];
    }
    return on + s * total + before;
  }
  bool any_on(const bool* on, int l, int s) const {
    const bool* units = units_on(on, l, s);
    bool some = false;
    for (int a = 0; a < s_.widths[l]; ++a) some |= units[a];
    return some;
  }

  // S, weights and allowed of layer k; the target, less the last bias where k is a hidden layer.
  void start(const double* theta, const double* x, const double* y, const bool* learns) {
    const int m = z_.m;
    for (int j = 0; j < s_.widths[0] * m; ++j) signal_[j] = Ball(x[j]);
    for (int l = 1; l < k_; ++l) {
      for (int a = 0; a < s_.widths[l]; ++a)
        for (int s = 0; s < m; ++s) {
          DotProduct dot;
          for (int c = 0; c < s_.widths[l - 1]; ++c) dot.add(theta[flat(l, a, c)], signal_[c * m + s]);
          if (has_bias(l)) dot.add(theta[flat(l, a, s_.widths[l - 1])], 1.0);
          next_[a * m + s] = relu_of(dot.value(s_.widths[l - 1] + has_bias(l)));
        }
      std::swap(signal_, next_);
    }
    for (int c = 0; c < z_.width; ++c)
      for (int s = 0; s < m; ++s) S_[c * m + s] = c < z_.in ? signal_[c * m + s] : Ball(1.0);
    for (int j = 0; j < z_.n; ++j)
      for (int c = 0; c < z_.width; ++c) {
        weights_[j * z_.width + c] = Ball(theta[flat(k_, j, c)]);
        allowed_[j * z_.width + c] = learns[flat(k_, j, c)];
      }
    for (int q = 0; q < z_.o; ++q)
      for (int s = 0; s < m; ++s) {
        target_[q * m + s] = Ball(y[q * m + s]);
        if (k_ < s_.layers && has_bias(s_.layers))
          target_[q * m + s] = target_[q * m + s] - Ball(theta[flat(s_.layers, q, s_.widths[s_.layers - 1])]);
      }
  }

  // slopes and offsets of sample s: outputs less the last bias as G u + g. What the pattern switches off is exactly zero.
  void follow_pattern(const double* theta, const bool* on, int s) {
    const int n = z_.n, L = s_.layers;
    const bool* units = units_on(on, k_, s);
    for (int j = 0; j < n; ++j) {
      g_[j] = Ball();
      for (int c = 0; c < n; ++c) G_[j * n + c] = Ball(j == c && units[j] ? 1.0 : 0.0);
    }
    bool biased = false;  // can a bias above layer k reach the outputs?
    for (int l = k_ + 1; l <= L; ++l) {
      units = l < L ? units_on(on, l, s) : nullptr;
      if (l < L) biased = (biased || has_bias(l)) && any_on(on, l, s);
      for (int a = 0; a < s_.widths[l]; ++a) {
        const bool kept = l == L || units[a];
        for (int c = 0; c < n; ++c) {
          DotProduct dot;
          for (int j = 0; j < s_.widths[l - 1]; ++j) dot.add(theta[flat(l, a, j)], G_[j * n + c]);
          G_next_[a * n + c] = kept ? dot.value(s_.widths[l - 1]) : Ball();
        }
        DotProduct dot;
        for (int j = 0; j < s_.widths[l - 1]; ++j) dot.add(theta[flat(l, a, j)], g_[j]);
        g_next_[a] = kept ? dot.value(s_.widths[l - 1]) : Ball();
        if (kept && l < L && has_bias(l)) g_next_[a] += Ball(theta[flat(l, a, s_.widths[l - 1])]);
      }
      std::swap(G_, G_next_);
      std::swap(g_, g_next_);
    }
    for (int q = 0; q < z_.o; ++q) {
      offsets_[s * z_.o + q] = biased && any_on(on, L - 1, s) ? g_[q] : Ball();
      for (int c = 0; c < n; ++c) slopes_[(s * z_.o + q) * n + c] = G_[q * n + c];
    }
  }

  // Have all units from layer k on the signs of the pattern, at the weights found?
  bool has_signs(const double* theta, const bool* on) {
    const int m = z_.m, L = s_.layers;
    for (int s = 0; s < m; ++s) {
      silent_[s] = true;  // pre-activations known to be zero: nothing is read
      for (int c = 0; c < z_.width; ++c) silent_[s] &= is_zero(S_[c * m + s]);
    }
    for (int j = 0; j < z_.n; ++j)
      for (int s = 0; s < m; ++s) {
        DotProduct dot;
        for (int c = 0; c < z_.width; ++c) dot.add(weights_[j * z_.width + c], S_[c * m + s]);
        signal_[j * m + s] = dot.value(z_.width);
      }
    for (int l = k_; l < L; ++l) {
      for (int s = 0; s < m; ++s) {
        const bool* units = units_on(on, l, s);
        for (int a = 0; a < s_.widths[l]; ++a) {
          Ball& u = signal_[a * m + s];
          if (!(units[a] ? u.hi > u.slack() : u.hi < -u.slack() || silent_[s])) return false;
          u = units[a] ? relu_of(u) : Ball();
        }
        silent_[s] = l + 1 < L && !has_bias(l + 1) && !any_on(on, l, s);
      }
      for (int a = 0; l + 1 < L && a < s_.widths[l + 1]; ++a)
        for (int s = 0; s < m; ++s) {
          DotProduct dot;
          for (int c = 0; c < s_.widths[l]; ++c) dot.add(theta[flat(l + 1, a, c)], signal_[c * m + s]);
          next_[a * m + s] = dot.value(s_.widths[l]);
          if (has_bias(l + 1)) next_[a * m + s] += Ball(theta[flat(l + 1, a, s_.widths[l])]);
        }
      std::swap(signal_, next_);
    }
    return true;
  }

  void write_row(double* theta, int j) const {
    for (int c = 0; c < z_.width; ++c) theta[flat(k_, j, c)] = weights_[j * z_.width + c].hi;
  }
};

}  // namespace SL_ISA
}  // namespace sl
