// Exact verdicts of relu networks that learn in one hidden layer: branch and bound over activation patterns, one trial at a time.
// See ops/activation_patterns.h (what is asked), cpu/activation_patterns_layer.h (the equations of one trial).
//
// A node fixes some units on or off in some samples. Its relaxation is one linear programme (method/warm_programme.h):
//   an upper unit that is not fixed   u = z - r with z, r >= 0, activity z: on is r = 0, off is z = 0
//   a unit of the layer that learns   its activities are a point of the convex hull of what its corners and rays (method/unit_cells.h)
//                                     with the signs fixed so far can give: corners have weights >= 0 of sum 1, rays weights >= 0
//   every sample                      its equations
// So fixing a sign bars variables, and nothing else: the tableau goes on from where it stands. If the solution has z r = 0 everywhere, and
// the corners and rays that a unit uses lie in one cell, it is a solution of one pattern. Else the unit and sample where it contradicts
// itself most is fixed, both ways.
//
// Why a yes is a yes: the programme of the pattern alone is solved from scratch (method/feasibility.h), with a margin in every sign.
//
// Why a no is a no: the tableau only proposes multipliers g of the sample equations. A node is dropped if, for every pattern that it holds,
// g and multipliers g_jc of unit j's equations N_j^T (signs v_j) = N_j^T p_j in the unit's cell c refute the programme of that pattern by
// Farkas' lemma, as in method/feasibility.h and with its tolerances. That is tested on the numbers of the programmes themselves:
//   every column that a pattern of the node may have is <= 0 up to rounding, g_jc being solved for at the corner of c that g values most,
//   g e + sum_j min_c g_jc N_j^T p_j > kTolerance max |g|.
// A column may be above 0 by a little more, at most kExcess max |g|, where the left side, less kMostSum times as much, is still larger: so
// every v >= 0 misses, unless its entries, times the sizes of their columns, add up to more than 1e5 or so. Where units have so small an
// effect on the outputs that targets need such, they are scaled by it (cpu/activation_patterns_layer.h); what is not decided then is asked
// again as it is, and there is no no where targets may need such.
// No sum in it has more terms than a programme has equations, so all of them err by some 1e-15 of their terms: no fused multiply-add is
// needed or feared (this file is compiled without). A pattern that is fixed to the end is asked as a programme of its own. What is neither
// yes nor no (a corner without margin: mostly an activity of exactly 0, which another pattern has too) is asked again with a margin; if
// there is no yes in the end, it leaves the trial undecided.
//
// Two more rules drop patterns. A unit cannot have signs that agree with none of its corners. A unit that reads silent units only, without
// bias, has pre-activation 0: it counts as off, and its equation is left out of the programme of a pattern. And where zero is asked of a
// sample, and no bias acts above, activities count up to a factor: a unit whose activity cannot be 1 in a programme of this sample alone is
// off, and a doubtful pattern whose activities of a layer cannot have sum 1 has none, so it is that with the layer off.
//
// Cost: rows = samples (outputs + upper units) + units with corners, columns = corners + rays + 2 samples (upper units); some 5 pivots of
// rows (rows + columns) numbers per node. 3-4-4-2, m = 3: 20 x 60 numbers.
#include "ops/activation_patterns.h"

#include <algorithm>
#include <vector>

#include "cpu/activation_patterns_layer.h"
#include "method/feasibility.h"
#include "method/unit_cells.h"
#include "method/warm_programme.h"

namespace sl {
namespace {

constexpr double kMargins[] = {1e-2, 1e-4, 1e-6, 1e-8};  // tried, for a solution that is no corner
constexpr double kAtOnce = 1e-4;  // the one that a doubtful pattern is asked for as soon as it is met
constexpr double kMostWork = 5e8;  // numbers of tableaux touched by one trial: some 0.2 s
constexpr double kMostTable = 1 << 18;  // numbers of one tableau
constexpr double kUsed = 1e-12;  // weights of corners and rays; less is zero
constexpr double kConflict = 1e-10, kStrictly = 1e-14;
constexpr double kRepair = 1e-15, kRounding = 1e-15;  // of multipliers, relative to the largest
constexpr double kFarAway = 1e5;  // refutations leave out numbers above so much of the scale
constexpr double kExcess = 1e-12, kMostSum = 1e12;  // more than rounding in a column, relative to the multipliers: see below

class Search {
 public:
  LearningLayer layer;

