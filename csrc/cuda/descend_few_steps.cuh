// descend_few_steps.cuh: descent of a recurrent network with 4 or 8 hidden units, 1 or 2 outputs and at most 8 time steps: one student per
// thread, everything that has a fixed place in registers, time steps unrolled. See descend.cu, whose kernel runs it.
//
//   registers   W, D, c; drives B x_t + b, targets and errors (but for 8 units in double precision, where they are in the strip)
//   strip       what a learnable weight reaches by its position, which differs from thread to thread: the weights of the groups that
//               learn (16 bytes of them side by side, so that W comes in a quarter of the loads), the rows h_t and delta_t, and per
//               learnable weight a record: its value one step ago, its optimiser's state and its place
//
//   A weight's gradient is a sum over t of left[t] right[t]: delta_t[a] h_{t-1}[k] in W, delta_t[a] x_t[k] in B and b (x_t ends with 1),
//   e_t[q] h_t[k] in D, e_t[q] 1 in c. Rows of all these tables are N entries apart, so that the two positions at the first step and a
//   constant distance say everything; with the weight's own position they are one word, its place. Weights are updated four at a
//   time: a thread then waits once for its loads, roots and reciprocals where it would wait four times.
//   Where W alone learns, steps 2 to T of delta and 1 to T - 1 of h are all that is needed, and an entry holds two steps of one unit.
//   Else W's first product is delta_1 h_0 = 0.
//
// Work per step at n = 8, o = 2, T = 6, where 12 weights of W learn, linear, single precision: 1370 instructions of a warp, 840 of them
// multiply-adds, 190 of them accesses to shared memory (420 words a thread); the strip is 26.5 KB a warp.
#pragma once
#include "cuda/strip.cuh"
#include "method/optimizers.h"
#include "ops/descend.h"

namespace sl {
namespace SL_ISA {

static_assert(kActivations == 3, "an activation is written out here");

template <class T> struct alignas(2 * sizeof(T)) Rate {
  T rate, scale2;  // lr / (1 - 0.9^t), 1 / (1 - 0.999^t)
};

// rate m / (sqrt(q) + kEpsilon). In single precision by the device's own root and reciprocal, each within one unit in the last place, in
// place of calls with branches; a root that is flushed to zero is nothing beside kEpsilon.
SL_DEVICE double adam_change(double rate, double m, double q) { return rate * m / (square_root(q) + kEpsilon); }
SL_DEVICE float adam_change(float rate, float m, float q) {
#if defined(__CUDA_ARCH__)
  float root, inverse;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(q));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(root + static_cast<float>(kEpsilon)));
  return rate * m * inverse;
#else
  return rate * m / (square_root(q) + static_cast<float>(kEpsilon));
#endif
}

// Side by side in one entry, for one load.
template <class S, int V> struct alignas(V * sizeof(S)) Together { S at[V]; };

// Where the tables begin; -1: not there.
struct FewTables {
  int W = 0, D = -1, c = -1, B = -1, b = -1, spare, weights;  // positions of weights; spare: that of slots that are not used
  int x = -1, h, delta, error = -1, rows;  // entries of rows
  int drive = -1, target = -1, miss = -1, numbers;  // entries of single numbers
  int slots;  // budget, rounded up
  int linear, moves;  // moves: B or b learns
  int whole;  // others than W learn: sums over all steps
};

// T: number of time steps of a linear network of which W alone learns; 0: any network of up to 8 steps.
template <class S, int N, int O, int T>
class FewSteps {
  static constexpr bool kPlain = T > 0;
  static constexpr int kMost = kPlain ? T : 8, kTogether = 4;
  static constexpr bool kHeld = sizeof(S) * N <= 32;
  static constexpr int kWide = 16 / sizeof(S), kSteps = kPlain ? 2 : 1;  // weights and steps in one entry
  static constexpr int kBits = 9;  // of a row's position in a place
  using Row = Together<S, kSteps>;
  using Wide = Together<S, kWide>;
  struct alignas(16) Record {
    S before, first, second;
    int place;
  };

