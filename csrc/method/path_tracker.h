// path_tracker.h: follows solutions of a square system while its data move, by predictor and corrector; one path per lane of the scalar,
// lanes refilled from a queue. See ops/continuation.h.
//
// Coordinates: projective space with one chart per lane. In the affine chart u = z. In chart j (the largest coordinate, taken
// when |z| > kFar) u_i = z_i / z_j and u_j = v = 1 / z_j, which stay bounded on a path to infinity. The homogenised equation is
// G_e = v^d F_e(z), d its degree, so up to the factor v^(d-1), which drops out of a linear solve,
//   dG_e / du_i = dF_e / dz_i,   dG_e / dv = d F_e - sum_i z_i dF_e / dz_i,   G_e = v F_e,   dG_e / ds = v dF_e / ds:
// everything is made of values at the affine point, so the network mathematics is used as it is, whatever weights may learn.
// Rows are scaled back by |v|^(d-1) before elimination. The column of v loses log10 |z| digits, which only slows Newton down.
//
// One step: predict u(s + h) by Hermite interpolation of values and tangents at the last three points (order 5; order 3 and 1 with
// fewer points); move the data to s + h; two full Newton steps with fresh Jacobians; the second elimination also gives the tangent.
// The first correction, relative to |u|, is the error of the prediction: h is set for it to be `aim` next time, the step is refused
// above 10 aim, or when the second correction exceeds 1e-2 aim. After s = 1 two more Newton steps settle the end point.
//
// Model: the network over entries C. Data: where the moving data of the lanes lie (load, hide, at, rate). Jobs: the queue (take,
// settled_before, settle). S is the scalar of a C: ComplexPack with L lanes, or ComplexLane with one, and then a mask is a bool.
#pragma once
#include <cmath>
#include <type_traits>

#include "network/slots.h"
#include "network/tiles.h"
#include "ops/continuation.h"
#include "scalar/complex_lane.h"