  // The answer of trial b, after layer.read; `most` programmes.
  int run(int64_t most, double eps, Control& control, int worker) {
    most_ = most;
    control_ = &control;
    worker_ = worker;
    spent_ = 0;
    gave_up_ = found_ = false;
    doubts_.clear();
    pattern_.assign(layer.total, 0);
    tested_.clear();
    warm_.work = 0;
    if (layer.doubtful) return -1;
    if (!prepare()) return found_dead_end_ ? no(eps) : -1;
    visit();
    if (!found_ && !gave_up_ && !doubts_.empty()) ask_again();
    if (found_) {
      move_inside();
      return 1;
    }
    return gave_up_ || !doubts_.empty() ? -1 : no(eps);
  }
  // After a yes: what is on, and the pre-activations [n][m] over scale.
  bool on(int i, int q) const { return pattern_[q] >> i & 1; }
  const double* preactivations() {
    u_.resize(static_cast<size_t>(layer.n) * layer.m);
    for (int j = 0; j < layer.n; ++j)
      for (int i = 0; i < layer.m; ++i) u_[j * layer.m + i] = (on(i, j) ? 1 : -1) * v_[i * layer.total + j];
    return u_.data();
  }

 private:
  struct Generator {
    int unit;
    const double* u;  // [m]
    Bits can_on, can_off;
    bool corner;
  };
  struct Fixed { int unit, sample; };

  WarmProgramme warm_;
  Feasibility cold_;
  Control* control_ = nullptr;
  int worker_ = 0;
  int64_t most_ = 0, spent_ = 0;
  double margin_ = 0;  // of the solution that was found
  bool gave_up_ = false, found_ = false, found_dead_end_ = false;
  std::vector<Generator> generators_;
  std::vector<int> first_, corner_row_;  // [n + 1]; [n], of the sum of corners' weights, -1 where there is none
  std::vector<const UnitCells::Corner*> fixed_;  // [n]: the only place of a unit that cannot move, or null
  std::vector<Bits> on_, off_;  // [total]: fixed
  std::vector<Fixed> trail_;
  std::vector<Bits> pattern_, tested_;  // [total]: proposed; asked last
  Feasible answer_ = Feasible::unknown;  // of tested_
  std::vector<std::vector<Bits>> doubts_;
  std::vector<double> z_, on_mass_, off_mass_, g_, given_, pull_, sizes_, u_, v_, effect_;

  // What a refutation does not cover: right sides or signals off by rounding; activities above kFarAway times the scale, where the effect
  // of a unit on the outputs is so small that targets need them (without upper units columns of small weights have been scaled to order
  // one), or some inputs are.
  int no(double eps) {
    bool faint = layer.far() > kFarAway;
    effect_.assign(layer.total, 0.0);
    for (int q = layer.total - 1; q >= 0; --q) {
      for (int r = 0; r < layer.own; ++r)
        effect_[q] =
            larger(effect_[q], std::fabs(layer.F[r * layer.total + q]) * (r < layer.outputs ? 1 : effect_[layer.n + r - layer.outputs]));
      faint |= upper() > 0 && effect_[q] > 0 && effect_[q] < 1 / kFarAway;
    }
    return faint || layer.blurred() || layer.rounding(eps) > kTolerance ? -1 : 0;
  }
  int upper() const { return layer.total - layer.n; }
  int activity_column(int q, int i) const { return first_[layer.n] + 2 * (i * upper() + q - layer.n); }
  int layer_begin(int l) const { return layer.begin[l]; }
  Bits every() const { return (Bits{1} << layer.m) - 1; }

