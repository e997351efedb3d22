// substitution.h: a trial's equations f(theta; x) = y solved block by block (T7, T2). Recurrent networks as in network/recurrent.h.
//
// rows       outputs fix the activity of o units S step by step: h_t[S] = D_S^-1 (y_t - c - D_rest h_t[rest]); then each of their rows w of
//            [W B b] solves a linear system w . [h_{t-1} x_t 1] = phi^-1(h_t), t = 2 .. T (or 1 .. T where nothing is shared).
//            S: the units with the best pivots in D among those whose rows learn; so are the weights of a row chosen.
//            tanh, relu: before that the steps are run through with targets as uncertain as rounding makes them. An activity outside
//            the values of phi then is outside for all targets that round to the given ones (refused); near: at the edge, undecided. relu:
//            there it is taken to be 0, with a pre-activation below 0, which gives the same.
// column     with a_t the activity of unit k and r_t what the outputs miss while the learnable part of its column w of W is zero (W_0),
//            sum_j (a_{t-j} D W_0^{j-1} w + r_{t-j} e_k W_0^{j-1} w) = r_t, t = 2 .. T, is affine in w; nothing shared: t = 1 .. T, affine in
//            w and in the column d of D, with a_t d on the left and D_0 (D without d) in the place of D.
// affine     outputs affine in `count` weights: a system of differences of outputs at zero and at unit vectors, exact but for rounding.
// last_rows  rows of the last layer meet their outputs themselves, a linear system each, over the samples (or steps) of the best pivots.
//
// One trial at a time; scratch for all forms of one network is taken once.
#pragma once
#include "method/enclosed_solve.h"
#include "network/feedforward.h"
#include "network/recurrent.h"
#include "ops/substitution.h"

namespace sl {
namespace SL_ISA {

constexpr double kEdge = 1e-12;  // tanh, relu: an activity this near to +-1, to 0 (relative to what it is made of), is undecided

// What all forms of recurrent networks share: weights and inputs of one trial, the drive B x_t + b.
class EnclosedSteps {
 public:
  using Ball = DoubleDoubleBall;
  using V = Pack<double>;
  static constexpr int kLength = kLanes<double>;
  static size_t packs(const Shape& s) { return (s.hidden + kLength - 1) / kLength; }
  EnclosedSteps(const Shape& shape, Scratch& scratch)
      : s(shape), i(s.inputs), n(s.hidden), o(s.outputs), T(s.steps), table(n + i + (s.b >= 0)) {
    drive = take_array<Ball>(scratch, static_cast<size_t>(T) * n);
    h = take_array<Ball>(scratch, n);
    z = take_array<Ball>(scratch, n);
    bias = take_array<Ball>(scratch, o);
    target_ = take_array<Ball>(scratch, o);
    columns_ = take_array<V>(scratch, (n + i + 1) * packs(s));
    rows_of_D_ = take_array<V>(scratch, n * ((o + kLength - 1) / kLength));
  }

  const Shape& s;
  const int i, n, o, T, table;  // table: entries of a row of [W B b]
  Ball *drive, *h, *z, *bias;
  const double *B = nullptr, *W = nullptr, *D = nullptr, *b = nullptr, *c = nullptr, *x = nullptr;