namespace sl {
namespace SL_ISA {

constexpr double kFar = 20.0, kNear = 8.0, kRechart = 4.0;  // |z| where the affine chart is left, and taken again
constexpr double kSlip = 1e-1;  // weight of the relative error of v = 1 / z in the error of a prediction
constexpr double kFirstStep = 0.02, kLargestStep = 0.5, kGrow = 2.5;
constexpr double kInfinite = 1e9;  // an end point beyond this is at infinity
constexpr double kSettled = 1e-8;  // largest relative correction of an end point
constexpr double kRealPart = 1e-7;  // an end point looks real below this imaginary part

enum class Phase : int { first, moving, settling };

// The rules of a path, in plain numbers: the tracker below and the kernel of cuda/continuation_lanes.cuh go by the same. Ends are those of
// PathStatus, -1 where a path goes on; e1 and e2: relative sizes of the two corrections of a step.
SL_INLINE int end_of(PathStatus status) { return static_cast<int>(status); }
SL_INLINE int lost(double most) { return end_of(most > 1e7 ? PathStatus::infinite : PathStatus::failed); }
SL_INLINE double first_step(double size, double speed) { return std::fmin(kFirstStep, 0.05 * size / (speed + 1e-30)); }
SL_INLINE double within(double h, double s) { return h >= (1 - s) * 0.999 ? 1 - s : h; }  // the last step leaves no crumb
// After a Newton step at s = 1: the end of the path with a point of size `ratio`.
SL_INLINE int settle(double ratio, bool finite, double e2, double most, int& settled) {
  if (ratio > kInfinite) return end_of(PathStatus::infinite);
  if (finite && e2 < 1e-14) return end_of(PathStatus::converged);
  if (!finite) return lost(most);
  if (++settled == 2) return e2 < kSettled ? end_of(PathStatus::converged) : lost(most);
  return -1;
}
// By what the error of the prediction says that the step should change.
SL_INLINE double step_factor(bool finite, double e1, double aim, int points) {
  const int order = points >= 3 ? 6 : points == 2 ? 4 : 2;
#if defined(__CUDACC__) || defined(SL_EMULATE)  // in single precision, a tenth of the instructions: seven digits of a step are enough
  return finite ? 0.9 * exp2f(log2f(static_cast<float>(aim / (e1 + 1e-18))) / static_cast<float>(order)) : 0.25;
#else
  return finite ? 0.9 * std::pow(aim / (e1 + 1e-18), 1.0 / order) : 0.25;
#endif
}
SL_INLINE bool takes_step(bool finite, double e1, double e2, double aim) { return finite && e1 < 10 * aim && e2 < 1e-2 * aim; }
SL_INLINE double longer(double h, double factor) { return std::fmin(kLargestStep, h * std::fmin(kGrow, std::fmax(0.3, factor))); }
SL_INLINE double shorter(double h, double factor) { return h * std::fmin(0.5, std::fmax(0.1, factor)); }
// The chart to go on in. z: the largest |z|; big: the largest of 1 and the coordinates but that of the old chart, `biggest` where it is.
SL_INLINE int next_chart(int old, int k, double z, double big, int biggest) {
  if (old == k) return z > kFar ? biggest : old;
  return z < kNear ? k : big > kRechart ? biggest : old;
}
SL_INLINE bool looks_real(int status, double imaginary, double size) {
  return status == end_of(PathStatus::converged) && imaginary < kRealPart * (1 + size);
}

// u(s0 + h) from the values u and tangents t at s0, s1 and s2, of which the first `points` are known.
template <class V> struct Prediction {
  V h, i1, i2, i12, w2, w3, w4, w5;
  // d1 = s0 - s1, d2 = s0 - s2, d12 = s1 - s2, harmless numbers where unknown; two, three: 1 where so many points are known, else 0
  SL_DEVICE Prediction(V h_, V d1, V d2, V d12, V two, V three) : h(h_) {
    const V one = constant<V>(1.0);
    i1 = one / d1, i2 = one / d2, i12 = one / d12;
    w2 = h * h * two, w3 = w2 * (h + d1), w4 = w3 * (h + d1) * three, w5 = w4 * (h + d2);
  }
  template <class S> SL_DEVICE S at(S u0, S u1, S u2, S t0, S t1, S t2) const {  // divided differences with doubled nodes 0, 0, 1, 1, 2, 2
    const S f01 = (u0 - u1) * i1, f001 = (t0 - f01) * i1, f011 = (f01 - t1) * i1;
    const S f12 = (u1 - u2) * i12, f112 = (t1 - f12) * i12, f122 = (f12 - t2) * i12;
    const S f0011 = (f001 - f011) * i1, f0112 = (f011 - f112) * i2, f1122 = (f112 - f122) * i12;
    const S f00112 = (f0011 - f0112) * i2, f01122 = (f0112 - f1122) * i2, f001122 = (f00112 - f01122) * i2;
    return u0 + t0 * h + f001 * w2 + f0011 * w3 + f00112 * w4 + f001122 * w5;
  }
};

template <class Model, class C, class Data, class Jobs>
class Tracker {
  using S = Value<C>;
  using B = Beside<S>;
  using V = typename B::Real;
  using M = typename B::Mask;
  template <class T> using Table = typename EntryBeside<C, T>::type*;
  static constexpr int L = Traits<S>::lanes;
  // Degrees of equations: integers where memory is short, in a kernel's strip.
  using Degree = typename EntryBeside<C, typename std::conditional<L == 1, int, V>::type>::type;