  // The relaxation of the whole trial. False: too large, or (found_dead_end_) no pattern at all.
  bool prepare() {
    const int m = layer.m, n = layer.n, own = layer.own;
    found_dead_end_ = false;
    on_.assign(layer.total, 0);
    off_.assign(layer.total, 0);
    trail_.clear();
    generators_.clear();
    first_.assign(n + 1, 0);
    corner_row_.assign(n, -1);
    fixed_.assign(n, nullptr);
    int rows = m * own;
    for (int j = 0; j < n; ++j) {
      const UnitCells& unit = layer.units[j];
      first_[j] = static_cast<int>(generators_.size());
      const size_t corners_from = generators_.size();
      if (!unit.through_zero)
        for (const auto& corner : unit.corners) {
          bool known = false;
          for (size_t g = corners_from; g < generators_.size() && !known; ++g) known = std::equal(corner.u, corner.u + m, generators_[g].u);
          if (!known) generators_.push_back({j, corner.u, corner.can_on, corner.can_off, true});
        }
      const size_t corners = generators_.size() - corners_from;
      for (const auto& ray : unit.rays)
        if (std::any_of(ray.u, ray.u + m, [](double value) { return value > 0; }))
          generators_.push_back({j, ray.u, ray.can_on, ray.can_off, false});
      if (corners == 1 && generators_.size() == corners_from + 1) {
        fixed_[j] = &unit.corners[0];
        generators_.pop_back();
      } else if (corners) {
        corner_row_[j] = rows++;
      }
    }
    first_[n] = static_cast<int>(generators_.size());
    const int columns = first_[n] + 2 * m * upper();
    if ((rows + 1.0) * (rows + columns) > kMostTable) return false;
    warm_.resize(rows, columns);
    for (int j = 0; j < n; ++j) {
      for (int g = first_[j]; g < first_[j + 1]; ++g) {
        const double* u = generators_[g].u;
        if (corner_row_[j] >= 0 && generators_[g].corner) warm_.column(g)[corner_row_[j]] = 1;
        for (int i = 0; i < m; ++i)
          if (u[i] > 0) add_activity(warm_.column(g), i, j, u[i]);
        if (!generators_[g].corner) scale_column(g);
      }
      if (corner_row_[j] >= 0) warm_.e[corner_row_[j]] = 1;
    }
    for (int i = 0; i < m; ++i) {
      for (int r = 0; r < own; ++r) {
        double right = right_side(i, r);
        for (int j = 0; j < n; ++j)
          if (fixed_[j] && fixed_[j]->u[i] > 0) right -= layer.F[r * layer.total + j] * fixed_[j]->u[i];
        warm_.e[i * own + r] = right;
      }
      for (int q = n; q < layer.total; ++q) {
        const int c = activity_column(q, i);
        add_activity(warm_.column(c), i, q, 1);
        warm_.column(c)[i * own + row_of(q)] = -1;
        warm_.column(c + 1)[i * own + row_of(q)] = 1;
        scale_column(c);
      }
    }
    warm_.start();
    found_dead_end_ = true;
    for (int j = 0; j < n; ++j)
      for (int i = 0; i < m; ++i)
        if (!(layer.units[j].busy >> i & 1) && !fix(j, i, false)) return false;
    for (int i = 0; i < m; ++i)
      if (layer.silent_target[i] && !switch_off(i)) return false;
    for (int j = 0; j < n; ++j)
      if (!follow_cells(j)) return false;
    found_dead_end_ = false;
    return follow(0) || !(found_dead_end_ = true);
  }
  int row_of(int q) const { return layer.outputs + q - layer.n; }
  double right_side(int i, int r) const {
    return (r < layer.outputs ? layer.target[r * layer.m + i] : -layer.bias[layer.n + r - layer.outputs]) / layer.scale;
  }
  void add_activity(double* column, int i, int q, double activity) const {
    for (int r = 0; r < layer.own; ++r) column[i * layer.own + r] += layer.F[r * layer.total + q] * activity;
  }
  // By a power of two, to order one.
  void scale_column(int c) {
    double most = 0;
    for (int r = 0; r < warm_.rows; ++r) most = larger(most, std::fabs(warm_.column(c)[r]));
    if (!(most > 0)) return;
    const double size = std::ldexp(1.0, -std::ilogb(most));
    for (int r = 0; r < warm_.rows; ++r) warm_.column(c)[r] *= size;
  }

  // Signs, and what follows from them

