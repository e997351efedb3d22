// One trial of activation_patterns, reduced to the layer k that learns: what it reads is fixed, and so are the layers above.
//
// Units are numbered from layer k up, q = 0 .. total - 1. In one sample, with z >= 0 the activities and v >= 0 the absolute
// pre-activations, an upper unit that is on has z = v, one that is off z = 0, and
//   outputs                     V z_last = y - c
//   unit q of a layer l > k     A_l z_{l-1} - sign_q v_q = -b_l
// F [own][total] holds V and the A_l, own = outputs + upper units: row o + q - n belongs to upper unit q. Right sides are divided by
// `scale`, the largest of them.
#pragma once
#include <cmath>
#include <vector>

#include "method/unit_cells.h"
#include "ops/activation_patterns.h"
#include "scalar/modp.h"

namespace sl {

// The rank of X [rows][columns] mod 2^31 - 1, exactly: float64 numbers are dyadic fractions, and 2 has order 31. work: rows x columns.
inline int rank_mod_mersenne(const double* X, int rows, int columns, std::vector<uint64_t>& work) {
  constexpr uint32_t P = 2147483647u;
  auto reduce = [](uint64_t x) { return static_cast<uint64_t>(ModP<P>::fold(x)); };
  work.resize(static_cast<size_t>(rows) * columns);
  for (int k = 0; k < rows * columns; ++k) {
    int exponent;
    const auto whole = static_cast<int64_t>(std::ldexp(std::frexp(X[k], &exponent), 53));
    const uint64_t residue = reduce(static_cast<uint64_t>(whole < 0 ? -whole : whole) % P);
    const uint64_t value = reduce(residue << (((exponent - 53) % 31 + 31) % 31));
    work[k] = whole < 0 && value ? P - value : value;
  }
  int rank = 0;
  for (int c = 0; c < columns && rank < rows; ++c) {
    int pivot = rank;
    while (pivot < rows && !work[pivot * columns + c]) ++pivot;
    if (pivot == rows) continue;
    for (int j = 0; j < columns; ++j) std::swap(work[rank * columns + j], work[pivot * columns + j]);
    const uint64_t lead = work[rank * columns + c];
    for (int r = rank + 1; r < rows; ++r) {  // row r times the pivot less the pivot's row times the entry: no inverse
      const uint64_t f = work[r * columns + c];
      for (int j = 0; f && j < columns; ++j)
        work[r * columns + j] = reduce(reduce(work[r * columns + j] * lead) + P - reduce(work[rank * columns + j] * f));
    }
    ++rank;
  }
  return rank;
}

class LearningLayer {
 public:
  int n, m, total, own, outputs;
  std::vector<int> begin;     // of each layer from k up in the numbers of units, then total
  std::vector<int> layer_of;  // [total], 0 is layer k
  std::vector<double> F, bias, target;  // [own][total]; [total], of upper units; [outputs][m], less the last bias
  std::vector<double> p;                // [n][m], unscaled
  std::vector<UnitCells> units;         // [n]; in units of `scale`
  std::vector<char> silent_target;      // [m]: zero is asked for, and no bias acts from layer k + 1 on
  double scale, made_of;
  bool asks_for_nothing, doubtful;      // doubtful: overflow, or inputs so nearly dependent that only very large weights make use of it

  // Reads trial b. Nothing but `asks_for_nothing` and `doubtful` holds where one of them is true.
  void read(const ActivationPatternsArgs& a, int64_t b) {
    const Shape& s = *a.shape;
    const int k = a.layer, L = s.layers;
    const double *theta = a.theta + b * s.size, *x = a.x + b * s.inputs_size, *y = a.y + b * s.equations;
    const bool* mask = a.mask + b * s.size;
    m = s.samples;
    n = s.widths[k];
    outputs = s.widths[L];
    begin.clear();
    layer_of.clear();
    total = 0;
    for (int l = k; l < L; ++l) {
      begin.push_back(total);
      layer_of.insert(layer_of.end(), s.widths[l], l - k);
      total += s.widths[l];
    }
    begin.push_back(total);
    own = outputs + total - n;
    read_signal(s, k, theta, x);
    read_above(s, k, theta, y);
    inputs_ = static_cast<int>(signal_.size()) / m;
    p.assign(static_cast<size_t>(n) * m, 0.0);
    for (int j = 0; j < n; ++j)
      for (int i = 0; i < m; ++i) {
        double sum = 0, sizes = 0;
        for (int c = 0; c < inputs_; ++c) {
          const int at = weight_at(s, k, j, c);
          if (mask[at]) continue;
          const double term = theta[at] * signal_[c * m + i];
          sum += term;
          sizes += std::fabs(term);
        }
        p[j * m + i] = sum;
        made_of = larger(made_of, sizes);
        scale = larger(scale, std::fabs(sum));
      }
    doubtful = !finite();
    asks_for_nothing = !doubtful;
    if (doubtful) return;
    for (int i = 0; i < m; ++i) asks_for_nothing &= silent_target[i] != 0;
    for (const double value : p) asks_for_nothing &= value == 0;
    if (asks_for_nothing) return;
    if (!(scale > 0)) scale = 1;
    units.resize(n);
    for (int j = 0; j < n && !doubtful; ++j) read_unit(s, k, j, mask);
  }