 public:
  template <class Memory>
  SL_DEVICE Tracker(const ContinuationArgs& args, const Shape& shape, const bool* group_learns, Jobs& jobs, Memory& memory)
      : a_(args), s_(shape), group_learns_(group_learns), jobs_(jobs), k_(args.budget), stride_(args.budget + 2),
        width_(point_width(args, shape)), model_(shape, memory, Tables::jacobian), data_(args, shape, memory) {
    model_.blank();
    auto take = [&](size_t n) { return take_array<C>(memory, n); };
    theta_ = take(s_.size);
    target_ = take(s_.equations);
    target_speed_ = a_.teacher ? take(s_.equations) : nullptr;
    column_ = take(s_.equations);
    system_ = take(static_cast<size_t>(k_) * stride_);
    known_ = take(6 * static_cast<size_t>(k_));
    next_ = take(k_);
    z_ = take(k_);
    work_ = take(Model::speed_entries(s_));
    if constexpr (L > 1) chart_is_ = take_array<M>(memory, k_ + 1);
    degree_ = take_array<Degree>(memory, k_);
    row_scale_ = take_array<typename EntryBeside<C, V>::type>(memory, k_);
    slots_.allocate(k_, [&](size_t n) { return take_array<typename EntryBeside<C, int>::type>(memory, n); });
    slots_.same = L > 1 && a_.allocations == 1;
    for (int64_t& job : job_) job = -1;
  }
  // Bytes of a strip of a CUDA kernel.
  static size_t scratch_bytes(const ContinuationArgs& a, const Shape& s) {
    const size_t k = a.budget, E = s.equations;
    const size_t tables = s.size + (a.teacher ? 3 : 2) * E + k * (k + 2) + 8 * k + Model::speed_entries(s);
    return Model::scratch_bytes(s, Tables::jacobian) + Data::bytes(a, s) + sizeof(C) * tables +
           (sizeof(Degree) + sizeof(typename EntryBeside<C, V>::type)) * k + 5 * sizeof(typename EntryBeside<C, int>::type) * L * k;
  }

  // One step of every lane, after taking new jobs for those that have none; false when there are no jobs any more.
  SL_DEVICE bool step() {
    if (!fill()) return false;
    V h = h_;
    for (int l = 0; l < L; ++l) {
      if (job_[l] < 0 || phase_[l] != Phase::moving) B::set(h, l, 0.0);
      else B::set(h, l, within(B::get(h, l), B::get(s0_, l)));
    }
    predict(h);
    s_now_ = s0_ + h;
    move_inputs();
    V first{}, second{};
    SL_ROLLED
    for (int pass = a_.teacher ? kTeacher : kFirst; pass <= kLast; ++pass) {
      const V size = evaluate(pass);
      if (pass == kFirst) first = size;
      else second = size;
    }
    judge(h, s_now_, first, second, largest(next_));
    return true;
  }

 private:
  // What is evaluated in a step, one after the other by the same code (a kernel's must stay small): the teacher's network, whose outputs
  // are the targets, and the two Newton steps.
  enum Pass : int { kTeacher, kFirst, kLast };

  SL_DEVICE bool fill() {
    bool live = false;
    for (int l = 0; l < L; ++l) {
      if (job_[l] < 0) refill(l);
      live |= job_[l] >= 0;
    }
    if (!live) return false;
    if (!begun_) {
      begun_ = true;
      for (int l = 0; l < L; ++l)
        if (job_[l] < 0) {  // an idle lane computes on harmless numbers
          load(l, 0);
          job_[l] = -1;
        }
    }
    if (reload_) charts_changed();
    return true;
  }
  // Takes the next job of the queue into lane l, if there is one.
  SL_DEVICE void refill(int l) {
    while (!empty_) {
      const int64_t job = jobs_.take();
      if (job < 0) {
        empty_ = true;
      } else if (a_.stop_at_real && settled_before(job)) {
        skip(job);
      } else {
        load(l, job);
        return;
      }
    }
  }
  // Jobs before the first real end point are followed to their ends all the same: which one is reported as the first then depends
  // neither on threads nor on neighbours.
  SL_DEVICE bool settled_before(int64_t job) const { return jobs_.settled_before(a_.group[job], job); }
  SL_DEVICE void skip(int64_t job) {
    a_.status[job] = static_cast<int8_t>(PathStatus::skipped);
    a_.steps[job] = 0;
    a_.largest[job] = a_.correction[job] = 0;
    SL_ROLLED
    for (int k = 0; k < 2 * k_; ++k) a_.end[job * 2 * k_ + k] = a_.start[job * 2 * k_ + k];
  }