  bool fix(int q, int i, bool on) {
    const Bits bit = Bits{1} << i;
    if ((on ? on_ : off_)[q] & bit) return true;
    if ((on ? off_ : on_)[q] & bit) return false;
    (on ? on_ : off_)[q] |= bit;
    trail_.push_back({q, i});
    bar(q, i);
    return true;
  }
  void bar(int q, int i) {
    if (q >= layer.n) {
      const int c = activity_column(q, i);
      warm_.barred[c] = off_[q] >> i & 1;
      warm_.barred[c + 1] = on_[q] >> i & 1;
    } else {
      for (int g = first_[q]; g < first_[q + 1]; ++g)
        warm_.barred[g] = (on_[q] & ~generators_[g].can_on) != 0 || (off_[q] & ~generators_[g].can_off) != 0;
    }
  }
  void undo(size_t length) {
    while (trail_.size() > length) {
      const Fixed last = trail_.back();
      trail_.pop_back();
      on_[last.unit] &= ~(Bits{1} << last.sample);
      off_[last.unit] &= ~(Bits{1} << last.sample);
      bar(last.unit, last.sample);
    }
  }
  bool remains(int q, Bits cell) const { return !(on_[q] & ~cell) && !(off_[q] & cell); }
  bool follow_cells(int j) {
    const UnitCells& unit = layer.units[j];
    if (!unit.k) return true;
    Bits all = ~Bits{0}, any = 0;
    bool some = false;
    for (const Bits cell : unit.cells)
      if (remains(j, cell)) {
        some = true;
        all &= cell;
        any |= cell;
      }
    if (!some) return false;
    for (int i = 0; i < layer.m; ++i) {
      const Bits bit = Bits{1} << i;
      if ((all & bit && !fix(j, i, true)) || (!(any & bit) && !fix(j, i, false))) return false;
    }
    return true;
  }
  // Everything that follows from what was fixed since. False: nothing is left.
  bool follow(size_t from) {
    Bits touched = 0;
    for (; from < trail_.size() || touched; ++from) {
      if (from == trail_.size()) {  // the dearest rule last
        const int i = __builtin_ctz(touched);
        touched &= touched - 1;
        --from;
        if (!switch_off(i)) return false;
        continue;
      }
      const auto [q, i] = trail_[from];
      touched |= static_cast<Bits>(layer.silent_target[i]) << i;
      if (q < layer.n && !follow_cells(q)) return false;
      const int l = layer.layer_of[q];
      if (l + 2 >= static_cast<int>(layer.begin.size()) || !(off_[q] >> i & 1)) continue;
      bool silent = true;
      for (int c = layer_begin(l); c < layer_begin(l + 1); ++c) silent &= (off_[c] >> i & 1) != 0;
      for (int c = layer_begin(l + 1); silent && c < layer_begin(l + 2); ++c)
        if (layer.bias[c] == 0 && !fix(c, i, false)) return false;  // on: a pattern that counts as off
    }
    return true;
  }
  // Zero is asked of sample i: units that cannot have activity 1 are off.
  bool switch_off(int i) {
    for (int l = static_cast<int>(layer.begin.size()) - 2; l >= 0; --l)
      for (int q = layer_begin(l); q < layer_begin(l + 1); ++q) {
        if (off_[q] >> i & 1) continue;
        const int from = l ? l - 1 : 0, at = layer_begin(from), next = layer_begin(from + 1), free = next - at;
        const int rows = layer.outputs + layer.total - next;
        cold_.resize(rows + 1, free + 2 * (layer.total - next));
        for (int c = at; c < layer.total; ++c) {
          if (off_[c] >> i & 1) continue;
          for (int r = 0; r < rows; ++r) cold_.at(r, c - at) = coefficient(r, c, next);
        }
        for (int c = next; c < layer.total; ++c) {
          if (!(off_[c] >> i & 1)) cold_.at(layer.outputs + c - next, c - at) -= 1;
          if (!(on_[c] >> i & 1)) cold_.at(layer.outputs + c - next, c - at + layer.total - next) = 1;
        }
        cold_.at(rows, q - at) = 1;
        cold_.e[rows] = 1;
        if (cold_.solve(0, warm_.work) == Feasible::no && !fix(q, i, false)) return false;
      }
    return true;
  }
  // F with the rows of outputs and of units from `next` on.
  double coefficient(int r, int q, int next) const {
    return layer.F[static_cast<size_t>(r < layer.outputs ? r : r + next - layer.n) * layer.total + q];
  }

  // Nodes

  void visit() {
    ++spent_;
    if (spent_ > most_ || warm_.work > kMostWork || control_->should_stop(worker_)) gave_up_ = true;
    if (gave_up_) return;
    const bool solved = warm_.solve();
    const bool met = solved && warm_.missing <= kTolerance;
    if (solved && warm_.missing > 1e-13 && refuted()) return;
    if (solved && !met && warm_.missing > 1e-6) {  // perhaps only because the tableau has drifted
      warm_.renew();
      if (warm_.solve(kStrictly) && refuted()) return;
    }
    int unit = -1, sample = -1;
    bool on = false;
    read_masses();
    const bool agrees = contradiction(&unit, &sample, &on);
    if (met && agrees && propose()) {
      if (ask(pattern_) == Feasible::yes) return;
    }
    if (unit < 0) {
      for (int q = 0; q < layer.total; ++q) pattern_[q] = on_[q];
      if (ask(pattern_) == Feasible::unknown && !same_without_a_layer()) doubts_.push_back(pattern_);
      return;
    }
    for (int side = 0; side < 2 && !found_ && !gave_up_; ++side) {
      const size_t length = trail_.size();
      if (fix(unit, sample, side ? !on : on) && follow(length)) visit();
      undo(length);
    }
  }

