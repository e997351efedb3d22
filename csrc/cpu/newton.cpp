// Levenberg-Marquardt with geodesic acceleration, one start per lane, lanes refilled from a queue. See ops/newton.h.
//
// With residual f (E active equations), Jacobian J (E x r) and damping lambda = mu trace / rank bound:
//   r <= E:  (J^T J + lambda) d = -J^T f        r > E:  d = -J^T (J J^T + lambda)^-1 f     (the same step, smaller system)
//   geodesic: f'' along d by one finite difference, f'' = 2/h ((f(t + h d) - f) / h - J d);  solve the same system for -f''/2 and
//   add it when it is at most 3/4 as long as d (Transtrum & Sethna). It bends the step along curved valleys.
// Which steps are taken and when a start gives up: method/levenberg_marquardt.h.
//
// Queue: jobs in the order (start 0 of all students, start 1 of all, ..). Every student's starts before its first success are
// therefore run, whatever the thread count, and the first success in number is what is reported.
#include "ops/newton.h"

#include <new>

#include "core/random.h"
#include "cpu/networks.h"
#include "cpu/newton_cholesky_blocks.h"
#include "cpu/newton_cholesky_lanes.h"
#include "method/levenberg_marquardt.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int kLargeSystem = 64;  // from here on one Gram matrix at a time: measured 2026-11-21, Zen 5, AVX-512

using S = Pack<double>;
using M = PackMask<double>;
constexpr int L = kLanes<double>;

struct Queue {
  const NewtonArgs* args;
  int64_t next = 0, total = 0, iterations = 0;
  int32_t* lock;   // [batch] one spin lock per student, for its best start
  int32_t* found;  // [batch]
};

template <class Model>
class Worker {
 public:
  Worker(Queue& queue, Scratch& scratch) : queue_(queue), a_(*queue.args), s_(*a_.students.shape), r_(a_.budget), model_(s_, scratch) {
    model_.learn(a_.group_learns);
    begin_ = model_.first_equation();
    E_ = s_.equations - begin_;
    dual_ = r_ > E_;
    system_ = dual_ ? E_ : r_;
    auto take = [&](size_t n) { return static_cast<S*>(scratch.take(n * sizeof(S))); };
    theta_ = take(s_.size);
    target_ = take(s_.equations);
    y_ = take(s_.equations);
    column_ = take(s_.equations);
    trial_y_ = take(s_.equations);
    at_ = take(r_);
    trial_ = take(r_);
    step_ = take(r_);
    bend_ = take(r_);
    residual_ = take(E_);
    rhs_ = take(E_ > r_ ? E_ : r_);
    J_ = take(static_cast<size_t>(r_) * E_);
    if (system_ >= kLargeSystem) {
      large_ = new (scratch.take(sizeof(BlockCholesky))) BlockCholesky(system_, scratch);
    } else {
      A_ = take(static_cast<size_t>(system_) * system_);
      inverse_ = take(system_);
    }
    slots_.allocate(r_, [&](size_t n) { return static_cast<int*>(scratch.take(n * sizeof(int))); });
    slots_.same = a_.index_stride == 0;
  }

  void run(int worker, Control& control) {
    bool live = false;
    for (int l = 0; l < L; ++l) live |= refill(l);
    if (!live) return;
    for (int l = 0; l < L; ++l)
      if (job_[l] < 0) idle_copy(l);
    int64_t rounds = 0;
    while (live) {
      if ((++rounds & 31) == 0 && control.should_stop(worker)) break;
      if (moved_) model_.prepare(theta_);
      moved_ = false;
      for (int k = 0; k < r_; ++k) scatter(theta_, slots_.flat + k * L, trial_[k], slots_.same);
      model_.forward(theta_, trial_y_);
      S loss{};
      for (int e = 0; e < s_.equations; ++e) {
        const S d = trial_y_[e] - target_[e];
        loss += d * d;
      }
      const M accept = loss < loss_;  // false for NaN
      loss_ = select<S>(accept, loss, loss_);
      for (int k = 0; k < r_; ++k) at_[k] = select<S>(accept, trial_[k], at_[k]);
      for (int e = 0; e < s_.equations; ++e) y_[e] = select<S>(accept, trial_y_[e], y_[e]);
      mu_ = mu_ * select<S>(accept, constant<S>(kAccept), constant<S>(kReject));
      const S least = constant<S>(kLeastDamping);
      mu_ = mu_ < least ? least : mu_;
      live = judge(accept);
      if (!live) break;
      if (any<M>(accept)) {
        model_.sensitivities(theta_);
        const bool everywhere = !any<M>(~accept);
        for (int k = 0; k < r_; ++k) {
          S* to = J_ + static_cast<size_t>(k) * E_;
          if (everywhere) {
            model_.column(slots_, k, begin_, to - begin_);
          } else {
            model_.column(slots_, k, begin_, column_);
            for (int e = 0; e < E_; ++e) to[e] = select<S>(accept, column_[begin_ + e], to[e]);
          }
        }
      }
      factor();
      for (int e = 0; e < E_; ++e) {
        residual_[e] = y_[begin_ + e] - target_[begin_ + e];
        rhs_[e] = -residual_[e];
      }
      solve(step_);
      bend();
      for (int k = 0; k < r_; ++k) trial_[k] = select<S>(fresh_, trial_[k], at_[k] + step_[k]);
    }
    __atomic_fetch_add(&queue_.iterations, lane_iterations_, __ATOMIC_RELAXED);
  }