  SL_DEVICE void load(int l, int64_t job) {
    data_.load(l, a_.points + a_.from[job] * 2 * width_, a_.points + a_.to[job] * 2 * width_);
    const int* index = a_.indices + static_cast<int64_t>(a_.allocation[job]) * k_;
    const int* degree = a_.degrees + static_cast<int64_t>(a_.allocation[job]) * k_;
    SL_ROLLED
    for (int k = 0; k < k_; ++k) {
      slots_.set(k, l, index[k], model_.place(index[k]));
      data_.hide(l, index[k]);  // z stands here: not part of the data
      for (int g = 0; g < 3; ++g) {
        put(point(g) + k, l, {a_.start[(job * k_ + k) * 2], a_.start[(job * k_ + k) * 2 + 1]});
        put(tangent(g) + k, l, {0, 0});
      }
      lane(degree_ + k, l) = degree[k];
    }
    job_[l] = job;
    phase_[l] = Phase::first;
    chart_[l] = k_;
    points_[l] = 1;
    steps_[l] = 0;
    settled_[l] = 0;
    most_[l] = 0;
    B::set(s0_, l, 0);
    B::set(s1_, l, -1);
    B::set(s2_, l, -1);
    B::set(h_, l, kFirstStep);
    reload_ = true;
  }

  SL_DEVICE void charts_changed() {
    affine_ = true;
    for (int l = 0; l < L; ++l) {
      if constexpr (L > 1)
        for (int k = 0; k <= k_; ++k) chart_is_[k][l] = chart_[l] == k ? -1 : 0;
      affine_ &= chart_[l] == k_;
    }
    reload_ = false;
  }
  SL_DEVICE M in_chart(int k) const {
    if constexpr (L > 1) return chart_is_[k];
    else return chart_[0] == k;
  }

  SL_DEVICE void predict(V h) {
    V d1 = s0_ - s1_, d2 = s0_ - s2_, d12 = s1_ - s2_, two{}, three{};
    for (int l = 0; l < L; ++l) {
      B::set(two, l, points_[l] >= 2);
      B::set(three, l, points_[l] >= 3);
      if (points_[l] < 2) B::set(d1, l, 1);
      if (points_[l] < 3) B::set(d2, l, 2), B::set(d12, l, 1);
    }
    const Prediction<V> ahead(h, d1, d2, d12, two, three);
    SL_ROLLED
    for (int k = 0; k < k_; ++k)
      next_[k] = ahead.at(S(point(0)[k]), S(point(1)[k]), S(point(2)[k]), S(tangent(0)[k]), S(tangent(1)[k]), S(tangent(2)[k]));
  }

  SL_DEVICE void move_inputs() {
    const S one{constant<V>(1.0), V{}};
    for (int k = 0; k < s_.inputs_size; ++k) *model_.input(k) = data_.at(s_.size + k, s_now_);
    model_.inputs_ready(one);
    if (a_.teacher) return;
    const int y = s_.size + s_.inputs_size;
    for (int e = 0; e < s_.equations; ++e) target_[e] = data_.at(y + e, s_now_);
  }