  void start(const double* theta, const double* inputs) {
    B = theta + s.B, W = theta + s.W, D = theta + s.D, x = inputs;
    b = s.b >= 0 ? theta + s.b : nullptr;
    c = s.c >= 0 ? theta + s.c : nullptr;
    const int q_count = static_cast<int>(packs(s));
    for (int a = 0; a < n; ++a) {
      const int q = a / kLength, l = a % kLength;
      for (int j = 0; j < n; ++j) columns_[j * q_count + q][l] = W[a * n + j];
      for (int j = 0; j < i; ++j) columns_[(n + j) * q_count + q][l] = B[a * i + j];
      if (b) columns_[(n + i) * q_count + q][l] = b[a];
      for (int e = 0; e < o; ++e) rows_of_D_[a * ((o + kLength - 1) / kLength) + e / kLength][e % kLength] = D[e * n + a];
    }
    for (int t = 0; t < T; ++t)
      for (int q = 0; q < q_count; ++q) {
        DotProducts<V> dot;
        for (int j = 0; j < i; ++j) dot.add(columns_[(n + j) * q_count + q], constant<V>(x[t * i + j]));
        if (b) dot.add(columns_[(n + i) * q_count + q], constant<V>(1.0));
        spread(dot.value(i + (b != nullptr)), q, drive + t * n);
      }
  }
  void begin() {  // h_0 = 0, the student's output bias
    for (int a = 0; a < n; ++a) h[a] = Ball();
    for (int e = 0; e < o; ++e) bias[e] = Ball(c ? c[e] : 0.0);
  }
  void step(int t) {  // z = drive_t + W h
    const int q_count = static_cast<int>(packs(s));
    for (int a = 0; a < n; ++a) z[a] = drive[t * n + a];
    for (int q = 0; q < q_count && t > 0; ++q) {
      DotProducts<V> dot;
      for (int j = 0; j < n; ++j) dot.add(columns_[j * q_count + q], in_all_lanes(h[j]));
      DoubleDoubleLanes sum;
      for (int l = 0; l < kLength && q * kLength + l < n; ++l) set_lane(sum, l, z[q * kLength + l]);
      spread(sum + dot.value(n), q, z);
    }
  }
  void step(int t, const Ball* M) {  // z = drive_t + M h
    for (int a = 0; a < n; ++a) {
      z[a] = drive[t * n + a];
      if (t == 0) continue;
      DotProduct dot;
      for (int j = 0; j < n; ++j) dot.add(M[a * n + j], h[j]);
      z[a] += dot.value(n);
    }
  }
  void activate() {  // h = phi(z)
    for (int a = 0; a < n; ++a) h[a] = z[a];
    if (s.activation != Activation::linear) activate_all(s.activation, h, n);
  }
  // y_e - c_e - D_e h over the units a with skip[a] == 0, for all outputs, into packs of them.
  void left_over(const Ball* y, const char* skip, DoubleDoubleLanes* to) {
    const int q_count = (o + kLength - 1) / kLength;
    for (int q = 0; q < q_count; ++q) {
      DotProducts<V> dot;
      int terms = 0;
      for (int a = 0; a < n; ++a)
        if (!skip[a]) dot.add(rows_of_D_[a * q_count + q], in_all_lanes(h[a])), ++terms;
      DoubleDoubleLanes sum, offset;
      for (int l = 0; l < kLength && q * kLength + l < o; ++l) {
        set_lane(sum, l, y[q * kLength + l]);
        set_lane(offset, l, bias[q * kLength + l]);
      }
      if (c) sum = sum - offset;
      to[q] = terms ? sum - dot.value(terms) : sum;
    }
  }
  // D_e h over the units a with skip[a] == 0; null: all.
  Ball output(int e, const char* skip) const {
    DotProduct dot;
    int terms = 0;
    for (int a = 0; a < n; ++a)
      if (!skip || !skip[a]) dot.add(D[e * n + a], h[a]), ++terms;
    return terms ? dot.value(terms) : Ball();
  }
  // The output bias from y_1, where it learns; h is the activity of step 1.
  void bias_from(const Ball* y, const bool* use) {
    for (int e = 0; e < o; ++e)
      if (c && use[s.c + e]) bias[e] = y[e] - output(e, nullptr);
  }
  // gap[e] >= |D h_1 + c - y_1|, h_1 and c as solved. Overwrites h.
  void first_gap(const Ball* y, double* gap) {
    step(0);
    activate();
    for (int e = 0; e < o; ++e) {
      const Ball miss = output(e, nullptr) + bias[e] - y[e];
      gap[e] = (std::fabs(miss.hi) + miss.slack()) * kRoundUp;
    }
  }
  // Where y_1 is not solved for: the output bias that it asks for into theta, and what it misses then.
  void leave_first(const Ball* y, const bool* use, Ball* theta, double* gap) {
    for (int e = 0; e < o && c; ++e)
      if (use[s.c + e]) theta[s.c + e] = bias[e];
    first_gap(y, gap);
  }

 protected:
  Ball* target_;  // [o]

 private:
  V *columns_, *rows_of_D_;  // of W, then of [B b], each in packs of units; of the transpose of D, in packs of outputs

