// One trial of activation_patterns, reduced to the layer k that learns: what it reads is fixed, and so are the layers above.
//
// Units are numbered from layer k up, q = 0 .. total - 1. In one sample, with z >= 0 the activities and v >= 0 the absolute
// pre-activations, an upper unit that is on has z = v, one that is off z = 0, and
//   outputs                     V z_last = y - c
//   unit q of a layer l > k     A_l z_{l-1} - sign_q v_q = -b_l
// As relu(2^e u) = 2^e relu(u), z and v of a unit may be taken times a power of two of its own, and so are its bias, p and weights: where
// some unit's effect on the outputs, the largest product of weights on a path to them, is far from order one, all are taken times theirs.
// F [own][total] holds V and the A_l, own = outputs + upper units: row o + q - n belongs to upper unit q. Right sides are divided by
// `scale`, the largest of them.
#pragma once
#include <algorithm>
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
  std::vector<int> begin;  // of each layer from k up in the numbers of units, then total
  std::vector<int> layer_of;  // [total], 0 is layer k
  std::vector<int> exponent;  // [total]: z and v are those of the network times 2^exponent
  std::vector<double> F, bias, target;  // [own][total]; [total], of upper units; [outputs][m], less the last bias
  std::vector<double> p;  // [n][m], as in the network
  std::vector<UnitCells> units;  // [n]; in units of `scale`
  std::vector<char> silent_target;  // [m]: zero is asked for, and no bias acts from layer k + 1 on
  double scale, made_of;
  bool asks_for_nothing, doubtful;  // doubtful: overflow

  // Reads trial b. Nothing but `asks_for_nothing` and `doubtful` holds where one of them is true.
  // by_effect: units are scaled, if need be.
  void read(const ActivationPatternsArgs& a, int64_t b, bool by_effect) {
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
    read_above(s, k, theta, y, by_effect);
    p.assign(static_cast<size_t>(n) * m, 0.0);
    for (int j = 0; j < n; ++j)
      for (int i = 0; i < m; ++i) {
        FineSum sum;
        double sizes = kUnderflow, error = 0;
        for (int c = 0; c < inputs_; ++c) {
          const int at = weight_at(s, k, j, c);
          if (mask[at]) continue;
          sum.add(signal_[c * m + i], low_[c * m + i], theta[at]);
          sizes += std::fabs(theta[at]) * size_[c * m + i];
          error += std::fabs(theta[at]) * error_[c * m + i];
        }
        p[j * m + i] = sum.value();
        error += sum.error(inputs_, sizes) + std::fabs(sum.low());
        blurred_ |= error > 0 && !(std::fabs(p[j * m + i]) > error);  // not even its sign is known
        made_of = larger(made_of, std::ldexp(sizes, exponent[j]));
        scale = larger(scale, std::fabs(std::ldexp(p[j * m + i], exponent[j])));
      }
    doubtful = !finite();
    asks_for_nothing = !doubtful;
    if (doubtful) return;
    for (int i = 0; i < m; ++i) asks_for_nothing &= silent_target[i] != 0;
    for (const double value : p) asks_for_nothing &= value == 0;
    if (asks_for_nothing) return;
    if (!(scale > 0)) scale = 1;
    units.resize(n);
    blurred_ |= blur(s, k, theta) > kTolerance * scale;
    far_ = 0;
    for (int j = 0; j < n; ++j) read_unit(s, k, j, mask);
  }

  // How far right sides may be off where numbers were rounded to eps and parts of them cancel.
  double rounding(double eps) const { return 64 * eps * made_of / scale; }
  // How large, over scale, pre-activations in some samples are where weights are large enough for what is asked in others.
  double far() const { return far_; }
  bool is_scaled() const {
    return std::any_of(exponent.begin(), exponent.end(), [](int e) { return e != 0; });
  }
  // Is what layer k reads rounded so much that it may matter, or so nearly dependent that only very large weights make use of it?
  bool blurred() const { return blurred_; }

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
        miss[i] = std::ldexp(u[j * m + i] * scale, -exponent[j]) - p[j * m + i];
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
  int inputs_ = 0;  // what layer k reads: the layer below, and a row of ones with a bias
  std::vector<double> signal_, next_;       // [inputs_][m]
  std::vector<double> low_, next_low_;      // what is added to signals: together they have twice the digits
  std::vector<double> size_, next_size_;  // the same of absolute weights and inputs: what signals are made of
  std::vector<double> error_, next_error_;  // of these sums, by rounding
  double far_ = 0;
  bool blurred_ = false;
  std::vector<double> X_, X_low_, room_;
  std::vector<int> places_;  // of a unit's learnable weights
  std::vector<uint64_t> integers_;

  bool finite() const {
    double sum = 0 * made_of + 0 * scale;
    for (const std::vector<double>* part : {&F, &bias, &target, &p, &signal_})
      for (const double value : *part) sum += 0 * value;
    return sum == 0;
  }

  static int weight_at(const Shape& s, int k, int j, int c) {
    return c < s.widths[k - 1] ? s.weight[k - 1] + j * s.widths[k - 1] + c : s.bias[k - 1] + j;
  }

  void read_signal(const Shape& s, int k, const double* theta, const double* x) {
    signal_.assign(x, x + s.inputs_size);
    size_.resize(signal_.size());
    error_.assign(signal_.size(), 0.0);
    low_.assign(signal_.size(), 0.0);
    for (size_t c = 0; c < signal_.size(); ++c) size_[c] = std::fabs(signal_[c]);
    for (int l = 1; l < k; ++l) {
      next_.assign(static_cast<size_t>(s.widths[l]) * m, 0.0);
      next_size_.assign(next_.size(), 0.0);
      next_error_.assign(next_.size(), 0.0);
      next_low_.assign(next_.size(), 0.0);
      for (int j = 0; j < s.widths[l]; ++j)
        for (int i = 0; i < m; ++i) {
          FineSum sum;
          double sizes = 0, error = 0;
          for (int c = 0; c < s.widths[l - 1]; ++c) {
            const double weight = theta[weight_at(s, l, j, c)];
            sum.add(signal_[c * m + i], low_[c * m + i], weight);
            sizes += std::fabs(weight) * size_[c * m + i];
            error += std::fabs(weight) * error_[c * m + i];
          }
          if (s.bias[l - 1] >= 0) {
            sum.add(theta[s.bias[l - 1] + j], 1.0);
            sizes += std::fabs(theta[s.bias[l - 1] + j]);
          }
          error += sum.error(s.widths[l - 1] + 1, sizes);
          next_[j * m + i] = sum.value() < 0 ? 0.0 : sum.value();
          next_low_[j * m + i] = sum.value() < 0 ? 0.0 : sum.low();
          next_size_[j * m + i] = sizes;
          next_error_[j * m + i] = sum.value() < -error ? 0.0 : error;
        }
      signal_.swap(next_);
      size_.swap(next_size_);
      error_.swap(next_error_);
      low_.swap(next_low_);
    }
    blurred_ = false;
    for (size_t at = 0; k > 1 && at < signal_.size(); at += m) {
      const auto most = [&](const std::vector<double>& of) { return *std::max_element(of.begin() + at, of.begin() + at + m); };
      blurred_ |= !(most(error_) <= kBlur * most(signal_));
    }
    if (s.bias[k - 1] >= 0) {
      signal_.insert(signal_.end(), m, 1.0);
      size_.insert(size_.end(), m, 1.0);
      error_.insert(error_.end(), m, 0.0);
      low_.insert(low_.end(), m, 0.0);
    }
    inputs_ = static_cast<int>(signal_.size()) / m;
  }

  void read_above(const Shape& s, int k, const double* theta, const double* y, bool by_effect) {
    const int L = s.layers, last = s.bias[L - 1];
    scale = 0;
    made_of = kUnderflow;
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
      }
    exponent.assign(total, 0);
    if (by_effect) scale_units();
    for (const double value : bias) scale = larger(scale, std::fabs(value));
    silent_target.assign(m, !biased);
    for (int e = 0; e < outputs; ++e)
      for (int i = 0; i < m; ++i)
        if (target[e * m + i] != 0) silent_target[i] = 0;
  }

  // exponent of every unit, if some are far from 0; F and bias times what these ask for. Units without effect: the least of their layer.
  void scale_units() {
    bool ordinary = true;
    const auto row_exponent = [&](int r) { return r < outputs ? 0 : exponent[n + r - outputs]; };
    for (int l = static_cast<int>(begin.size()) - 2; l >= 0; --l) {
      int least = 0;
      bool some = false;
      for (int q = begin[l]; q < begin[l + 1]; ++q) {
        exponent[q] = kNoEffect;
        for (int r = 0; r < own; ++r)
          if (F[r * total + q] != 0 && std::isfinite(F[r * total + q]))
            exponent[q] = std::max(exponent[q], std::ilogb(F[r * total + q]) + row_exponent(r));
        if (exponent[q] == kNoEffect) continue;
        ordinary &= std::abs(exponent[q]) < kOrdinary;
        least = some ? std::min(least, exponent[q]) : exponent[q];
        some = true;
      }
      for (int q = begin[l]; q < begin[l + 1]; ++q)
        if (exponent[q] == kNoEffect) exponent[q] = least;
    }
    if (ordinary) exponent.assign(total, 0);
    for (int q = 0; q < total && !ordinary; ++q) {
      for (int r = 0; r < own; ++r) F[r * total + q] = std::ldexp(F[r * total + q], row_exponent(r) - exponent[q]);
      bias[q] = std::ldexp(bias[q], exponent[q]);
    }
  }

  // X_ [d][m] and places_ of unit j's learnable weights; returns d.
  int learnable(const Shape& s, int k, int j, const bool* mask) {
    places_.clear();
    X_.clear();
    X_low_.clear();
    for (int c = 0; c < inputs_; ++c) {
      const int at = weight_at(s, k, j, c);
      if (!mask[at]) continue;
      places_.push_back(at);
      X_.insert(X_.end(), signal_.begin() + c * m, signal_.begin() + (c + 1) * m);
      X_low_.insert(X_low_.end(), low_.begin() + c * m, low_.begin() + (c + 1) * m);
    }
    return static_cast<int>(places_.size());
  }

  void read_unit(const Shape& s, int k, int j, const bool* mask) {
    const int d = learnable(s, k, j, mask);
    room_.resize(3 * static_cast<size_t>(m) * d + 4 * m * m + d + m);
    blurred_ |= nearly_dependent(d, k == 1);
    reach_far(d);
    double* scaled = room_.data() + 3 * m * d + 4 * m * m + d;
    for (int i = 0; i < m; ++i) scaled[i] = std::ldexp(p[j * m + i], exponent[j]) / scale;
    units[j].make(m, X_.data(), X_low_.data(), d, scaled, room_.data());
    blurred_ |= units[j].doubtful;
  }

  // By how much rounding in layers below may move pre-activations, times their 2^exponent, where weights are of the size of the student's:
  // the rank of what layer k reads is that of rounded numbers.
  double blur(const Shape& s, int k, const double* theta) const {
    double weight = 0, rounded = 0;
    for (int c = 0; c < inputs_; ++c)
      for (int j = 0; j < n; ++j) weight = larger(weight, std::fabs(std::ldexp(theta[weight_at(s, k, j, c)], exponent[j])));
    for (size_t at = 0; at < low_.size(); ++at) rounded = larger(rounded, std::fabs(low_[at]) + error_[at]);
    return weight * rounded;
  }

  // far_ for the unit whose learnable weights read X_ [d][m].
  void reach_far(int d) {
    for (int i = 0; i < m; ++i) {
      double asked = 0, least = INFINITY;
      for (int e = 0; e < outputs; ++e) asked = larger(asked, std::fabs(target[e * m + i]));
      for (int j = 0; j < n; ++j) asked = larger(asked, std::fabs(std::ldexp(p[j * m + i], exponent[j])));
      for (const double value : bias) asked = larger(asked, std::fabs(value));
      for (int r = 0; r < d; ++r) {
        double most = 0;
        for (int q = 0; q < m; ++q) most = larger(most, std::fabs(X_[r * m + q]));
        if (X_[r * m + i] != 0) least = smaller(least, most / std::fabs(X_[r * m + i]));
      }
      if (least < INFINITY) far_ = larger(far_, asked / scale * least);
    }
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
  static constexpr int kOrdinary = 16, kNoEffect = -1000000;  // powers of two
  static constexpr double kBlur = 1e-20;  // errors of signals, relative to the largest of their row
  static constexpr double kUnderflow = 1e-300;  // sizes: products that underflow are right to 1e-320
};

}  // namespace sl