 public:
  using Tables = FewTables;
  static bool can(const DescendArgs<S>& a) {
    const Shape& s = *a.students.shape;
    if (s.kind != Kind::recurrent || s.hidden != N || s.outputs != O || s.inputs >= N) return false;
    if constexpr (!kPlain) {
      return s.steps <= kMost;
    } else {
      for (int g = 0; g < s.groups; ++g)
        if (a.group_learns[g] != (g == 1)) return false;
      return s.steps == T && s.activation == Activation::linear;
    }
  }
  static Tables tables(const DescendArgs<S>& a) {
    const Shape& s = *a.students.shape;
    const bool* learns = a.group_learns;
    const bool learns_b = s.b >= 0 && learns[3], learns_c = s.c >= 0 && learns[s.b >= 0 ? 4 : 3];
    Tables t;
    t.linear = s.activation == Activation::linear;
    t.moves = learns[0] || learns_b;
    t.whole = t.moves || learns[2] || learns_c;
    t.slots = (a.budget + kTogether - 1) / kTogether * kTogether;
    t.weights = t.rows = t.numbers = 0;
    auto take = [](int& used, int count) { return (used += count) - count; };
    t.W = take(t.weights, N * N);
    if (learns[2]) t.D = take(t.weights, O * N);
    if (learns_c) t.c = take(t.weights, O);
    if (t.moves) t.B = take(t.weights, N * s.inputs);
    if (t.moves && s.b >= 0) t.b = take(t.weights, N);
    t.spare = take(t.weights, 1);
    auto entries = [](int steps) { return (steps + kSteps - 1) / kSteps * N; };
    if (t.moves || learns_c) t.x = take(t.rows, entries(s.steps));
    t.h = take(t.rows, entries(t.whole ? s.steps + 1 : t.linear ? s.steps - 1 : s.steps));
    t.delta = take(t.rows, entries(t.whole ? s.steps : s.steps - 1));
    if (t.whole) t.error = take(t.rows, entries(s.steps));
    if (!kHeld) t.drive = take(t.numbers, s.steps * N);
    if (!kHeld) t.target = take(t.numbers, s.equations);
    if (!kHeld) t.miss = take(t.numbers, s.equations);
    require(t.rows <= 1 << kBits && element(t.weights) < 1 << (32 - 2 * kBits), "descend: places of 32 bits");
    return t;
  }
  static size_t bytes(const Tables& t) {
    return sizeof(Entry<Wide>) * static_cast<size_t>((t.weights + kWide - 1) / kWide) + sizeof(Entry<Row>) * static_cast<size_t>(t.rows) +
           sizeof(Entry<S>) * static_cast<size_t>(t.numbers) + sizeof(Entry<Record>) * static_cast<size_t>(t.slots);
  }

  SL_DEVICE FewSteps(const Shape& s, const DescendArgs<S>& a, const Groups& groups, const Tables& t, Strip strip)
      : s_(s), a_(a), t_(t), learns_W_(groups.learns[1]),
        weights_(&take_array<Entry<Wide>>(strip, (t.weights + kWide - 1) / kWide)->value.at[0]),
        rows_(take_array<Entry<Row>>(strip, t.rows)), numbers_(take_array<Entry<S>>(strip, t.numbers)),
        records_(take_array<Entry<Record>>(strip, t.slots)) {}

  // Returns the sum of the squared targets.
  SL_DEVICE S load(int64_t student) {
    const S *theta = a_.students.theta + student * a_.students.theta_stride, *x = a_.students.x + student * a_.students.x_stride;
    copy(t_.W, theta + s_.W, N * N);
    copy(t_.D, theta + s_.D, O * N);
    copy(t_.c, theta + s_.c, O);
    copy(t_.B, theta + s_.B, N * s_.inputs);
    copy(t_.b, theta + s_.b, N);
    SL_UNROLL(16)
    for (int k = 0; k < O * N; ++k) d_[k] = theta[s_.D + k];
    SL_UNROLL(2)
    for (int e = 0; e < O; ++e) c_[e] = s_.c >= 0 ? theta[s_.c + e] : S(0);
    if (t_.x >= 0)
      for (int t = 0; t < s_.steps; ++t) {
        for (int j = 0; j < s_.inputs; ++j) set(t_.x + t * N + j, x[t * s_.inputs + j]);
        set(t_.x + t * N + s_.inputs, S(1));
      }
    if (whole())
      for (int k = 0; k < N; ++k) set(t_.h + k, S(0)), set(t_.delta + k, S(0));  // h_0, and delta_1 where it is not computed
    if (!moves())
      drives([&](int k) { return theta[s_.B + k]; }, [&](int k) { return s_.b >= 0 ? theta[s_.b + k] : S(0); },
             [&](int t, int j) { return x[t * s_.inputs + j]; });
    weights_[element(t_.spare)] = S(0);
    r_ = 0;  // slots are padded at the end
    for (int k = 0; k < t_.slots; ++k) {
      const int flat = k < a_.budget ? a_.indices[student * a_.index_stride + k] : s_.size, at = place(flat);
      if (flat < s_.size) ++r_;
      records_[k] = Record{weights_[weight_of(at)], S(0), S(0), at};
    }
    S sum = 0;
    const S* y = a_.y + student * a_.y_stride;
    SL_UNROLL(16)
    for (int k = 0; k < kMost * O; ++k)
      if (k < steps() * O) {
        const S v = y[k];
        if constexpr (kHeld) target_[k] = v;
        else numbers_[t_.target + k] = v;
        sum += v * v;
      }
    return sum;
  }