  void spread(const DoubleDoubleLanes& from, int q, Ball* to) const {
    for (int l = 0; l < kLength && q * kLength + l < n; ++l) to[q * kLength + l] = lane_of(from, l);
  }
};

// One trial of any form. y, theta: balls; in theta only the student's numbers are read, and what is solved for is written.
struct SubstitutedTrial {
  const double *student, *x;
  const DoubleDoubleBall* y;
  const bool* use;
  const double* rounding;
  double own_rounding;
  DoubleDoubleBall* theta;
  double* first_gap;
  bool proven, refused, near;
};

class SubstitutedRows : EnclosedSteps {
 public:
  static int unknowns(const Shape& s) { return s.hidden + s.inputs + (s.b >= 0); }
  SubstitutedRows(const Shape& shape, int first, Scratch& scratch)
      : EnclosedSteps(shape, scratch), first_(first), D_S_(scratch, o), system_(scratch, T - first, table) {
    solved_ = take_array<Ball>(scratch, o);
    pre_ = take_array<Ball>(scratch, static_cast<size_t>(T) * o);
    F_ = take_array<Ball>(scratch, static_cast<size_t>(T) * table);
    row_ = take_array<Ball>(scratch, table);
    work_ = take_array<double>(scratch, static_cast<size_t>(o) * n + n);
    size_ = take_array<double>(scratch, n);
    S_ = take_array<int>(scratch, o);
    learns_ = take_array<bool>(scratch, static_cast<size_t>(n) * table);
    row_learns_ = take_array<bool>(scratch, n);
    in_S_ = take_array<char>(scratch, n);
    silent_ = take_array<bool>(scratch, static_cast<size_t>(T) * o);
  }

  void solve(SubstitutedTrial& trial) {
    const bool linear = s.activation == Activation::linear, relu = s.activation == Activation::relu;
    start(trial.student, trial.x);
    trial.proven = trial.refused = trial.near = false;
    list_rows(trial.use);
    if (!pick(D, n, 1, o, n, row_learns_, o, work_, S_)) return;
    for (int a = 0; a < n; ++a) in_S_[a] = 0;
    for (int k = 0; k < o; ++k) in_S_[S_[k]] = 1;
    for (int e = 0; e < o; ++e)
      for (int k = 0; k < o; ++k) D_S_.M[e * o + k] = Ball(D[e * n + S_[k]]);
    if (!D_S_.prove(o)) {
      trial.near = !linear && T > first_;
      return;
    }
    if (!linear) {
      judge(trial);
      if (trial.refused) return;  // one activity outside is enough, whatever the others are
    }
    begin();
    for (int t = 0; t < T; ++t) {
      if (t >= first_) table_row(F_ + (t - first_) * table, t);
      step(t);
      double most = 0;
      for (int a = 0; a < n; ++a) most = most < std::fabs(z[a].hi) ? std::fabs(z[a].hi) : most;
      activate();
      if (t < first_) {
        bias_from(trial.y, trial.use);
        continue;
      }
      activities(trial.y + t * o);
      for (int k = 0; k < o; ++k) {
        Ball v = solved_[k];
        if (relu && silent_[t * o + k]) {
          v = Ball();
          pre_[t * o + k] = Ball(-(1 + most));
        } else {
          if (relu && !(v.hi > v.slack())) return;
          pre_[t * o + k] = s.activation == Activation::tanh ? atanh_of(v) : v;
        }
        h[S_[k]] = v;
      }
    }
    system_.load(F_, T - first_, table);
    for (int k = 0; k < o; ++k) {
      const int a = S_[k];
      for (int j = 0; j < n; ++j) row_[j] = Ball(W[a * n + j]);
      for (int j = 0; j < i; ++j) row_[n + j] = Ball(B[a * i + j]);
      if (b) row_[n + i] = Ball(b[a]);
      const auto right = [&](int r) { return pre_[(first_ + r) * o + k]; };
      if (!system_.solve(right, learns_ + a * table, row_)) return;
      for (int j = 0; j < n; ++j) trial.theta[s.W + a * n + j] = row_[j];
      for (int j = 0; j < i; ++j) trial.theta[s.B + a * i + j] = row_[n + j];
      if (b) trial.theta[s.b + a] = row_[n + i];
    }
    trial.proven = true;
    if (first_) leave_first(trial.y, trial.use, trial.theta, trial.first_gap);
  }

 private:
  const int first_;
  EnclosedSolve D_S_;
  PickedSolve system_;
  Ball *solved_, *pre_, *F_, *row_;
  double *work_, *size_;
  int* S_;
  bool *learns_, *row_learns_, *silent_;
  char* in_S_;