  // One Newton step from next_: returns the squared size of the correction, and the last one leaves minus the tangent in the last column.
  SL_DEVICE V evaluate(int pass) {
    const int weights = pass == kTeacher ? s_.size + s_.inputs_size : 0;
    if (pass != kLast) {  // what depends on the data alone
      bool learns[kMaxGroups];  // not a member: an array with an index known only at run time would keep the whole object in memory
      SL_ROLLED
      for (int g = 0; g < kMaxGroups; ++g) learns[g] = pass == kTeacher || group_learns_[g];
      model_.learn(learns);
      for (int k = 0; k < s_.size; ++k) theta_[k] = data_.at(weights + k, s_now_);
      model_.prepare(theta_);
    }
    S v{constant<V>(1.0), V{}};
    for (int k = 0; k < k_; ++k) z_[k] = next_[k];
    if (pass != kTeacher && !affine_) {
      for (int k = 0; k < k_; ++k) v = choose(in_chart(k), S(next_[k]), v);
      const S inverse = reciprocal(v);
      const M charted = B::opposite(in_chart(k_));
      for (int k = 0; k < k_; ++k) {
        const S u = next_[k];
        z_[k] = choose(in_chart(k), inverse, choose(charted, S(u * inverse), u));
      }
      scale_rows(v);
    }
    if (pass != kTeacher)
      for (int k = 0; k < k_; ++k) scatter(theta_, slots_.flat + k * L, S(z_[k]), slots_.same);
    model_.forward(theta_, column_);
    if (pass == kTeacher) {
      for (int e = 0; e < s_.equations; ++e) target_[e] = column_[e];
    } else {
      for (int e = 0; e < s_.equations; ++e) column_[e] = S(column_[e]) - S(target_[e]);
      pick(column_, system_ + k_, 0);
      model_.sensitivities(theta_);
      const int first = model_.first_equation();
      for (int k = 0; k < k_; ++k) {
        model_.column(slots_, k, first, column_, 1);
        pick(column_, system_ + k, first);
      }
      if (a_.sliced) cut();
    }
    if (pass != kFirst)
      model_.speeds(theta_, [&](int k) { return data_.rate(weights + k); }, [&](int k) { return data_.rate(s_.size + k); }, work_, column_);
    if (pass == kTeacher) {
      for (int e = 0; e < s_.equations; ++e) target_speed_[e] = column_[e];
      return V{};
    }
    const bool last = pass == kLast;
    if (last) {
      const int y = s_.size + s_.inputs_size;
      for (int e = 0; e < s_.equations; ++e) column_[e] = S(column_[e]) - (a_.teacher ? S(target_speed_[e]) : data_.rate(y + e));
      pick(column_, system_ + k_ + 1, 0);
      if (a_.sliced) cut_speed();
    }
    if (!affine_) into_charts(v, last);
    solve(last ? 2 : 1);
    V size{};
    for (int k = 0; k < k_; ++k) {
      const S d = system_[k * stride_ + k_];
      next_[k] = S(next_[k]) - d;
      const V n = squared_size(d);
      size = n > size || n != n ? n : size;  // NaN stays
    }
    if (!affine_) {  // v must not slip to zero, where solutions at infinity lie: it counts relative to itself as well
      S change{};
      for (int k = 0; k < k_; ++k) change = choose(in_chart(k), S(system_[k * stride_ + k_]), change);
      const V n = squared_size(change) / squared_size(v) * (kSlip * kSlip);
      size = B::select(B::opposite(in_chart(k_)) & (n > size), n, size);
    }
    return size;
  }
  static SL_DEVICE void subtract(C& from, S b, S c) {
    S x = from;
    subtract_product(x, b, c);
    from = x;
  }

  // The term - v (c . z) of a sliced system, in the Jacobian and the residual; and its speed.
  SL_DEVICE void cut() {
    const int v = s_.size + s_.inputs_size + s_.equations, c = v + s_.equations;
    S height{};
    SL_ROLLED
    for (int k = 0; k < k_; ++k) height += data_.at(c + k, s_now_) * S(z_[k]);
    SL_ROLLED
    for (int e = 0; e < k_; ++e) {
      const S along = data_.at(v + a_.rows[e], s_now_);
      C* row = system_ + e * stride_;
      SL_ROLLED
      for (int k = 0; k < k_; ++k) subtract(row[k], along, data_.at(c + k, s_now_));
      subtract(row[k_], along, height);
    }
  }
  SL_DEVICE void cut_speed() {
    const int v = s_.size + s_.inputs_size + s_.equations, c = v + s_.equations;
    S height{}, speed{};
    SL_ROLLED
    for (int k = 0; k < k_; ++k) {
      height += data_.at(c + k, s_now_) * S(z_[k]);
      speed += data_.rate(c + k) * S(z_[k]);
    }
    SL_ROLLED
    for (int e = 0; e < k_; ++e) {
      C& to = system_[e * stride_ + k_ + 1];
      subtract(to, data_.rate(v + a_.rows[e]), height);
      subtract(to, data_.at(v + a_.rows[e], s_now_), speed);
    }
  }