  // How far right sides may be off where numbers were rounded to eps and parts of them cancel.
  double rounding(double eps) const { return 64 * eps * made_of / scale; }

  // theta with the pre-activations u [n][m] over scale in layer k: of all weights that give them, the nearest to the student's own.
  void weights(const ActivationPatternsArgs& a, int64_t b, const double* u, double* out) {
    const Shape& s = *a.shape;
    const double* theta = a.theta + b * s.size;
    const bool* mask = a.mask + b * s.size;
    std::copy_n(theta, s.size, out);
    for (int j = 0; j < n; ++j) {
      const int d = learnable(s, a.layer, j, mask);
      if (!d) continue;
      room_.resize(2 * static_cast<size_t>(m) * d + 2 * m * m);
      double *A = room_.data() + m * d, *V = A + m * d, sigma[UnitCells::kM], miss[UnitCells::kM];
      const double* X = room_.data();
      std::copy_n(X_.data(), m * d, room_.data());
      for (int i = 0; i < m; ++i) {
        miss[i] = u[j * m + i] * scale - p[j * m + i];
        for (int r = 0; r < d; ++r) miss[i] -= X[r * m + i] * theta[places_[r]];
      }
      const double floor = singular_values(X, d, m, A, V, sigma) * 2.2e-16 * std::max(m, d);
      for (int c = 0; c < m; ++c) {
        if (!(sigma[c] > floor)) continue;
        double along = 0;
        for (int i = 0; i < m; ++i) along += V[c * m + i] * miss[i];
        for (int r = 0; r < d; ++r) out[places_[r]] += A[c * d + r] / sigma[c] * (along / sigma[c]);
      }
    }
  }

 private:
  int inputs_ = 0;                    // what layer k reads: the layer below, and a row of ones with a bias
  std::vector<double> signal_, next_;  // [inputs_][m]
  std::vector<double> X_, room_;
  std::vector<int> places_;  // of a unit's learnable weights
  std::vector<uint64_t> integers_;

  bool finite() const {
    double sum = 0;
    for (const std::vector<double>* part : {&F, &bias, &target, &p, &signal_})
      for (const double value : *part) sum += 0 * value;
    return sum == 0;
  }

  static int weight_at(const Shape& s, int k, int j, int c) {
    return c < s.widths[k - 1] ? s.weight[k - 1] + j * s.widths[k - 1] + c : s.bias[k - 1] + j;
  }

  void read_signal(const Shape& s, int k, const double* theta, const double* x) {
    signal_.assign(x, x + s.inputs_size);
    for (int l = 1; l < k; ++l) {
      next_.assign(static_cast<size_t>(s.widths[l]) * m, 0.0);
      for (int j = 0; j < s.widths[l]; ++j)
        for (int i = 0; i < m; ++i) {
          double sum = 0;
          for (int c = 0; c < s.widths[l - 1]; ++c) sum += theta[weight_at(s, l, j, c)] * signal_[c * m + i];
          if (s.bias[l - 1] >= 0) sum += theta[s.bias[l - 1] + j];
          next_[j * m + i] = sum < 0 ? 0.0 : sum;
        }
      signal_.swap(next_);
    }
    if (s.bias[k - 1] >= 0) signal_.insert(signal_.end(), m, 1.0);
  }