  void list_rows(const bool* use) {
    for (int a = 0; a < n; ++a) {
      bool* to = learns_ + a * table;
      bool some = false;
      for (int j = 0; j < n; ++j) some |= to[j] = use[s.W + a * n + j];
      for (int j = 0; j < i; ++j) some |= to[n + j] = use[s.B + a * i + j];
      if (b) some |= to[n + i] = use[s.b + a];
      row_learns_[a] = some;
    }
  }
  void table_row(Ball* to, int t) {  // [h_{t-1} x_t 1]
    for (int j = 0; j < n; ++j) to[j] = h[j];
    for (int j = 0; j < i; ++j) to[n + j] = Ball(x[t * i + j]);
    if (b) to[n + i] = Ball(1.0);
  }
  // solved_ = D_S^-1 (y - c - D_rest h)
  void activities(const Ball* y) {
    left_over(y, in_S_, D_S_.right);
    D_S_.solve();
    for (int k = 0; k < o; ++k) solved_[k] = lane_of(D_S_.w[k / kLength], k % kLength);
  }

  // tanh, relu: refused, near, and where an activity is taken to be zero.
  void judge(SubstitutedTrial& trial) {
    const bool relu = s.activation == Activation::relu;
    begin();
    for (int t = 0; t < T; ++t) {
      double largest = 0;
      for (int a = 0; a < n; ++a) {
        double sum = std::fabs(drive[t * n + a].hi);
        for (int j = 0; j < n; ++j) sum += std::fabs(W[a * n + j]) * std::fabs(h[j].hi);
        size_[a] = sum;
        largest = largest < sum ? sum : largest;
      }
      step(t);
      activate();
      for (int e = 0; e < o; ++e) {
        double made_of = std::fabs(bias[e].hi);
        for (int a = 0; a < n; ++a) made_of += std::fabs(D[e * n + a]) * size_[a];
        const Ball y = Ball(trial.y[t * o + e].hi, 0, trial.rounding[t * o + e] + trial.own_rounding * made_of);
        target_[e] = y;
      }
      if (t < first_) {
        bias_from(target_, trial.use);
        continue;
      }
      activities(target_);
      for (int k = 0; k < o; ++k) largest = largest < std::fabs(solved_[k].hi) ? std::fabs(solved_[k].hi) : largest;
      for (int k = 0; k < o; ++k) {
        Ball& v = solved_[k];
        bool near;
        if (relu) {
          const double slack = v.slack() + kEdge * largest;
          trial.refused |= v.hi < -slack;
          near = !(v.hi > slack);
          if (near) v = Ball(0, 0, std::fabs(v.hi) + v.slack());
        } else {
          const double far = std::fabs(v.hi), slack = v.slack() + kEdge;
          trial.refused |= far - slack > 1;
          near = !(far + slack < 1);
        }
        trial.near |= near;
        silent_[t * o + k] = near;
        h[S_[k]] = v;
      }
      if (trial.refused) {
        trial.near = false;
        return;
      }
    }
  }
};

class SubstitutedColumn : EnclosedSteps {
 public:
  static int unknowns(const Shape& s, int first) { return s.hidden + (first ? 0 : s.outputs); }
  static int equations(const Shape& s, int first) { return s.outputs * (s.steps - first); }
  SubstitutedColumn(const Shape& shape, int first, Scratch& scratch)
      : EnclosedSteps(shape, scratch), first_(first), system_(scratch, equations(shape, first), unknowns(shape, first)) {
    W0_ = take_array<Ball>(scratch, static_cast<size_t>(n) * n);
    active_ = take_array<Ball>(scratch, T);
    missed_ = take_array<Ball>(scratch, static_cast<size_t>(T) * o);
    powers_ = take_array<Ball>(scratch, static_cast<size_t>(T) * (o + 1) * n);
    A_ = take_array<Ball>(scratch, static_cast<size_t>(equations(s, first)) * unknowns(s, first));
    w_ = take_array<Ball>(scratch, unknowns(s, first));
    allowed_ = take_array<bool>(scratch, unknowns(s, first));
    skip_ = take_array<char>(scratch, n);
  }