  // to[e * stride_] = the e-th equation of the square system, of a column of all equations (those before `first` are zero).
  SL_DEVICE void pick(const C* column, C* to, int first) {
    if (a_.rows) {
      for (int e = 0; e < k_; ++e) to[e * stride_] = a_.rows[e] >= first ? S(column[a_.rows[e]]) : S{};
      return;
    }
    SL_ROLLED
    for (int e = 0; e < k_; ++e) {
      S sum{};
      for (int q = first; q < s_.equations; ++q) sum += S(column[q]) * constant<V>(a_.mix[static_cast<size_t>(e) * s_.equations + q]);
      to[e * stride_] = sum;
    }
  }

  SL_DEVICE void scale_rows(S v) {
    const V size = square_root(squared_size(v));
    SL_ROLLED
    for (int e = 0; e < k_; ++e)
      for (int l = 0; l < L; ++l) {
        double w = 1;
        SL_ROLLED
        for (int d = 1; d < static_cast<int>(lane(degree_ + e, l)); ++d) w *= B::get(size, l);
        lane(row_scale_ + e, l) = chart_[l] == k_ ? 1.0 : w;
      }
  }
  // The system in the charts of the lanes, see the top of this file.
  SL_DEVICE void into_charts(S v, bool last) {
    SL_ROLLED
    for (int e = 0; e < k_; ++e) {
      C* row = system_ + e * stride_;
      const V scale = row_scale_[e];
      S along = S(row[k_]) * V(degree_[e]);
      for (int k = 0; k < k_; ++k) subtract_product(along, S(z_[k]), S(row[k]));
      for (int k = 0; k < k_; ++k) row[k] = choose(in_chart(k), along, S(row[k])) * scale;
      row[k_] = S(S(row[k_]) * v) * scale;
      if (last) row[k_ + 1] = S(S(row[k_ + 1]) * v) * scale;
    }
  }

  // Gaussian elimination with partial pivoting in every lane; the solutions replace the last columns.
  SL_DEVICE void solve(int sides) {
    const int columns = k_ + sides;
    for (int c = 0; c < k_; ++c) {
      C* pivot = system_ + c * stride_;
      V best = squared_size(S(pivot[c]));
      for (int r = c + 1; r < k_; ++r) {
        C* row = system_ + r * stride_;
        const V size = squared_size(S(row[c]));
        const M swap = size > best;
        if (!B::any(swap)) continue;
        best = B::select(swap, size, best);
        for (int j = c; j < columns; ++j) {
          const S x = pivot[j], y = row[j];
          pivot[j] = choose(swap, y, x);
          row[j] = choose(swap, x, y);
        }
      }
      const S inverse = reciprocal(S(pivot[c]));
      pivot[c] = inverse;
      for (int r = c + 1; r < k_; ++r) {
        C* row = system_ + r * stride_;
        const S f = S(row[c]) * inverse;
        for (int j = c + 1; j < columns; ++j) subtract(row[j], f, S(pivot[j]));
      }
    }
    for (int r = k_ - 1; r >= 0; --r) {
      C* row = system_ + r * stride_;
      for (int j = k_; j < columns; ++j) {
        S sum = row[j];
        for (int c = r + 1; c < k_; ++c) subtract_product(sum, S(row[c]), S(system_[c * stride_ + j]));
        row[j] = sum * S(row[r]);
      }
    }
  }