  void read_above(const Shape& s, int k, const double* theta, const double* y) {
    const int L = s.layers, last = s.bias[L - 1];
    scale = made_of = 0;
    F.assign(static_cast<size_t>(own) * total, 0.0);
    bias.assign(total, 0.0);
    target.resize(static_cast<size_t>(outputs) * m);
    const int below = s.widths[L - 1];
    for (int e = 0; e < outputs; ++e) {
      for (int c = 0; c < below; ++c) F[e * total + begin[L - 1 - k] + c] = theta[s.weight[L - 1] + e * below + c];
      for (int i = 0; i < m; ++i) {
        target[e * m + i] = last < 0 ? y[e * m + i] : y[e * m + i] - theta[last + e];
        scale = larger(scale, std::fabs(target[e * m + i]));
        made_of = larger(made_of, std::fabs(y[e * m + i]));
      }
      if (last >= 0) made_of = larger(made_of, std::fabs(theta[last + e]));
    }
    bool biased = false;
    for (int l = k + 1; l < L; ++l)
      for (int j = 0; j < s.widths[l]; ++j) {
        const int q = begin[l - k] + j;
        for (int c = 0; c < s.widths[l - 1]; ++c)
          F[static_cast<size_t>(outputs + q - n) * total + begin[l - 1 - k] + c] = theta[s.weight[l - 1] + j * s.widths[l - 1] + c];
        if (s.bias[l - 1] >= 0) bias[q] = theta[s.bias[l - 1] + j];
        biased |= bias[q] != 0;
        scale = larger(scale, std::fabs(bias[q]));
      }
    silent_target.assign(m, !biased);
    for (int e = 0; e < outputs; ++e)
      for (int i = 0; i < m; ++i)
        if (target[e * m + i] != 0) silent_target[i] = 0;
  }

  // X_ [d][m] and places_ of unit j's learnable weights; returns d.
  int learnable(const Shape& s, int k, int j, const bool* mask) {
    places_.clear();
    X_.clear();
    for (int c = 0; c < inputs_; ++c) {
      const int at = weight_at(s, k, j, c);
      if (!mask[at]) continue;
      places_.push_back(at);
      X_.insert(X_.end(), signal_.begin() + c * m, signal_.begin() + (c + 1) * m);
    }
    return static_cast<int>(places_.size());
  }

  void read_unit(const Shape& s, int k, int j, const bool* mask) {
    const int d = learnable(s, k, j, mask);
    room_.resize(2 * static_cast<size_t>(m) * d + 4 * m * m + m);
    doubtful = nearly_dependent(d, k == 1);
    if (doubtful) return;
    double* scaled = room_.data() + 2 * m * d + 4 * m * m;
    for (int i = 0; i < m; ++i) scaled[i] = p[j * m + i] / scale;
    units[j].make(m, X_.data(), d, scaled, room_.data());
  }

  // Are the rows of X_ independent, but nearly dependent? exactly: X_ is what was given (then the rank mod a prime tells), not what came
  // out of a layer, up to rounding.
  bool nearly_dependent(int d, bool exactly) {
    int rows = 0;
    double* X = room_.data();
    bool used[UnitCells::kM] = {};
    for (int r = 0; r < d; ++r) {
      bool any = false;
      for (int i = 0; i < m; ++i) any |= X_[r * m + i] != 0;
      if (!any) continue;
      for (int i = 0; i < m; ++i) used[i] |= (X[rows * m + i] = X_[r * m + i]) != 0;
      ++rows;
    }
    if (!rows) return false;
    int columns = 0;
    for (int i = 0; i < m; ++i) columns += used[i];
    to_one_size(X, rows, m);
    double *A = X + rows * m, *V = A + rows * m, sigma[UnitCells::kM];
    const double largest = singular_values(X, rows, m, A, V, sigma);
    int clear = 0, any = 0;
    for (int i = 0; i < m; ++i) {
      clear += sigma[i] >= kClear * largest;
      any += sigma[i] > kRounded * largest;
    }
    if (!exactly) return any > clear;
    return clear < std::min(rows, columns) && rank_mod_mersenne(X, rows, m, integers_) > clear;
  }

  static constexpr double kClear = 1e-9, kRounded = 4e-15;  // singular values, relative to the largest: not zero above; of rounding
};

}  // namespace sl