  // How strongly the solution has each unit on and off in each sample.
  void read_masses() {
    const int m = layer.m;
    z_.resize(warm_.columns);
    warm_.values(z_.data());
    on_mass_.assign(static_cast<size_t>(layer.total) * m, 0.0);
    off_mass_.assign(static_cast<size_t>(layer.total) * m, 0.0);
    auto add = [&](int q, const double* u, double weight) {
      for (int i = 0; i < m; ++i) (u[i] > 0 ? on_mass_ : off_mass_)[q * m + i] += weight * std::fabs(u[i]);
    };
    for (int g = 0; g < first_[layer.n]; ++g)
      if (z_[g] > kUsed) add(generators_[g].unit, generators_[g].u, z_[g]);
    for (int j = 0; j < layer.n; ++j)
      if (fixed_[j]) add(j, fixed_[j]->u, 1);
    for (int q = layer.n; q < layer.total; ++q)
      for (int i = 0; i < m; ++i) {
        on_mass_[q * m + i] = z_[activity_column(q, i)];
        off_mass_[q * m + i] = z_[activity_column(q, i) + 1];
      }
  }
  // The sign that is not fixed and is contradicted most, and its larger side; without a contradiction (true), the one nearest to zero.
  bool contradiction(int* unit, int* sample, bool* on) const {
    double worst = kConflict, nearest = INFINITY;
    bool agrees = true;
    for (int q = 0; q < layer.total; ++q)
      for (int i = 0; i < layer.m; ++i) {
        if ((on_[q] | off_[q]) >> i & 1) continue;
        const double a = on_mass_[q * layer.m + i], b = off_mass_[q * layer.m + i];
        if (smaller(a, b) > worst) {
          worst = smaller(a, b);
          agrees = false;
        } else if (!agrees || larger(a, b) >= nearest) {
          continue;
        }
        nearest = larger(a, b);
        *unit = q;
        *sample = i;
        *on = a > b;
      }
    return agrees;
  }
  // The pattern of a solution without contradictions.
  bool propose() {
    for (int q = 0; q < layer.total; ++q) {
      Bits on = 0, off = 0;
      for (int i = 0; i < layer.m; ++i) {
        const double a = on_mass_[q * layer.m + i], b = off_mass_[q * layer.m + i];
        on |= static_cast<Bits>(a > kConflict && a >= b) << i;
        off |= static_cast<Bits>(b > kConflict && b > a) << i;
      }
      on = (on & ~off_[q]) | on_[q];
      off = (off & ~on_[q]) | off_[q];
      pattern_[q] = on;
      if (q >= layer.n || !layer.units[q].k) continue;
      const auto& cells = layer.units[q].cells;
      const auto fits = std::find_if(cells.begin(), cells.end(), [&](Bits cell) { return !(on & ~cell) && !(off & cell); });
      if (fits == cells.end()) return false;
      pattern_[q] = *fits;
    }
    return true;
  }

  // Programmes of one pattern