  SL_DEVICE V largest(const C* u) {
    V size{};
    for (int k = 0; k < k_; ++k) {
      const V n = squared_size(S(u[k]));
      size = n > size ? n : size;
    }
    return size;
  }

  // Accepts or refuses the step of every lane, ends paths, changes charts.
  SL_DEVICE void judge(V h, V s, V first, V second, V scale) {
    for (int l = 0; l < L; ++l) {
      if (job_[l] < 0) continue;
      const double size = std::fmax(1.0, std::sqrt(B::get(scale, l)));
      const double e1 = std::sqrt(B::get(first, l)) / size, e2 = std::sqrt(B::get(second, l)) / size;
      const bool finite = e1 < 1e300 && e2 < 1e300;  // false for NaN
      int end = -1;
      ++steps_[l];
      if (phase_[l] == Phase::first) {
        if (finite) {
          double speed = 0;
          SL_ROLLED
          for (int k = 0; k < k_; ++k) {
            const ComplexLane t = tangent_here(k, l);
            put(tangent(0) + k, l, t);
            speed = std::fmax(speed, size_of(t));
          }
          B::set(h_, l, first_step(size, speed));
          phase_[l] = Phase::moving;
        } else {
          end = end_of(PathStatus::failed);
        }
      } else if (phase_[l] == Phase::settling) {
        for (int k = 0; k < k_; ++k) put(point(0) + k, l, lane_of(next_[k], l));
        correction_[l] = e2;
        end = settle(ratio(l), finite, e2, most_[l], settled_[l]);
      } else {
        const double factor = step_factor(finite, e1, a_.aim, points_[l]);
        if (takes_step(finite, e1, e2, a_.aim)) {
          SL_ROLLED
          for (int k = 0; k < k_; ++k) {
            put(point(2) + k, l, lane_of(point(1)[k], l));
            put(tangent(2) + k, l, lane_of(tangent(1)[k], l));
            put(point(1) + k, l, lane_of(point(0)[k], l));
            put(tangent(1) + k, l, lane_of(tangent(0)[k], l));
            put(point(0) + k, l, lane_of(next_[k], l));
            put(tangent(0) + k, l, tangent_here(k, l));
          }
          B::set(s2_, l, B::get(s1_, l));
          B::set(s1_, l, B::get(s0_, l));
          B::set(s0_, l, B::get(s, l));
          if (points_[l] < 3) ++points_[l];
          B::set(h_, l, longer(B::get(h, l), factor));
          if (B::get(s, l) > 1 - 1e-14) phase_[l] = Phase::settling;
          rechart(l);
        } else {
          B::set(h_, l, shorter(B::get(h, l), factor));
          if (B::get(h_, l) < a_.least_step) end = lost(most_[l]);
        }
        if (end < 0 && steps_[l] >= a_.max_steps) end = end_of(PathStatus::failed);
      }
      if (end < 0 && a_.stop_at_real && settled_before(job_[l])) end = end_of(PathStatus::skipped);
      if (end >= 0) {
        report(l, end);
        job_[l] = -1;
        chart_[l] = k_;
        reload_ = true;
        if constexpr (L > 1) refill(l);  // before later lanes report; a kernel has the code of it once, in fill()
      }
    }
    if (reload_) charts_changed();
  }
  // The last three accepted points, newest first: known_ holds u and tangent of each.
  SL_DEVICE C* point(int g) const { return known_ + 2 * g * k_; }
  SL_DEVICE C* tangent(int g) const { return known_ + (2 * g + 1) * k_; }
  SL_DEVICE ComplexLane tangent_here(int k, int l) const { return -lane_of(system_[k * stride_ + k_ + 1], l); }

  SL_DEVICE double ratio(int l) const {  // the largest |z|
    double big = 0;
    SL_ROLLED
    for (int k = 0; k < k_; ++k)
      if (k != chart_[l]) big = std::fmax(big, size_of(lane_of(point(0)[k], l)));
    return chart_[l] == k_ ? big : std::fmax(1.0, big) / size_of(lane_of(point(0)[chart_[l]], l));
  }