 private:
  // Takes the next job of the queue into lane l; false when there is none (the lane then idles on what it holds).
  bool refill(int l) {
    int64_t job;
    const int64_t batch = a_.students.batch;
    for (;;) {
      job = __atomic_fetch_add(&queue_.next, int64_t{1}, __ATOMIC_RELAXED);
      if (job >= queue_.total) {
        job_[l] = -1;
        fresh_[l] = 0;
        return false;
      }
      if (worth_running(job / batch, __atomic_load_n(&queue_.found[job % batch], __ATOMIC_RELAXED))) break;
    }
    job_[l] = job;
    load(l, job % batch, static_cast<int>(job / batch));
    return true;
  }

  void load(int l, int64_t b, int start) {
    const double* theta = a_.students.theta + b * a_.students.theta_stride;
    load_lane(s_, model_, theta_, l, theta, a_.students.x + b * a_.students.x_stride);
    lane(&one_, l) = 1.0;
    model_.inputs_ready(one_);
    const int* index = a_.indices + b * a_.index_stride;
    const Philox source(a_.seed, kStarts + static_cast<uint32_t>(start), a_.trials[b], a_.task);
    for (int k = 0; k < r_; ++k) {
      set_slot(model_, slots_, k, l, index[k]);
      lane(trial_ + k, l) =
          start == 0 ? theta[index[k]] : (index[k] >= s_.first_gain) + normal(source, index[k]) * a_.start_scale[index[k]];
      lane(at_ + k, l) = lane(trial_ + k, l);
    }
    double norm2 = 0;
    for (int e = 0; e < s_.equations; ++e) {
      const double v = a_.y[b * a_.y_stride + e];
      lane(target_ + e, l) = v;
      norm2 += v * v;
    }
    if (a_.norm2) norm2 = a_.norm2[b];
    for (int e = 0; e < E_; ++e)
      for (int k = 0; k < r_; ++k) lane(J_ + static_cast<size_t>(k) * E_ + e, l) = 0.0;
    goal_[l] = a_.tol * norm2;
    norm2_[l] = norm2;
    course_[l].begin();
    lane(&mu_, l) = kStartDamping;
    lane(&loss_, l) = __builtin_inf();
    fresh_[l] = -1;
    moved_ = true;
  }
  void idle_copy(int l) {  // an idle lane computes on harmless numbers
    load(l, 0, 0);
    fresh_[l] = 0;
    job_[l] = -1;
  }

  // Ends the jobs that are decided and refills their lanes. False when no lane has a job any more.
  bool judge(M accept) {
    bool live = false;
    for (int l = 0; l < L; ++l) {
      fresh_[l] = 0;
      if (job_[l] < 0) continue;
      ++lane_iterations_;
      const double loss = lane(&loss_, l);
      const Verdict verdict = course_[l].judge(accept[l] != 0, loss, goal_[l], a_.max_iterations, r_);
      if (verdict != Verdict::goes_on) {
        report(l, verdict == Verdict::matches, loss);
        if (!refill(l)) continue;
      }
      live = true;
    }
    return live;
  }

  void report(int l, bool matched, double loss) {
    const int64_t batch = a_.students.batch, b = job_[l] % batch;
    const int32_t start = static_cast<int32_t>(job_[l] / batch);
    const double relative = norm2_[l] > 0 ? loss / norm2_[l] : loss;
    while (__atomic_exchange_n(&queue_.lock[b], 1, __ATOMIC_ACQUIRE)) {}
    if (replaces(matched, start, relative, queue_.found[b], a_.loss_out[b])) {
      if (matched) __atomic_store_n(&queue_.found[b], start, __ATOMIC_RELAXED);
      a_.loss_out[b] = relative;
      for (int k = 0; k < r_; ++k) a_.theta_out[b * s_.size + slots_.flat[k * L + l]] = lane(at_ + k, l);
    }
    __atomic_store_n(&queue_.lock[b], 0, __ATOMIC_RELEASE);
  }