  bool silent(const std::vector<Bits>& pattern, int q, int i) const {
    const int l = layer.layer_of[q];
    if (!l || layer.bias[q] != 0) return false;
    for (int c = layer_begin(l - 1); c < layer_begin(l); ++c)
      if (pattern[c] >> i & 1) return false;
    return true;
  }
  void build(const std::vector<Bits>& pattern) {
    const int m = layer.m, n = layer.n, own = layer.own, total = layer.total;
    int rows = m * own;
    for (const auto& unit : layer.units) rows += unit.k;
    cold_.resize(rows, m * total);
    for (int i = 0; i < m; ++i) {
      for (int r = 0; r < own; ++r) {
        for (int q = 0; q < total; ++q)
          if (pattern[q] >> i & 1) cold_.at(i * own + r, i * total + q) = layer.F[r * total + q];
        cold_.e[i * own + r] = right_side(i, r);
      }
      for (int q = n; q < total; ++q)
        cold_.at(i * own + row_of(q), i * total + q) = silent(pattern, q, i) ? 0 : pattern[q] >> i & 1 ? -1 : 1;
    }
    int row = m * own;
    for (int j = 0; j < n; ++j) {
      const UnitCells& unit = layer.units[j];
      for (int c = 0; c < unit.k; ++c, ++row) {
        for (int i = 0; i < m; ++i) cold_.at(row, i * total + j) = (pattern[j] >> i & 1 ? 1 : -1) * unit.N[i * unit.k + c];
        cold_.e[row] = unit.right[c];
      }
    }
  }
  Feasible solve_pattern(const std::vector<Bits>& pattern, double margin) {
    build(pattern);
    const Feasible answer = cold_.solve(margin, warm_.work);
    if (answer == Feasible::yes) {
      found_ = true;
      v_ = cold_.v;
      margin_ = margin;
      if (&pattern != &pattern_) pattern_ = pattern;
    }
    return answer;
  }
  Feasible ask(const std::vector<Bits>& pattern) {
    if (pattern == tested_) return answer_;
    tested_ = pattern;
    answer_ = solve_pattern(pattern, 0);
    if (answer_ == Feasible::unknown && solve_pattern(pattern, kAtOnce) == Feasible::yes) answer_ = Feasible::yes;
    return answer_;
  }
  void ask_again() {
    for (const double margin : kMargins)
      for (const auto& pattern : doubts_) {
        if (control_->should_stop(worker_) || solve_pattern(pattern, margin) == Feasible::yes) return;
      }
  }
  // Of the solutions of pattern_ one with the largest margin that there is: it can be proven.
  void move_inside() {
    for (const double margin : kMargins)
      if (margin > margin_ && solve_pattern(pattern_, margin) == Feasible::yes) return;
  }
  // Is a layer that is on in pattern_ without activity, in a sample of which zero is asked? Then the pattern with this layer off has the
  // same solutions.
  bool same_without_a_layer() {
    for (int i = 0; i < layer.m; ++i) {
      if (!layer.silent_target[i]) continue;
      for (int l = static_cast<int>(layer.begin.size()) - 2; l >= 0; --l) {
        bool any = false, free = true;
        for (int q = layer_begin(l); q < layer_begin(l + 1); ++q) any |= (pattern_[q] >> i & 1) != 0;
        for (int j = 0; j < layer.n && !l; ++j) free &= !((layer.units[j].busy & ~layer.units[j].reached) >> i & 1);
        if (!any || !free) continue;
        const int from = l ? l - 1 : 0, at = layer_begin(from), next = layer_begin(from + 1), rows = layer.outputs + layer.total - next;
        cold_.resize(rows + 1, layer.total - at);
        for (int q = at; q < layer.total; ++q) {
          const bool below = l && q < next, on = below || (pattern_[q] >> i & 1);
          for (int r = 0; r < rows && on; ++r) cold_.at(r, q - at) = coefficient(r, q, next);
          if (q >= next) {
            const bool reads = layer.layer_of[q] == l;  // layer l reads whatever activities
            cold_.at(layer.outputs + q - next, q - at) = !reads && silent(pattern_, q, i) ? 0 : on ? -1 : 1;
          }
          if (layer.layer_of[q] == l && on) cold_.at(rows, q - at) = 1;
        }
        cold_.e[rows] = 1;
        if (cold_.solve(0, warm_.work) == Feasible::no) return true;
      }
    }
    return false;
  }