  void solve(SubstitutedTrial& trial, int unit) {
    const bool with_D = !first_;
    const int k = unknowns(s, first_);
    trial.proven = trial.refused = trial.near = false;
    start(trial.student, trial.x);
    begin();
    if (first_) {
      step(0);
      activate();
      bias_from(trial.y, trial.use);
    }
    for (int e = 0; e < n * n; ++e) W0_[e] = Ball(W[e]);
    for (int a = 0; a < n; ++a) {
      allowed_[a] = trial.use[s.W + a * n + unit];
      if (allowed_[a]) W0_[a * n + unit] = Ball();
      w_[a] = Ball(allowed_[a] ? W[a * n + unit] : 0.0);  // the frozen entries act through W_0
    }
    for (int a = 0; a < n; ++a) skip_[a] = with_D && a == unit;
    for (int a = 0; a < n; ++a) h[a] = Ball();
    for (int t = 0; t < T; ++t) {
      step(t, W0_);
      activate();
      active_[t] = h[unit];
      for (int e = 0; e < o; ++e)  // y_1 given is right: what is left of it is rounding
        missed_[t * o + e] = t < first_ ? Ball() : trial.y[t * o + e] - bias[e] - output(e, skip_);
    }
    for (int e = 0; e <= o; ++e)  // [D_0; e_k] W_0^j
      for (int a = 0; a < n; ++a) powers_[e * n + a] = e == o ? Ball(a == unit) : Ball(with_D && a == unit ? 0.0 : D[e * n + a]);
    const int rows = o + 1;
    for (int j = 1; j + 1 < T; ++j)
      for (int e = 0; e < rows; ++e)
        for (int a = 0; a < n; ++a) {
          DotProduct dot;
          for (int q = 0; q < n; ++q) dot.add(powers_[((j - 1) * rows + e) * n + q], W0_[q * n + a]);
          powers_[(j * rows + e) * n + a] = dot.value(n);
        }
    for (int t = first_; t < T; ++t)
      for (int e = 0; e < o; ++e) {
        Ball* to = A_ + ((t - first_) * o + e) * k;
        for (int a = 0; a < n; ++a) {
          Ball sum;
          for (int j = 1; j <= t; ++j) {
            const Ball* power = powers_ + (j - 1) * rows * n;
            sum += active_[t - j] * power[e * n + a];
            sum += missed_[(t - j) * o + e] * power[o * n + a];
          }
          to[a] = sum;
        }
        for (int d = 0; d < k - n; ++d) to[n + d] = d == e ? active_[t] : Ball();
      }
    for (int d = 0; d < k - n; ++d) {
      w_[n + d] = Ball(D[d * n + unit]);
      allowed_[n + d] = true;
    }
    const auto right = [&](int r) { return missed_[first_ * o + r]; };
    system_.load(A_, equations(s, first_), k);
    if (!system_.solve(right, allowed_, w_)) return;
    for (int a = 0; a < n; ++a)
      if (allowed_[a]) trial.theta[s.W + a * n + unit] = w_[a];
    for (int d = 0; d < k - n; ++d) trial.theta[s.D + d * n + unit] = w_[n + d];
    trial.proven = true;
    if (first_) leave_first(trial.y, trial.use, trial.theta, trial.first_gap);
  }

 private:
  const int first_;
  PickedSolve system_;
  Ball *W0_, *active_, *missed_, *powers_, *A_, *w_;
  bool* allowed_;
  char* skip_;
};

// The forms of any network, whose outputs come from its own text (network/).
template <class Model>
class SubstitutedAffine {
 public:
  using Ball = DoubleDoubleBall;
  SubstitutedAffine(const Shape& shape, int count, Scratch& scratch)
      : s_(shape), count_(count), model_(shape, scratch, Tables::gradient), system_(scratch, count) {
    theta_ = take_array<Ball>(scratch, s_.size);
    y_ = take_array<Ball>(scratch, s_.equations);
    base_ = take_array<Ball>(scratch, count);
    set_up(model_);
  }
  static void set_up(Model& model) {
    bool all[kMaxGroups];
    for (bool& g : all) g = true;
    model.learn(all);
    model.inputs_ready(Ball(1.0));
  }

  void solve(SubstitutedTrial& trial, const int* place, const int* rows) {
    const int k = count_;
    trial.proven = trial.refused = trial.near = false;
    for (int j = 0; j < s_.inputs_size; ++j) *model_.input(j) = Ball(trial.x[j]);
    for (int j = 0; j < s_.size; ++j) theta_[j] = Ball(trial.student[j]);
    for (int j = 0; j < k; ++j) theta_[place[j]] = Ball();
    forward();
    for (int r = 0; r < k; ++r) base_[r] = y_[rows[r]];
    for (int j = 0; j < k; ++j) {
      theta_[place[j]] = Ball(1.0);
      forward();
      theta_[place[j]] = Ball();
      for (int r = 0; r < k; ++r) system_.M[r * k + j] = y_[rows[r]] - base_[r];
    }
    if (!system_.prove(k)) return;
    for (int r = 0; r < k; ++r) base_[r] = trial.y[rows[r]] - base_[r];
    trial.proven = system_.solve(base_, base_);
    for (int j = 0; j < k && trial.proven; ++j) trial.theta[place[j]] = base_[j];
  }