  void factor() {
    if (large_) return factor_large();
    if (dual_) gram_of_columns(J_, E_, r_, system_, A_);
    else gram_of_rows(J_, E_, E_, system_, A_);
    S trace{};
    for (int i = 0; i < system_; ++i) trace += A_[static_cast<size_t>(i) * system_ + i];
    const S damping = mu_ * trace * (1.0 / (system_ > 0 ? system_ : 1)) + 1e-300;
    for (int i = 0; i < system_; ++i) A_[static_cast<size_t>(i) * system_ + i] += damping;
    cholesky(A_, system_, inverse_, trace * 1e-30 + 1e-300);
  }
  void factor_large() {
    const size_t E = static_cast<size_t>(E_);
    bool used[L];
    for (int l = 0; l < L; ++l) used[l] = job_[l] >= 0;
    if (dual_) large_->gram(J_, 1, E, r_, used);
    else large_->gram(J_, E, 1, E_, used);
    for (int l = 0; l < L; ++l) {
      if (job_[l] < 0) continue;
      const double trace = large_->trace(l);
      large_->factor(l, lane(&mu_, l) * trace / system_ + 1e-300, trace * 1e-30 + 1e-300);
    }
  }
  void solve_system(S* z) {
    if (!large_) return cholesky_solve(A_, system_, inverse_, z);
    for (int l = 0; l < L; ++l)
      if (job_[l] >= 0) large_->solve(l, z);
  }
  // out = the damped least-squares solution of J out = rhs_; rhs_ is overwritten in the dual form.
  void solve(S* out) {
    if (dual_) {
      solve_system(rhs_);
      for (int k = 0; k < r_; ++k) {
        const S* c = J_ + static_cast<size_t>(k) * E_;
        S s0{}, s1{};
        int e = 0;
        for (; e + 1 < E_; e += 2) {
          s0 += c[e] * rhs_[e];
          s1 += c[e + 1] * rhs_[e + 1];
        }
        if (e < E_) s0 += c[e] * rhs_[e];
        out[k] = s0 + s1;
      }
    } else {
      for (int k = 0; k < r_; ++k) {
        const S* c = J_ + static_cast<size_t>(k) * E_;
        S s0{};
        for (int e = 0; e < E_; ++e) s0 += c[e] * rhs_[e];
        out[k] = s0;
      }
      solve_system(out);
    }
  }
  void bend() {
    for (int k = 0; k < r_; ++k) scatter(theta_, slots_.flat + k * L, at_[k] + step_[k] * kGeodesicStep, slots_.same);
    model_.forward(theta_, trial_y_);
    for (int e = 0; e < E_; ++e) column_[e] = S{};
    for (int k = 0; k < r_; ++k) {
      const S* c = J_ + static_cast<size_t>(k) * E_;
      const S d = step_[k];
      for (int e = 0; e < E_; ++e) column_[e] += c[e] * d;
    }
    for (int e = 0; e < E_; ++e)
      rhs_[e] = ((trial_y_[begin_ + e] - y_[begin_ + e]) * (1.0 / kGeodesicStep) - column_[e]) * (-1.0 / kGeodesicStep);
    solve(bend_);
    S length{}, bent{};
    for (int k = 0; k < r_; ++k) {
      length += step_[k] * step_[k];
      bent += bend_[k] * bend_[k];
    }
    const M use = bent < length * kGeodesicMost;
    for (int k = 0; k < r_; ++k) step_[k] += select<S>(use, bend_[k], S{});
  }

  Queue& queue_;
  const NewtonArgs& a_;
  const Shape& s_;
  const int r_;
  Model model_;
  int begin_, E_, system_;
  bool dual_, moved_ = false;
  S *theta_, *target_, *y_, *column_, *trial_y_, *at_, *trial_, *step_, *bend_, *residual_, *rhs_, *J_, *A_ = nullptr, *inverse_ = nullptr;
  BlockCholesky* large_ = nullptr;
  S loss_{}, mu_{}, one_{};
  M fresh_{};
  Slots<L> slots_;
  int64_t job_[L], lane_iterations_ = 0;
  Course course_[L];
  double goal_[L], norm2_[L];
};

template <class Model>
void newton_worker(void* context, int worker, int64_t, Control& control) {
  Queue& queue = *static_cast<Queue*>(context);
  Scratch scratch;
  Worker<Model> w(queue, scratch);
  w.run(worker, control);
}

}  // namespace

void newton(const NewtonArgs& a, Control& control) {
  const int64_t batch = a.students.batch;
  Scratch scratch;
  Queue queue;
  queue.args = &a;
  queue.total = batch * (a.budget == 0 ? 1 : a.starts);
  queue.lock = static_cast<int32_t*>(scratch.take(sizeof(int32_t) * static_cast<size_t>(batch)));
  queue.found = a.found_out;
  for (int64_t b = 0; b < batch; ++b) {
    a.found_out[b] = -1;
    a.loss_out[b] = __builtin_inf();
  }
  // One item per worker; each takes jobs from the queue until it is empty.
  const int workers = worker_count((batch + L - 1) / L, a.threads);
  with_network<S>(*a.students.shape, [&](auto type) {
    using Model = typename decltype(type)::type;
    parallel_for(workers, workers, control, newton_worker<Model>, &queue);
  });
  *a.iterations_out = queue.iterations;
}

}  // namespace SL_ISA
}  // namespace sl