  // The loss.
  SL_DEVICE S forward() {
    take_W();
    if (!kPlain && t_.D >= 0) {
      SL_UNROLL(16)
      for (int k = 0; k < O * N; ++k) d_[k] = weights_[element(t_.D + k)];
    }
    if (!kPlain && t_.c >= 0) {
      SL_UNROLL(2)
      for (int e = 0; e < O; ++e) c_[e] = weights_[element(t_.c + e)];
    }
    if (moves())
      drives([&](int k) { return weights_[element(t_.B + k)]; }, [&](int k) { return t_.b >= 0 ? weights_[element(t_.b + k)] : S(0); },
             [&](int t, int j) { return Row(rows_[t_.x + t * N + j]).at[0]; });
    Entry<Row>* const out = rows_ + t_.h + (whole() ? N : 0);
    Row kept[N] = {};
    S loss = 0, h[N];
    SL_UNROLL(8)
    for (int t = 0; t < kMost; ++t) {
      if (t >= steps()) break;
      S z[N];
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) z[a] = drive(t, a);
      if (t > 0) {
        SL_UNROLL(8)
        for (int b = 0; b < N; ++b) SL_UNROLL(8)
        for (int a = 0; a < N; ++a) z[a] += w_[a * N + b] * h[b];
      }
      if (!linear()) activate(z, out + t / kSteps * N);
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) h[a] = z[a];
      if (t + 1 < steps() || whole() || !linear()) {
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) {
          kept[a].at[t % kSteps] = h[a];
          if (t % kSteps == kSteps - 1 || (kPlain && t == T - 2)) out[t / kSteps * N + a] = kept[a];
        }
      }
      SL_UNROLL(2)
      for (int e = 0; e < O; ++e) {
        S sum = c_[e];
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) sum += d_[e * N + a] * h[a];
        const S miss = sum - target(t * O + e);
        loss += miss * miss;
        if constexpr (kHeld) error_[t * O + e] = miss + miss;
        else numbers_[t_.miss + t * O + e] = miss + miss;
        if (whole()) set(t_.error + t * N + e, miss + miss);
      }
    }
    return loss;
  }

  SL_DEVICE void step(Rate<S> rate) {
    if (kPlain || learns_W_ || moves()) adjoints();
    if (a_.optimizer == Optimizer::adam) update<Optimizer::adam>(rate);
    else if (a_.optimizer == Optimizer::momentum) update<Optimizer::momentum>(rate);
    else update<Optimizer::sgd>(rate);
  }

  SL_DEVICE void step_back() {
    for (int k = 0; k < r_; ++k) {
      const Record record = records_[k];
      weights_[weight_of(record.place)] = record.before;
    }
  }
  SL_DEVICE void store(int64_t student) const {
    for (int k = 0; k < r_; ++k)
      a_.theta_out[student * s_.size + a_.indices[student * a_.index_stride + k]] = weights_[weight_of(Record(records_[k]).place)];
  }

 private:
  // Where the weight at a position is.
  static SL_HD constexpr int element(int position) { return position / kWide * static_cast<int>(cuda::kWarp) * kWide + position % kWide; }
  static SL_DEVICE unsigned weight_of(int place) { return static_cast<unsigned>(place) >> 2 * kBits; }
  SL_DEVICE void set(int row, S v) { rows_[row].value.at[0] = v; }  // one step per entry
  SL_DEVICE int steps() const { return kPlain ? T : s_.steps; }
  SL_DEVICE bool linear() const { return kPlain || t_.linear; }
  SL_DEVICE bool moves() const { return !kPlain && t_.moves; }
  SL_DEVICE bool whole() const { return !kPlain && t_.whole; }
  SL_DEVICE S drive(int t, int a) const {
    if constexpr (kHeld) return drive_[t * N + a];
    else return numbers_[t_.drive + t * N + a];
  }
  SL_DEVICE void set_drive(int t, int a, S v) {
    if constexpr (kHeld) drive_[t * N + a] = v;
    else numbers_[t_.drive + t * N + a] = v;
  }
  SL_DEVICE S target(int k) const {
    if constexpr (kHeld) return target_[k];
    else return numbers_[t_.target + k];
  }
  SL_DEVICE S error(int t, int e) const {
    if constexpr (kHeld) return error_[t * O + e];
    else return numbers_[t_.miss + t * O + e];
  }
  SL_DEVICE void copy(int to, const S* from, int count) {
    for (int k = 0; to >= 0 && k < count; ++k) weights_[element(to + k)] = from[k];
  }
  // row: z's row of the strip.
  SL_DEVICE void activate(S (&z)[N], Entry<Row>* row) const {
    if (s_.activation == Activation::relu) {
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) z[a] = relu_of(z[a]);
    } else if constexpr (sizeof(S) == 4) {
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) z[a] = tanh_of(z[a]);
    } else {  // its code is long: one copy for the units of a step
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) row[a].value.at[0] = z[a];
      SL_ROLLED
      for (int a = 0; a < N; ++a) row[a].value.at[0] = tanh_of(row[a].value.at[0]);
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) z[a] = row[a].value.at[0];
    }
  }
  SL_DEVICE void take_W() {
    SL_UNROLL(64)
    for (int k = 0; k < N * N; k += kWide) {
      const Wide some = *reinterpret_cast<const Wide*>(weights_ + element(k));
      SL_UNROLL(4)
      for (int j = 0; j < kWide; ++j) w_[k + j] = some.at[j];
    }
  }

  template <class OfB, class Of_b, class OfX> SL_DEVICE void drives(const OfB& of_B, const Of_b& of_b, const OfX& of_x) {
    SL_UNROLL(8)
    for (int a = 0; a < N; ++a) {
      const S start = of_b(a);
      SL_UNROLL(8)
      for (int t = 0; t < kMost; ++t)
        if (t < steps()) set_drive(t, a, start);
    }
    SL_ROLLED
    for (int j = 0; j < s_.inputs; ++j) {
      S column[N];
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) column[a] = of_B(a * s_.inputs + j);
      SL_UNROLL(8)
      for (int t = 0; t < kMost; ++t) {
        if (t >= steps()) break;
        const S x = of_x(t, j);
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) set_drive(t, a, drive(t, a) + column[a] * x);
      }
    }
  }

  // delta_t for every step that a learnable weight acts in.
  SL_DEVICE void adjoints() {
    Entry<Row>* const out = rows_ + t_.delta;
    const Entry<Row>* const activity = rows_ + t_.h + (whole() ? N : 0);
    S next[N];
    Row kept[N] = {};
    SL_UNROLL(8)
    for (int t = kMost - 1; t >= 0; --t) {
      if (t >= steps() || (t == 0 && !moves())) continue;
      S d[N] = {};
      SL_UNROLL(2)
      for (int q = 0; q < O; ++q) SL_UNROLL(8)
      for (int a = 0; a < N; ++a) d[a] += d_[q * N + a] * error(t, q);
      if (t + 1 < steps()) {
        SL_UNROLL(8)
        for (int b = 0; b < N; ++b) SL_UNROLL(8)
        for (int a = 0; a < N; ++a) d[a] += w_[b * N + a] * next[b];
      }
      if (!linear()) {
        SL_UNROLL(8)
        for (int a = 0; a < N; ++a) {
          const S h = activity[t * N + a].value.at[0];
          d[a] = s_.activation == Activation::relu ? gate_by(h, d[a]) : d[a] - h * h * d[a];
        }
      }
      SL_UNROLL(8)
      for (int a = 0; a < N; ++a) {
        next[a] = d[a];
        const int row = kPlain ? t - 1 : t;
        kept[a].at[row % kSteps] = d[a];
        if (row % kSteps == 0) out[(row / kSteps - (kPlain || whole() ? 0 : 1)) * N + a] = kept[a];
      }
    }
  }

  SL_DEVICE int place(int flat) const {
    int left = 0, right = 0, weight = t_.spare;  // of a slot that is not used: any finite numbers
    if (flat < s_.size) {
      const Place p = place_of(s_, flat);
      switch (p.group) {
        case 'B': left = t_.delta + p.row, right = t_.x + p.col, weight = t_.B + p.row * s_.inputs + p.col; break;
        case 'W': left = t_.delta + p.row, right = t_.h + p.col, weight = t_.W + p.row * N + p.col; break;
        case 'b': left = t_.delta + p.row, right = t_.x + s_.inputs, weight = t_.b + p.row; break;
        case 'D': left = t_.error + p.row, right = t_.h + N + p.col, weight = t_.D + p.row * N + p.col; break;
        default: left = t_.error + p.row, right = t_.x + s_.inputs, weight = t_.c + p.row;
      }
    }
    return static_cast<int>(static_cast<unsigned>(left) | static_cast<unsigned>(right) << kBits |
                            static_cast<unsigned>(element(weight)) << 2 * kBits);
  }

  template <Optimizer kind> SL_DEVICE void update(Rate<S> rate) { update<kind, kPlain ? T - 1 : -1>(rate); }
  // kCount: products in a gradient; -1: known at run time.
  template <Optimizer kind, int kCount> SL_DEVICE void update(Rate<S> rate) {
    if (r_ == 0) return;
    const S plain_rate = static_cast<S>(a_.lr);
    Entry<Record>* records = records_;
    Record next[kTogether];
    SL_UNROLL(4)
    for (int j = 0; j < kTogether; ++j) next[j] = records[j];
    SL_ROLLED
    for (int k = 0; k < r_; k += kTogether, records += kTogether) {
      const Entry<Record>* const ahead = k + kTogether < r_ ? records + kTogether : records_;  // the last round's are not used
      Record now[kTogether];
      S g[kTogether];
      SL_UNROLL(4)
      for (int j = 0; j < kTogether; ++j) {
        now[j] = next[j];
        next[j] = ahead[j];
        now[j].before = weights_[weight_of(now[j].place)];
      }
      if constexpr (kCount >= 0) sums<kCount>(now, g);
      else gradients(now, g);
      SL_UNROLL(4)
      for (int j = 0; j < kTogether; ++j) {
        Record& of = now[j];
        S change;
        if constexpr (kind == Optimizer::adam) {
          of.first = first_moment<S>(of.first, g[j]);
          of.second = second_moment<S>(of.second, g[j]);
          change = adam_change(rate.rate, of.first, of.second * rate.scale2);
        } else if constexpr (kind == Optimizer::momentum) {
          of.first = velocity<S>(of.first, g[j]);
          change = plain_rate * of.first;
        } else {
          change = plain_rate * g[j];
        }
        g[j] = of.before - change;
      }
      SL_UNROLL(4)
      for (int j = 0; j < kTogether; ++j) {
        weights_[weight_of(now[j].place)] = g[j];
        records[j] = now[j];
      }
    }
  }
  SL_DEVICE void gradients(const Record (&records)[kTogether], S (&g)[kTogether]) const {
    switch (s_.steps - (whole() ? 0 : 1)) {
      case 8: return sums<8>(records, g);
      case 7: return sums<7>(records, g);
      case 6: return sums<6>(records, g);
      case 5: return sums<5>(records, g);
      case 4: return sums<4>(records, g);
      case 3: return sums<3>(records, g);
      case 2: return sums<2>(records, g);
      case 1: return sums<1>(records, g);
      default: return sums<0>(records, g);
    }
  }
  template <int kCount> SL_DEVICE void sums(const Record (&records)[kTogether], S (&g)[kTogether]) const {
    constexpr unsigned kMask = (1u << kBits) - 1;
    SL_UNROLL(4)
    for (int j = 0; j < kTogether; ++j) {
      const unsigned place = static_cast<unsigned>(records[j].place);
      const Entry<Row>*left = rows_ + (place & kMask), *right = rows_ + (place >> kBits & kMask);
      S sum{};
      SL_UNROLL(8)
      for (int t = 0; t < kCount; t += kSteps) {
        const Row l = left[t / kSteps * N], r = right[t / kSteps * N];
        sum += l.at[0] * r.at[0];
        if constexpr (kSteps > 1)
          if (t + 1 < kCount) sum += l.at[1] * r.at[1];
      }
      g[j] = sum;
    }
  }

  const Shape& s_;
  const DescendArgs<S>& a_;
  const Tables& t_;
  const bool learns_W_;
  S* const weights_;
  Entry<Row>* const rows_;
  Entry<S>* const numbers_;
  Entry<Record>* const records_;
  int r_ = 0;
  S w_[N * N], d_[O * N], c_[O], drive_[kHeld ? kMost * N : 1], target_[kHeld ? kMost * O : 1], error_[kHeld ? kMost * O : 1];
};

}  // namespace SL_ISA
}  // namespace sl