 private:
  const Shape& s_;
  const int count_;
  Model model_;
  EnclosedSolve system_;
  Ball *theta_, *y_, *base_;

  void forward() {
    model_.prepare(theta_);
    model_.forward(theta_, y_);
  }
};

template <class Model>
class SubstitutedLastRows {
 public:
  using Ball = DoubleDoubleBall;
  struct Layer {  // the last one: rows x units at `matrix`, a bias or -1; samples or steps it acts in
    int matrix, bias, units, rows, samples;
    bool by_row;  // outputs in the order y[row][sample]
    explicit Layer(const Shape& s) {
      const bool deep = s.kind == Kind::feedforward;
      const int last = s.layers - 1;
      matrix = deep ? s.weight[last] : s.D;
      bias = deep ? s.bias[last] : s.c;
      units = deep ? s.widths[last] : s.hidden;
      rows = deep ? s.widths[s.layers] : s.outputs;
      samples = deep ? s.samples : s.steps;
      by_row = deep;
    }
    int width() const { return units + (bias >= 0); }
  };
  SubstitutedLastRows(const Shape& shape, int count, Scratch& scratch)
      : s_(shape), layer_(shape), count_(count), model_(shape, scratch, Tables::gradient), system_(scratch, count, layer_.width()) {
    const size_t w = layer_.width(), m = layer_.samples;
    y_ = take_array<Ball>(scratch, s_.equations);
    F_ = take_array<Ball>(scratch, m * w);
    A_ = take_array<Ball>(scratch, count * w);
    w_ = take_array<Ball>(scratch, w);
    work_ = take_array<double>(scratch, m * w + m);
    samples_ = take_array<int>(scratch, count);
    every_ = take_array<bool>(scratch, m);
    allowed_ = take_array<bool>(scratch, w);
    SubstitutedAffine<Model>::set_up(model_);
  }

  // theta: as balls, solved for already where other outputs were met.
  void solve(SubstitutedTrial& trial, const bool* held) {
    const Layer& l = layer_;
    const int w = l.width();
    trial.proven = trial.refused = trial.near = false;
    for (int j = 0; j < s_.inputs_size; ++j) *model_.input(j) = Ball(trial.x[j]);
    model_.prepare(trial.theta);
    model_.forward(trial.theta, y_);
    for (int m = 0; m < l.samples; ++m) {
      const Ball* features = model_.read_by_last(m);
      for (int a = 0; a < l.units; ++a) F_[m * w + a] = features[a];
      if (l.bias >= 0) F_[m * w + l.units] = Ball(1.0);
      every_[m] = true;
    }
    if (!pick(&F_[0].hi, 3, 3 * w, w, l.samples, every_, count_, work_, samples_)) return;
    for (int r = 0; r < count_; ++r)
      for (int a = 0; a < w; ++a) A_[r * w + a] = F_[samples_[r] * w + a];
    system_.load(A_, count_, w);
    for (int q = 0; q < l.rows; ++q) {
      if (!held[q]) continue;
      for (int a = 0; a < w; ++a) {
        const int flat = a < l.units ? l.matrix + q * l.units + a : l.bias + q;
        allowed_[a] = trial.use[flat];
        w_[a] = trial.theta[flat];
      }
      const auto right = [&](int r) { return trial.y[l.by_row ? q * l.samples + samples_[r] : samples_[r] * l.rows + q]; };
      if (!system_.solve(right, allowed_, w_)) return;
      for (int a = 0; a < w; ++a) trial.theta[a < l.units ? l.matrix + q * l.units + a : l.bias + q] = w_[a];
    }
    trial.proven = true;
  }

 private:
  const Shape& s_;
  const Layer layer_;
  const int count_;
  Model model_;
  PickedSolve system_;
  Ball *y_, *F_, *A_, *w_;
  double* work_;
  int* samples_;
  bool *every_, *allowed_;
};

}  // namespace SL_ISA
}  // namespace sl
