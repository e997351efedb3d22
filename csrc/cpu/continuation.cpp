// Path tracking by predictor and corrector, one path per SIMD lane, lanes refilled from a queue. See ops/continuation.h.
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
// Data in L1: per lane 2 (2 size + inputs + equations) data numbers, as much again for the jets, and the tables of the network.
#include "ops/continuation.h"

#include "cpu/models.h"
#include "math/complex_pack.h"

namespace sl {
namespace SL_ISA {
namespace {

using C = ComplexPack;
using V = Pack<double>;
using M = PackMask<double>;
using J2 = Dual<ComplexPack>;
constexpr int L = kLanes<double>;

constexpr double kFar = 20.0, kNear = 8.0, kRechart = 4.0;  // |z| where the affine chart is left, and taken again
constexpr double kSlip = 1e-1;  // weight of the relative error of v = 1 / z in the error of a prediction
constexpr double kFirstStep = 0.02, kLargestStep = 0.5, kGrow = 2.5;
constexpr double kInfinite = 1e9;   // an end point beyond this is at infinity
constexpr double kSettled = 1e-8;   // largest relative correction of an end point
constexpr double kRealPart = 1e-7;  // an end point looks real below this imaginary part

struct Number {  // one complex number, outside the lanes
  double re, im;
};
inline Number operator*(Number a, Number b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
inline Number operator-(Number a, Number b) { return {a.re - b.re, a.im - b.im}; }
inline Number operator/(Number a, Number b) {
  const double d = 1.0 / (b.re * b.re + b.im * b.im);
  return {(a.re * b.re + a.im * b.im) * d, (a.im * b.re - a.re * b.im) * d};
}
inline double size_of(Number a) { return std::sqrt(a.re * a.re + a.im * a.im); }
inline Number lane_of(const C& a, int l) { return {a.re[l], a.im[l]}; }

struct Queue {
  const ContinuationArgs* args;
  int64_t next = 0;
  int64_t* done;  // [jobs] of every group the first job that has a real end point, `jobs` where there is none
};

enum class Phase : int { first, moving, settling };

template <class Model, class Jets>
class Tracker {
 public:
  Tracker(Queue& queue, Scratch& scratch)
      : queue_(queue), a_(*queue.args), s_(*a_.shape), k_(a_.budget), stride_(k_ + 2), model_(s_, scratch),
        jets_(s_, scratch), teacher_(s_, scratch) {
    model_.learn(a_.group_learns);
    jets_.learn(a_.group_learns);
    width_ = width_of(a_);
    auto take = [&](size_t n) { return static_cast<C*>(scratch.take(n * sizeof(C))); };
    from_ = take(width_);
    move_ = take(width_);
    theta_ = take(s_.size);
    y_ = take(s_.equations);
    target_ = take(s_.equations);
    target_speed_ = take(s_.equations);
    column_ = take(s_.equations);
    system_ = take(static_cast<size_t>(k_) * stride_);
    for (int q = 0; q < 3; ++q) {
      u_[q] = take(k_);
      tangent_[q] = take(k_);
    }
    next_ = take(k_);
    z_ = take(k_);
    new_tangent_ = take(k_);
    jet_theta_ = static_cast<J2*>(scratch.take(s_.size * sizeof(J2)));
    jet_y_ = static_cast<J2*>(scratch.take(s_.equations * sizeof(J2)));
    chart_is_ = static_cast<M*>(scratch.take((k_ + 1) * sizeof(M)));
    degree_ = static_cast<V*>(scratch.take(k_ * sizeof(V)));
    row_scale_ = static_cast<V*>(scratch.take(k_ * sizeof(V)));
    slots_.allocate(k_, [&](size_t n) { return static_cast<int*>(scratch.take(n * sizeof(int))); });
    slots_.same = a_.allocations == 1;
    bool all[kMaxGroups];
    for (bool& g : all) g = true;
    teacher_.learn(all);  // nothing of it is fixed
  }
  static size_t scratch_bytes(const ContinuationArgs& a) {
    const Shape& s = *a.shape;
    const size_t k = a.budget, size = s.size, E = s.equations, width = width_of(a);
    return Model::scratch_bytes(s) + 2 * Jets::scratch_bytes(s) +
           sizeof(C) * (2 * width + size + 4 * E + k * (k + 2) + 10 * k) + sizeof(J2) * (size + E) + sizeof(V) * (3 * k + 1) +
           5 * (sizeof(int) * Slots<L>::ints(static_cast<int>(k)) + 64) + 64 * 32;
  }

  static int64_t width_of(const ContinuationArgs& a) {
    const Shape& s = *a.shape;
    return s.size + s.inputs_size + (a.teacher ? s.size : s.equations) + (a.sliced ? s.equations + a.budget : 0);
  }

  void run(int worker, Control& control) {
    bool live = false;
    for (int l = 0; l < L; ++l) live |= refill(l);
    if (!live) return;
    for (int l = 0; l < L; ++l)
      if (job_[l] < 0) {  // an idle lane computes on harmless numbers
        load(l, 0);
        job_[l] = -1;
      }
    charts_changed();
    int64_t rounds = 0;
    while (live) {
      if ((++rounds & 15) == 0 && control.should_stop(worker)) return;
      V h = h_;
      for (int l = 0; l < L; ++l) {
        if (job_[l] < 0 || phase_[l] != Phase::moving) h[l] = 0;
        else if (h[l] >= (1 - s0_[l]) * 0.999) h[l] = 1 - s0_[l];
      }
      predict(h);
      const V s = s0_ + h;
      move_data(s);
      V first = correct(false), second = correct(true), scale = largest(next_);
      live = judge(h, s, first, second, scale);
    }
  }

 private:
  // Takes the next job of the queue into lane l; false when there is none.
  bool refill(int l) {
    for (;;) {
      const int64_t job = __atomic_fetch_add(&queue_.next, int64_t{1}, __ATOMIC_RELAXED);
      if (job >= a_.jobs) {
        job_[l] = -1;
        return false;
      }
      if (a_.stop_at_real && settled_before(job)) {
        skip(job);
        continue;
      }
      load(l, job);
      return true;
    }
  }
  // Jobs before the first real end point are followed to their ends all the same: which one is reported as the first then depends
  // neither on threads nor on neighbours.
  bool settled_before(int64_t job) const { return __atomic_load_n(&queue_.done[a_.group[job]], __ATOMIC_RELAXED) < job; }
  void skip(int64_t job) {
    a_.status[job] = static_cast<int8_t>(PathStatus::skipped);
    a_.steps[job] = 0;
    a_.largest[job] = a_.correction[job] = 0;
    for (int k = 0; k < 2 * k_; ++k) a_.end[job * 2 * k_ + k] = a_.start[job * 2 * k_ + k];
  }

  void load(int l, int64_t job) {
    const double *p = a_.points + a_.from[job] * 2 * width_, *q = a_.points + a_.to[job] * 2 * width_;
    for (int64_t e = 0; e < width_; ++e) {
      put(from_ + e, l, p[2 * e], p[2 * e + 1]);
      put(move_ + e, l, q[2 * e] - p[2 * e], q[2 * e + 1] - p[2 * e + 1]);
    }
    const int* index = a_.indices + static_cast<int64_t>(a_.allocation[job]) * k_;
    const int* degree = a_.degrees + static_cast<int64_t>(a_.allocation[job]) * k_;
    for (int k = 0; k < k_; ++k) {
      set_slot(model_, slots_, k, l, index[k]);
      put(move_ + index[k], l, 0, 0);  // z stands here: not part of the data
      for (int g = 0; g < 3; ++g) {
        put(u_[g] + k, l, a_.start[(job * k_ + k) * 2], a_.start[(job * k_ + k) * 2 + 1]);
        put(tangent_[g] + k, l, 0, 0);
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
    s0_[l] = 0;
    s1_[l] = s2_[l] = -1;
    h_[l] = kFirstStep;
    reload_ = true;
  }

  void charts_changed() {
    affine_ = true;
    for (int l = 0; l < L; ++l) {
      for (int k = 0; k <= k_; ++k) chart_is_[k][l] = chart_[l] == k ? -1 : 0;
      affine_ &= chart_[l] == k_;
    }
    reload_ = false;
  }

  void predict(V h) {
    V d1 = s0_ - s1_, d2 = s0_ - s2_, d12 = s1_ - s2_, two, three;
    for (int l = 0; l < L; ++l) {
      two[l] = points_[l] >= 2;
      three[l] = points_[l] >= 3;
      if (points_[l] < 2) d1[l] = 1;
      if (points_[l] < 3) d2[l] = 2, d12[l] = 1;
    }
    const V one = constant<V>(1.0), i1 = one / d1, i2 = one / d2, i12 = one / d12;
    const V w2 = h * h * two, w3 = w2 * (h + d1), w4 = w3 * (h + d1) * three, w5 = w4 * (h + d2);
    for (int k = 0; k < k_; ++k) {  // divided differences with doubled nodes 0, 0, 1, 1, 2, 2
      const C f01 = (u_[0][k] - u_[1][k]) * i1, f001 = (tangent_[0][k] - f01) * i1, f011 = (f01 - tangent_[1][k]) * i1;
      const C f12 = (u_[1][k] - u_[2][k]) * i12, f112 = (tangent_[1][k] - f12) * i12, f122 = (f12 - tangent_[2][k]) * i12;
      const C f0011 = (f001 - f011) * i1, f0112 = (f011 - f112) * i2, f1122 = (f112 - f122) * i12;
      const C f00112 = (f0011 - f0112) * i2, f01122 = (f0112 - f1122) * i2, f001122 = (f00112 - f01122) * i2;
      next_[k] = u_[0][k] + tangent_[0][k] * h + f001 * w2 + f0011 * w3 + f00112 * w4 + f001122 * w5;
    }
  }

  // Data, and what depends on them alone, at s.
  void move_data(V s) {
    s_now_ = s;
    for (int k = 0; k < s_.size; ++k) {
      theta_[k] = from_[k] + move_[k] * s;
      jet_theta_[k] = {theta_[k], move_[k]};
    }
    const C *x = from_ + s_.size, *dx = move_ + s_.size, *y = x + s_.inputs_size, *dy = dx + s_.inputs_size;
    const C one{constant<V>(1.0), V{}};
    for (int k = 0; k < s_.inputs_size; ++k) {
      const C at = x[k] + dx[k] * s;
      *model_.input(k) = at;
      *jets_.input(k) = {at, dx[k]};
      if (a_.teacher) *teacher_.input(k) = {at, dx[k]};
    }
    model_.inputs_ready(one);
    jets_.inputs_ready({one, C{}});
    model_.prepare(theta_);
    jets_.prepare(jet_theta_);
    if (!a_.teacher) {
      for (int e = 0; e < s_.equations; ++e) {
        target_[e] = y[e] + dy[e] * s;
        target_speed_[e] = dy[e];
      }
      return;
    }
    teacher_.inputs_ready({one, C{}});
    J2* weights = jet_theta_;  // borrowed: put back below
    for (int k = 0; k < s_.size; ++k) weights[k] = {y[k] + dy[k] * s, dy[k]};
    teacher_.prepare(weights);
    teacher_.forward(weights, jet_y_);
    for (int k = 0; k < s_.size; ++k) weights[k] = {theta_[k], move_[k]};
    for (int e = 0; e < s_.equations; ++e) {
      target_[e] = jet_y_[e].v;
      target_speed_[e] = jet_y_[e].d;
    }
  }

  // One Newton step from next_. Returns the squared size of the correction; `last` also computes the tangent.
  V correct(bool last) {
    C v{constant<V>(1.0), V{}};
    for (int k = 0; k < k_; ++k) z_[k] = next_[k];
    if (!affine_) {
      for (int k = 0; k < k_; ++k) v = choose(chart_is_[k], next_[k], v);
      const C inverse = reciprocal(v);
      const M in_chart = ~chart_is_[k_];
      for (int k = 0; k < k_; ++k) z_[k] = choose(chart_is_[k], inverse, choose(in_chart, next_[k] * inverse, next_[k]));
      scale_rows(v);
    }
    for (int k = 0; k < k_; ++k) scatter(theta_, slots_.flat + k * L, z_[k], slots_.same);
    model_.forward(theta_, y_);
    model_.sensitivities(theta_);
    const int first = model_.first_equation();
    for (int k = 0; k < k_; ++k) {
      model_.column(slots_, k, first, column_, 1);
      pick(column_, system_ + k, first);
    }
    for (int e = 0; e < s_.equations; ++e) column_[e] = y_[e] - target_[e];
    pick(column_, system_ + k_, 0);
    if (a_.sliced) cut();
    if (last) {
      for (int k = 0; k < k_; ++k) {
        const C z = z_[k];
        if (slots_.same) {
          jet_theta_[slots_.flat[k * L]] = {z, C{}};
        } else {
          for (int l = 0; l < L; ++l) {
            J2* to = jet_theta_ + slots_.flat[k * L + l];
            put(&to->v, l, z.re[l], z.im[l]);
          }
        }
      }
      jets_.forward(jet_theta_, jet_y_);
      for (int e = 0; e < s_.equations; ++e) column_[e] = jet_y_[e].d - target_speed_[e];
      pick(column_, system_ + k_ + 1, 0);
      if (a_.sliced) cut_speed();
    }
    if (!affine_) into_charts(v, last);
    solve(last ? 2 : 1);
    V size{};
    for (int k = 0; k < k_; ++k) {
      const C d = system_[k * stride_ + k_];
      next_[k] = next_[k] - d;
      const V n = squared_size(d);
      size = n > size || n != n ? n : size;  // NaN stays
      if (last) new_tangent_[k] = -system_[k * stride_ + k_ + 1];
    }
    if (!affine_) {  // v must not slip to zero, where solutions at infinity lie: it counts relative to itself as well
      C change{};
      for (int k = 0; k < k_; ++k) change = choose(chart_is_[k], system_[k * stride_ + k_], change);
      const V n = squared_size(change) / squared_size(v) * (kSlip * kSlip);
      size = select<V>(~chart_is_[k_] & (n > size), n, size);
    }
    return size;
  }

  // The term - v (c . z) of a sliced system, in the Jacobian and the residual; and its speed.
  void cut() {
    const C *v = from_ + s_.size + s_.inputs_size + s_.equations, *c = v + s_.equations;
    const C *dv = move_ + s_.size + s_.inputs_size + s_.equations, *dc = dv + s_.equations;
    C height{};
    for (int k = 0; k < k_; ++k) height += (c[k] + dc[k] * s_now_) * z_[k];
    for (int e = 0; e < k_; ++e) {
      const C along = v[a_.rows[e]] + dv[a_.rows[e]] * s_now_;
      C* row = system_ + e * stride_;
      for (int k = 0; k < k_; ++k) subtract_product(row[k], along, c[k] + dc[k] * s_now_);
      subtract_product(row[k_], along, height);
    }
  }
  void cut_speed() {
    const C *v = from_ + s_.size + s_.inputs_size + s_.equations, *c = v + s_.equations;
    const C *dv = move_ + s_.size + s_.inputs_size + s_.equations, *dc = dv + s_.equations;
    C height{}, speed{};
    for (int k = 0; k < k_; ++k) {
      height += (c[k] + dc[k] * s_now_) * z_[k];
      speed += dc[k] * z_[k];
    }
    for (int e = 0; e < k_; ++e) {
      C* to = system_ + e * stride_ + k_ + 1;
      subtract_product(*to, dv[a_.rows[e]], height);
      subtract_product(*to, v[a_.rows[e]] + dv[a_.rows[e]] * s_now_, speed);
    }
  }

  // to[e * stride_] = the e-th equation of the square system, of a column of all equations (those before `first` are zero).
  void pick(const C* column, C* to, int first) {
    if (a_.rows) {
      for (int e = 0; e < k_; ++e) to[e * stride_] = a_.rows[e] >= first ? column[a_.rows[e]] : C{};
      return;
    }
    for (int e = 0; e < k_; ++e) {
      C sum{};
      for (int q = first; q < s_.equations; ++q) sum += column[q] * constant<V>(a_.mix[static_cast<size_t>(e) * s_.equations + q]);
      to[e * stride_] = sum;
    }
  }

  void scale_rows(C v) {
    const V size = square_root(squared_size(v));
    for (int e = 0; e < k_; ++e)
      for (int l = 0; l < L; ++l) {
        double w = 1;
        for (int d = 1; d < static_cast<int>(degree_[e][l]); ++d) w *= size[l];
        row_scale_[e][l] = chart_[l] == k_ ? 1.0 : w;
      }
  }
  // The system in the charts of the lanes, see the top of this file.
  void into_charts(C v, bool last) {
    for (int e = 0; e < k_; ++e) {
      C* row = system_ + e * stride_;
      C along = row[k_] * degree_[e];
      for (int k = 0; k < k_; ++k) subtract_product(along, z_[k], row[k]);
      for (int k = 0; k < k_; ++k) row[k] = choose(chart_is_[k], along, row[k]) * row_scale_[e];
      row[k_] = row[k_] * v * row_scale_[e];
      if (last) row[k_ + 1] = row[k_ + 1] * v * row_scale_[e];
    }
  }

  // Gaussian elimination with partial pivoting in every lane; the solutions replace the last columns.
  void solve(int sides) {
    const int columns = k_ + sides;
    for (int c = 0; c < k_; ++c) {
      C* pivot = system_ + c * stride_;
      V best = squared_size(pivot[c]);
      for (int r = c + 1; r < k_; ++r) {
        C* row = system_ + r * stride_;
        const V size = squared_size(row[c]);
        const M swap = size > best;
        if (!any<M>(swap)) continue;
        best = select<V>(swap, size, best);
        for (int j = c; j < columns; ++j) {
          const C x = pivot[j], y = row[j];
          pivot[j] = choose(swap, y, x);
          row[j] = choose(swap, x, y);
        }
      }
      const C inverse = reciprocal(pivot[c]);
      pivot[c] = inverse;
      for (int r = c + 1; r < k_; ++r) {
        C* row = system_ + r * stride_;
        const C f = row[c] * inverse;
        for (int j = c + 1; j < columns; ++j) subtract_product(row[j], f, pivot[j]);
      }
    }
    for (int r = k_ - 1; r >= 0; --r) {
      C* row = system_ + r * stride_;
      for (int j = k_; j < columns; ++j) {
        C sum = row[j];
        for (int c = r + 1; c < k_; ++c) subtract_product(sum, row[c], system_[c * stride_ + j]);
        row[j] = sum * row[r];
      }
    }
  }

  V largest(const C* u) {
    V size{};
    for (int k = 0; k < k_; ++k) {
      const V n = squared_size(u[k]);
      size = n > size ? n : size;
    }
    return size;
  }

  // Accepts or refuses the step of every lane, ends paths, changes charts, refills. False when no lane has a job any more.
  bool judge(V h, V s, V first, V second, V scale) {
    bool live = false;
    for (int l = 0; l < L; ++l) {
      if (job_[l] < 0) continue;
      const double size = std::fmax(1.0, std::sqrt(scale[l])), e1 = std::sqrt(first[l]) / size, e2 = std::sqrt(second[l]) / size;
      const bool finite = e1 < 1e300 && e2 < 1e300;  // false for NaN
      int end = -1;
      ++steps_[l];
      if (phase_[l] == Phase::first) {
        if (finite) {
          for (int k = 0; k < k_; ++k) copy_lane(tangent_[0] + k, new_tangent_[k], l);
          double speed = 0;
          for (int k = 0; k < k_; ++k) speed = std::fmax(speed, size_of(lane_of(new_tangent_[k], l)));
          h_[l] = std::fmin(kFirstStep, 0.05 * size / (speed + 1e-30));
          phase_[l] = Phase::moving;
        } else {
          end = static_cast<int>(PathStatus::failed);
        }
      } else if (phase_[l] == Phase::settling) {
        for (int k = 0; k < k_; ++k) copy_lane(u_[0] + k, next_[k], l);
        correction_[l] = e2;
        if (ratio(l) > kInfinite) end = static_cast<int>(PathStatus::infinite);
        else if (finite && e2 < 1e-14) end = static_cast<int>(PathStatus::converged);
        else if (!finite) end = static_cast<int>(most_[l] > 1e7 ? PathStatus::infinite : PathStatus::failed);
        else if (++settled_[l] == 2)
          end = static_cast<int>(e2 < kSettled ? PathStatus::converged : most_[l] > 1e7 ? PathStatus::infinite : PathStatus::failed);
      } else {
        const int order = points_[l] >= 3 ? 6 : points_[l] == 2 ? 4 : 2;
        const double factor = finite ? 0.9 * std::pow(a_.aim / (e1 + 1e-18), 1.0 / order) : 0.25;
        if (finite && e1 < 10 * a_.aim && e2 < 1e-2 * a_.aim) {
          for (int k = 0; k < k_; ++k) {
            copy_lane(u_[2] + k, u_[1][k], l);
            copy_lane(tangent_[2] + k, tangent_[1][k], l);
            copy_lane(u_[1] + k, u_[0][k], l);
            copy_lane(tangent_[1] + k, tangent_[0][k], l);
            copy_lane(u_[0] + k, next_[k], l);
            copy_lane(tangent_[0] + k, new_tangent_[k], l);
          }
          s2_[l] = s1_[l];
          s1_[l] = s0_[l];
          s0_[l] = s[l];
          if (points_[l] < 3) ++points_[l];
          h_[l] = std::fmin(kLargestStep, h[l] * std::fmin(kGrow, std::fmax(0.3, factor)));
          if (s[l] > 1 - 1e-14) phase_[l] = Phase::settling;
          rechart(l);
        } else {
          h_[l] = h[l] * std::fmin(0.5, std::fmax(0.1, factor));
          if (h_[l] < a_.least_step) end = static_cast<int>(most_[l] > 1e7 ? PathStatus::infinite : PathStatus::failed);
        }
        if (end < 0 && steps_[l] >= a_.max_steps) end = static_cast<int>(PathStatus::failed);
      }
      if (end < 0 && a_.stop_at_real && settled_before(job_[l]))
        end = static_cast<int>(PathStatus::skipped);
      if (end >= 0) {
        report(l, end);
        if (!refill(l)) {
          chart_[l] = k_;
          reload_ = true;
          continue;
        }
      }
      live = true;
    }
    if (reload_) charts_changed();
    return live;
  }
  static void copy_lane(C* to, const C& from, int l) { put(to, l, from.re[l], from.im[l]); }

  double ratio(int l) const {  // the largest |z|
    double big = 0;
    for (int k = 0; k < k_; ++k)
      if (k != chart_[l]) big = std::fmax(big, size_of(lane_of(u_[0][k], l)));
    return chart_[l] == k_ ? big : std::fmax(1.0, big) / size_of(lane_of(u_[0][chart_[l]], l));
  }

  void rechart(int l) {
    const int old = chart_[l];
    const double z = ratio(l);
    most_[l] = std::fmax(most_[l], z);
    double big = 1;
    int biggest = old;
    for (int k = 0; k < k_; ++k) {
      const double n = size_of(lane_of(u_[0][k], l));
      if (k != old && n > big) big = n, biggest = k;
    }
    int wanted = old;
    if (old == k_) {
      if (z > kFar) wanted = biggest;
    } else if (z < kNear) {
      wanted = k_;
    } else if (big > kRechart) {
      wanted = biggest;
    }
    if (wanted == old) return;
    // Homogeneous coordinates Z_0 .. Z_{k-1}, Z_k (that of infinity): chart j has Z_j = 1, and u_j holds Z_k.
    for (int g = 0; g < points_[l]; ++g) {
      auto value = [&](int i) {
        return i == old ? Number{1, 0} : lane_of(u_[g][i == k_ ? old : i], l);
      };
      auto slope = [&](int i) {
        return i == old ? Number{0, 0} : lane_of(tangent_[g][i == k_ ? old : i], l);
      };
      const Number w = value(wanted), dw = slope(wanted);
      const Number at_infinity = value(k_) / w, infinity_slope = (slope(k_) - at_infinity * dw) / w;
      const Number of_old = value(old) / w, old_slope = (slope(old) - of_old * dw) / w;
      for (int k = 0; k < k_; ++k) {
        if (k == wanted || k == old) continue;
        const Number n = value(k) / w, d = (slope(k) - n * dw) / w;
        put(u_[g] + k, l, n.re, n.im);
        put(tangent_[g] + k, l, d.re, d.im);
      }
      if (old < k_) {
        put(u_[g] + old, l, of_old.re, of_old.im);
        put(tangent_[g] + old, l, old_slope.re, old_slope.im);
      }
      if (wanted < k_) {
        put(u_[g] + wanted, l, at_infinity.re, at_infinity.im);
        put(tangent_[g] + wanted, l, infinity_slope.re, infinity_slope.im);
      }
    }
    chart_[l] = wanted;
    reload_ = true;
  }

  void report(int l, int status) {
    const int64_t job = job_[l];
    const int chart = chart_[l];
    Number v{1, 0};
    if (chart < k_) v = lane_of(u_[0][chart], l);
    double imaginary = 0, size = 0;
    for (int k = 0; k < k_; ++k) {
      const Number z = (k == chart ? Number{1, 0} : lane_of(u_[0][k], l)) / v;
      a_.end[(job * k_ + k) * 2] = z.re;
      a_.end[(job * k_ + k) * 2 + 1] = z.im;
      imaginary = std::fmax(imaginary, std::fabs(z.im));
      size = std::fmax(size, size_of(z));
    }
    a_.status[job] = static_cast<int8_t>(status);
    a_.steps[job] = steps_[l];
    a_.largest[job] = std::fmax(most_[l], size);
    a_.correction[job] = phase_[l] == Phase::settling ? correction_[l] : 0.0;
    if (a_.stop_at_real && status == static_cast<int>(PathStatus::converged) && imaginary < kRealPart * (1 + size)) {
      int64_t* first = queue_.done + a_.group[job];
      int64_t seen = __atomic_load_n(first, __ATOMIC_RELAXED);
      while (job < seen && !__atomic_compare_exchange_n(first, &seen, job, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
      }
    }
  }

  Queue& queue_;
  const ContinuationArgs& a_;
  const Shape& s_;
  const int k_, stride_;
  Model model_;
  Jets jets_, teacher_;
  int64_t width_;
  C *from_, *move_, *theta_, *y_, *target_, *target_speed_, *column_, *system_, *u_[3], *tangent_[3], *next_, *z_, *new_tangent_;
  J2 *jet_theta_, *jet_y_;
  M* chart_is_;
  V *degree_, *row_scale_;
  V s0_{}, s1_{}, s2_{}, s_now_{}, h_{};
  Slots<L> slots_;
  bool affine_ = true, reload_ = false;
  int64_t job_[L];
  Phase phase_[L];
  int chart_[L], points_[L], steps_[L], settled_[L];
  double most_[L], correction_[L];
};

template <class Model, class Jets>
void continuation_worker(void* context, int worker, int64_t, Control& control) {
  Queue& queue = *static_cast<Queue*>(context);
  Scratch scratch(Tracker<Model, Jets>::scratch_bytes(*queue.args));
  Tracker<Model, Jets> tracker(queue, scratch);
  tracker.run(worker, control);
}

template <class Model> struct JetsOf;
template <int N> struct JetsOf<Recurrent<C, N>> { using type = Recurrent<J2, N>; };
template <> struct JetsOf<Feedforward<C>> { using type = Feedforward<J2>; };

}  // namespace

void continuation(const ContinuationArgs& a, Control& control) {
  if (a.jobs == 0) return;
  Scratch scratch(sizeof(int64_t) * static_cast<size_t>(a.jobs) + 64);
  Queue queue;
  queue.args = &a;
  queue.done = static_cast<int64_t*>(scratch.take(sizeof(int64_t) * static_cast<size_t>(a.jobs)));
  for (int64_t j = 0; j < a.jobs; ++j) queue.done[j] = a.jobs;
  const int workers = worker_count((a.jobs + L - 1) / L, a.threads);
  with_model<C>(*a.shape, [&](auto type) {
    using Model = typename decltype(type)::type;
    parallel_for(workers, workers, control, continuation_worker<Model, typename JetsOf<Model>::type>, &queue);
  });
}

}  // namespace SL_ISA
}  // namespace sl