  // The certificate of a node: is every pattern that it holds refuted by the multipliers of the tableau?
  // Multipliers as they are; solved for again; without entries that may be rounding; those of one sample alone, which may be smaller.
  bool refuted() {
    given_.resize(warm_.rows);
    warm_.multipliers(given_.data());
    g_ = given_;
    if (refute()) return true;
    warm_.multipliers_afresh(given_.data());
    g_ = given_;
    if (refute()) return true;
    double size = 0;
    for (int r = 0; r < layer.m * layer.own; ++r) size = larger(size, std::fabs(given_[r]));
    g_ = given_;
    for (double& value : g_)
      if (std::fabs(value) < kRounding * size) value = 0;
    if (refute()) return true;
    for (int i = 0; i < layer.m; ++i) {
      std::fill(g_.begin(), g_.end(), 0.0);
      std::copy_n(given_.begin() + i * layer.own, layer.own, g_.begin() + i * layer.own);
      if (refute(true) || (layer.m > 1 && refute())) return true;
    }
    return false;
  }
  // alone: units' own equations are left out where they can be.
  bool refute(bool alone = false) {
    const int m = layer.m, n = layer.n, own = layer.own, total = layer.total;
    double size = 0, gain = 0, excess = 0;
    for (int r = 0; r < m * own; ++r) size = larger(size, std::fabs(g_[r]));
    pull_.resize(static_cast<size_t>(total) * m);  // g times the column of an activity, and the sum of absolute terms
    sizes_.resize(static_cast<size_t>(total) * m);
    for (int i = 0; i < m; ++i)
      for (int q = total - 1; q >= 0; --q) {  // from the top: the rows that q's activity is in are those of outputs and later units
        double sum = 0, sizes = 0;
        for (int r = 0; r < own; ++r) {
          const double term = g_[i * own + r] * layer.F[r * total + q];
          sum += term;
          sizes += std::fabs(term);
        }
        pull_[q * m + i] = sum;
        sizes_[q * m + i] = sizes;
        if (q < n) continue;
        const bool may_on = !(off_[q] >> i & 1), may_off = !(on_[q] >> i & 1);
        double& mine = g_[i * own + row_of(q)];  // any multipliers will do: those of basic variables are made exact
        if (may_off && std::fabs(mine) < kRepair * size) mine = 0;
        if (may_on && std::fabs(sum - mine) < kRepair * size && !(may_off && sum > 0)) mine = sum;
        if (may_on && !below(sum - mine, sizes + std::fabs(mine), size, 1, &excess)) return false;
        if (may_off && !below(mine, std::fabs(mine), size, 1, &excess)) return false;
      }
    for (int i = 0; i < m; ++i)
      for (int r = 0; r < own; ++r) gain += g_[i * own + r] * right_side(i, r);
    Bound bound{0, size, excess};
    for (int j = 0; j < n; ++j) {
      const UnitCells& unit = layer.units[j];
      if (!unit.k) {
        for (int i = 0; i < m; ++i)
          if (!(off_[j] >> i & 1) && !below(pull_[j * m + i], sizes_[j * m + i], size, column_size(j, i, true), &excess)) return false;
        continue;
      }
      bound.least = INFINITY;
      for (const Bits cell : unit.cells)
        if (remains(j, cell) && !bound_cell(j, cell, size, alone, &bound)) return false;
      gain += bound.least;
    }
    return gain - kMostSum * bound.excess > kTolerance * bound.largest;
  }
  // Is a column, of which `sum` is left, <= 0 up to rounding? sizes: the sum of absolute terms; size: of the largest multiplier; unit: of
  // the column. A little more is an excess, which the gain must make up for.
  static bool below(double sum, double sizes, double size, double unit, double* excess) {
    const double over = (sum - kFarkas * (sizes + 0.1 * size * unit)) / unit;
    if (!(over <= kExcess * size)) return false;
    *excess = larger(*excess, over);
    return true;
  }
  // 1, or the power of two that brings the column of unit j's variable in sample i to order one where it is small.
  double column_size(int j, int i, bool on) const {
    const UnitCells& unit = layer.units[j];
    double most = 0;
    for (int c = 0; c < unit.k; ++c) most = larger(most, std::fabs(unit.N[i * unit.k + c]));
    for (int r = 0; r < layer.own && on; ++r) most = larger(most, std::fabs(layer.F[r * layer.total + j]));
    return most > 0 && most < 1.0 / 256 ? std::ldexp(1.0, std::ilogb(most) + 1) : 1.0;
  }
  // Multipliers of unit j's equations in one cell, solved for at the corners that the sample equations value most: bound->least becomes at
  // most what they gain, the others at least their sizes and excesses. False if none of them will do.
  struct Bound { double least, largest, excess; };
  bool bound_cell(int j, Bits cell, double size, bool alone, Bound* bound) const {
    const UnitCells& unit = layer.units[j];
    const int m = layer.m, k = unit.k;
    const double *pull = &pull_[j * m], *sizes = &sizes_[j * m];
    const Bits off = unit.busy & ~cell;
    double best = -INFINITY, units[UnitCells::kM];
    double clear[UnitCells::kM];  // pull without what may be rounding: small coefficients of N would make it large
    for (int i = 0; i < m; ++i) {
      const bool on = cell >> i & 1;
      units[i] = column_size(j, i, on);
      clear[i] = on && std::fabs(pull[i]) > kFarkas * (sizes[i] + 0.1 * size * units[i]) ? pull[i] : 0;
    }
    if (alone && *std::max_element(clear, clear + m) <= 0) {
      bound->least = smaller(bound->least, 0.0);
      return true;
    }
    auto value = [&](const UnitCells::Corner& corner) {
      double sum = 0;
      for (int i = 0; i < m; ++i) sum += clear[i] * corner.u[i];
      return sum;
    };
    auto fits = [&](const UnitCells::Corner& corner) { return !(cell & ~corner.can_on) && !(off & ~corner.can_off); };
    for (const auto& corner : unit.corners)
      if (fits(corner)) best = larger(best, value(corner));
    for (const auto& corner : unit.corners) {
      if (!fits(corner) || value(corner) < best - 1e-9 * (std::fabs(best) + size)) continue;
      double g[UnitCells::kM], most = 0, gain = 0;
      for (int c = 0; c < k; ++c) {
        g[c] = 0;
        for (int r = 0; r < k; ++r) g[c] -= corner.inverse[c * k + r] * clear[corner.support[r]];
        most = larger(most, std::fabs(g[c]));
        gain += g[c] * unit.right[c];
      }
      bool all_below = true;
      double excess = 0;
      for (int i = 0; i < m && all_below; ++i) {
        if (!(unit.busy >> i & 1)) continue;
        const bool on = cell >> i & 1;
        double sum = 0, terms = 0;
        for (int c = 0; c < k; ++c) {
          const double term = (on ? 1 : -1) * unit.N[i * k + c] * g[c];
          sum += term;
          terms += std::fabs(term);
        }
        all_below = below(on ? sum + pull[i] : sum, on ? terms + sizes[i] : terms, size, units[i], &excess);
      }
      if (!all_below) continue;
      *bound = {smaller(bound->least, gain), larger(bound->largest, most), larger(bound->excess, excess)};
      return true;
    }
    return false;
  }
};

struct Job {
  const ActivationPatternsArgs* args;
  std::vector<Search> searches;  // one per worker
};

void decide(void* context, int worker, int64_t b, Control& control) {
  auto& job = *static_cast<Job*>(context);
  const ActivationPatternsArgs& a = *job.args;
  Search& search = job.searches[worker];
  LearningLayer& layer = search.layer;
  layer.read(a, b, true);
  if (layer.doubtful && layer.is_scaled()) layer.read(a, b, false);
  a.nothing[b] = layer.asks_for_nothing;
  const Shape& s = *a.shape;
  double* theta = a.theta_out + b * s.size;
  if (layer.asks_for_nothing) {  // weights of zero do that; but no pattern may have this with a margin
    a.match[b] = 1;
    for (int k = 0; k < s.size; ++k) theta[k] = a.mask[b * s.size + k] ? 0.0 : a.theta[b * s.size + k];
    return;
  }
  int answer = search.run(a.most, a.eps, control, worker);
  if (answer < 0 && layer.is_scaled()) {  // biases and frozen parts of units without much effect count for nothing there: as they are
    layer.read(a, b, false);
    answer = search.run(a.most, a.eps, control, worker);
  }
  a.match[b] = static_cast<int8_t>(answer);
  if (a.match[b] != 1) return;
  for (int i = 0; i < layer.m; ++i)
    for (int q = 0; q < layer.total; ++q) a.pattern[(b * layer.m + i) * layer.total + q] = search.on(i, q);
  layer.weights(a, b, search.preactivations(), theta);
}

void solve_one(void* context, int, int64_t b, Control&) {
  const auto& a = *static_cast<const FeasibleArgs*>(context);
  Feasibility programme;
  programme.resize(a.rows, a.columns);
  std::copy_n(a.C + b * a.rows * a.columns, programme.C.size(), programme.C.begin());
  std::copy_n(a.e + b * a.rows, a.rows, programme.e.begin());
  double work = 0;
  const Feasible answer = programme.solve(a.margin, work);
  a.status[b] = static_cast<int8_t>(answer);
  if (answer == Feasible::yes) std::copy_n(programme.v.begin(), a.columns, a.v + b * a.columns);
}

}  // namespace

void feasible(const FeasibleArgs& a, Control& control) { parallel_for(a.batch, 1, control, solve_one, const_cast<FeasibleArgs*>(&a)); }

void activation_patterns(const ActivationPatternsArgs& a, Control& control) {
  Job job{&a, std::vector<Search>(worker_count(a.batch, a.threads))};
  parallel_for(a.batch, a.threads, control, decide, &job);
}

}  // namespace sl