  SL_DEVICE void rechart(int l) {
    const int old = chart_[l];
    const double z = ratio(l);
    most_[l] = std::fmax(most_[l], z);
    double big = 1;
    int biggest = old;
    SL_ROLLED
    for (int k = 0; k < k_; ++k) {
      const double n = size_of(lane_of(point(0)[k], l));
      if (k != old && n > big) big = n, biggest = k;
    }
    const int wanted = next_chart(old, k_, z, big, biggest);
    if (wanted == old) return;
    // Homogeneous coordinates Z_0 .. Z_{k-1}, Z_k (that of infinity): chart j has Z_j = 1, and u_j holds Z_k.
    SL_ROLLED
    for (int g = 0; g < points_[l]; ++g) {
      C *u = point(g), *t = tangent(g);
      auto value = [&](int i) { return i == old ? ComplexLane{1, 0} : lane_of(u[i == k_ ? old : i], l); };
      auto slope = [&](int i) { return i == old ? ComplexLane{0, 0} : lane_of(t[i == k_ ? old : i], l); };
      const ComplexLane w = value(wanted), dw = slope(wanted);
      const ComplexLane at_infinity = value(k_) / w, infinity_slope = (slope(k_) - at_infinity * dw) / w;
      const ComplexLane of_old = value(old) / w, old_slope = (slope(old) - of_old * dw) / w;
      SL_ROLLED
      for (int k = 0; k < k_; ++k) {
        if (k == wanted || k == old) continue;
        const ComplexLane n = value(k) / w, d = (slope(k) - n * dw) / w;
        put(u + k, l, n);
        put(t + k, l, d);
      }
      if (old < k_) {
        put(u + old, l, of_old);
        put(t + old, l, old_slope);
      }
      if (wanted < k_) {
        put(u + wanted, l, at_infinity);
        put(t + wanted, l, infinity_slope);
      }
    }
    chart_[l] = wanted;
    reload_ = true;
  }

  SL_DEVICE void report(int l, int status) {
    const int64_t job = job_[l];
    const int chart = chart_[l];
    ComplexLane v{1, 0};
    if (chart < k_) v = lane_of(point(0)[chart], l);
    double imaginary = 0, size = 0;
    SL_ROLLED
    for (int k = 0; k < k_; ++k) {
      const ComplexLane z = (k == chart ? ComplexLane{1, 0} : lane_of(point(0)[k], l)) / v;
      a_.end[(job * k_ + k) * 2] = z.re;
      a_.end[(job * k_ + k) * 2 + 1] = z.im;
      imaginary = std::fmax(imaginary, std::fabs(z.im));
      size = std::fmax(size, size_of(z));
    }
    a_.status[job] = static_cast<int8_t>(status);
    a_.steps[job] = steps_[l];
    a_.largest[job] = std::fmax(most_[l], size);
    a_.correction[job] = phase_[l] == Phase::settling ? correction_[l] : 0.0;
    if (a_.stop_at_real && looks_real(status, imaginary, size)) jobs_.settle(a_.group[job], job);
  }

  const ContinuationArgs& a_;
  const Shape& s_;
  const bool* group_learns_;
  Jobs& jobs_;
  const int k_, stride_;
  const int64_t width_;
  Model model_;
  Data data_;
  C *theta_, *target_, *target_speed_, *column_, *system_, *known_, *next_, *z_, *work_;
  M* chart_is_ = nullptr;
  Degree* degree_;
  Table<V> row_scale_;
  V s0_{}, s1_{}, s2_{}, s_now_{}, h_{};
  Slots<L, typename EntryBeside<C, int>::type> slots_;
  bool begun_ = false, affine_ = true, reload_ = false, empty_ = false;
  int64_t job_[L];
  Phase phase_[L];
  int chart_[L], points_[L], steps_[L], settled_[L];
  double most_[L], correction_[L];
};

}  // namespace SL_ISA
}  // namespace sl
