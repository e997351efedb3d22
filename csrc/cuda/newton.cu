// Levenberg-Marquardt with geodesic acceleration, one start per thread, threads refilled from a queue on the device. See ops/newton.h;
// the method, its constants and its rules are those of cpu/newton.cpp, one lane at a time.
//
// Queue: an atomic counter over the jobs (start 0 of all students, start 1 of all, ..). A job is skipped where an earlier start of its
// student has matched; a job that was taken is always finished, so every start before the first success is run and the first success
// in number is what is reported, whatever the order in which threads run. A thread that ends a job takes the next one while its warp
// goes on; one launch empties the queue.
// Everything of a start is in the strip: about 660 numbers at n = 8, i = o = 2, T = 6, r = 12, so 168 KB per warp: one warp per
// multiprocessor in shared memory. Work per iteration about 5000 multiply-adds and 8000 words.
#include "core/draws.h"
#include "cuda/in_registers.cuh"
#include "cuda/strip.cuh"
#include "ops/cuda.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int kMaxRejected = 12, kWindow = 20;
constexpr double kWindowProgress = 0.9, kStartDamping = 1e-4, kLeastDamping = 1e-15, kAccept = 0.15, kReject = 4.0;
constexpr double kGeodesicStep = 0.1, kGeodesicMost = 0.5625;  // (3/4)^2
constexpr size_t kSharedNewton = 227 * 1024;

using C = Entry<double>;
using I = Entry<int>;

struct Jobs {
  unsigned long long* next;
  int64_t total;
  int* lock;  // [batch] one spin lock per student, for its best start
  const int8_t* open;  // [batch] or null: all are searched

  __device__ bool runs(int64_t student, int64_t start) const {
    return !open || open[student] == kSearched || (open[student] == kAffine && start == 0);
  }
};

SL_INLINE int row_of(int i) { return i * (i + 1) / 2; }  // rows of a lower triangle one after the other

// Cholesky of a symmetric positive matrix k x k in its lower triangle; inverse[j] = 1 / diagonal.
SL_INLINE void cholesky(C* A, int k, C* inverse, double tiny) {
  for (int j = 0; j < k; ++j) {
    const C* aj = A + row_of(j);
    double d = aj[j];
    for (int q = 0; q < j; ++q) d -= double(aj[q]) * double(aj[q]);
    d = d < tiny ? tiny : d;
    const double scale = 1.0 / square_root(d);
    inverse[j] = scale;
    int i = j + 1;
    for (; i + 3 < k; i += 4) {
      C *r0 = A + row_of(i), *r1 = A + row_of(i + 1), *r2 = A + row_of(i + 2), *r3 = A + row_of(i + 3);
      double z0 = r0[j], z1 = r1[j], z2 = r2[j], z3 = r3[j];
      for (int q = 0; q < j; ++q) {
        const double x = aj[q];
        z0 -= double(r0[q]) * x;
        z1 -= double(r1[q]) * x;
        z2 -= double(r2[q]) * x;
        z3 -= double(r3[q]) * x;
      }
      r0[j] = z0 * scale;
      r1[j] = z1 * scale;
      r2[j] = z2 * scale;
      r3[j] = z3 * scale;
    }
    for (; i < k; ++i) {
      C* ri = A + row_of(i);
      double z = ri[j];
      for (int q = 0; q < j; ++q) z -= double(ri[q]) * double(aj[q]);
      ri[j] = z * scale;
    }
  }
}
SL_INLINE void cholesky_solve(const C* A, int k, const C* inverse, C* z) {
  for (int i = 0; i < k; ++i) {
    const C* row = A + row_of(i);
    double x = z[i];
    for (int q = 0; q < i; ++q) x -= double(row[q]) * double(z[q]);
    z[i] = x * double(inverse[i]);
  }
  for (int i = k - 1; i >= 0; --i) {
    const C* row = A + row_of(i);
    const double x = double(z[i]) * double(inverse[i]);
    z[i] = x;
    for (int q = 0; q < i; ++q) z[q] = double(z[q]) - double(row[q]) * x;
  }
}

// Lower triangle of A[i][j] = sum_q v[q * step + i * stride] v[q * step + j * stride], i, j < size: J J^T (stride 1, step E) and
// J^T J (stride E, step 1) from J stored column by column. Tiles of 2 x 4: six numbers read for eight products.
SL_INLINE void gram(const C* v, int stride, int step, int terms, int size, C* A) {
  for (int i = 0; i < size; i += 2) {
    const bool pair = i + 1 < size;
    const int i1 = pair ? i + 1 : i;
    for (int j = 0; j <= i1; j += 4) {
      const int w = size - j < 4 ? size - j : 4;
      const int j1 = w > 1 ? j + 1 : j, j2 = w > 2 ? j + 2 : j, j3 = w > 3 ? j + 3 : j;
      double a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      for (int q = 0; q < terms; ++q) {
        const C* c = v + static_cast<size_t>(q) * step;
        const double x = c[i * stride], y = c[i1 * stride];
        const double c0 = c[j * stride], c1 = c[j1 * stride], c2 = c[j2 * stride], c3 = c[j3 * stride];
        a0 += x * c0; a1 += x * c1; a2 += x * c2; a3 += x * c3;
        b0 += y * c0; b1 += y * c1; b2 += y * c2; b3 += y * c3;
      }
      C *ra = A + row_of(i) + j, *rb = A + row_of(i1) + j;
      if (j <= i) ra[0] = a0;
      if (j + 1 <= i) ra[1] = a1;
      if (j + 2 <= i) ra[2] = a2;
      if (j + 3 <= i) ra[3] = a3;
      if (pair) {
        if (j <= i1) rb[0] = b0;
        if (j + 1 <= i1) rb[1] = b1;
        if (j + 2 <= i1) rb[2] = b2;
        if (j + 3 <= i1) rb[3] = b3;
      }
    }
  }
}

template <class Model> class Searcher {
 public:
  __device__ __forceinline__ Searcher(const Shape& s, const NewtonArgs& a, const double* start_scale, const Groups& groups,
                                      const Jobs& queue, Strip& strip)
      : s_(s), a_(a), scale_(start_scale), queue_(queue), r_(a.budget), model_(s, strip, Tables::jacobian) {
    model_.learn(groups.learns);
    model_.blank();
    begin_ = model_.first_equation();
    E_ = s.equations - begin_;
    dual_ = r_ > E_;
    system_ = dual_ ? E_ : r_;
    auto take = [&](size_t n) { return take_array<C>(strip, n); };
    theta_ = take(s.size);
    target_ = take(s.equations);
    y_ = take(s.equations);
    trial_y_ = take(s.equations);
    at_ = take(r_);
    trial_ = take(r_);
    step_ = take(r_);
    bend_ = take(r_);
    rhs_ = take(E_);
    J_ = take(static_cast<size_t>(r_) * E_);
    A_ = take(row_of(system_));
    inverse_ = take(system_);
    slots_.allocate(r_, [&](size_t n) { return take_array<I>(strip, n); });
  }
  static size_t bytes(const Shape& s, int budget) {
    const size_t r = budget, E = s.equations, k = r < E ? r : E;
    return Model::scratch_bytes(s, Tables::jacobian) + sizeof(C) * (s.size + 4 * E + 4 * r + r * E + k * (k + 1) / 2 + k) +
           sizeof(I) * 5 * r;
  }

  __device__ __forceinline__ void run() {
    bool live = refill();
    int64_t iterations = 0;
    while (live) {
      for (int k = 0; k < r_; ++k) theta_[slots_.flat[k]] = trial_[k];
      model_.forward(theta_, trial_y_);
      double loss = 0;
      for (int e = 0; e < s_.equations; ++e) {
        const double d = double(trial_y_[e]) - double(target_[e]);
        loss += d * d;
      }
      const bool accept = loss < loss_;  // false for NaN
      if (accept) {
        loss_ = loss;
        for (int k = 0; k < r_; ++k) at_[k] = trial_[k];
        for (int e = 0; e < s_.equations; ++e) y_[e] = trial_y_[e];
      }
      mu_ *= accept ? kAccept : kReject;
      mu_ = mu_ < kLeastDamping ? kLeastDamping : mu_;
      ++iterations;
      const int verdict = judge(accept);
      if (verdict != 0) {
        report(verdict > 0);
        live = refill();
      } else {  // the threads of a warp that have just taken a job wait here for one step of the others
        if (accept) {
          model_.sensitivities(theta_);
          for (int k = 0; k < r_; ++k) model_.column(slots_, k, begin_, J_ + static_cast<size_t>(k) * E_ - begin_, 1);
        }
        factor();
        for (int e = 0; e < E_; ++e) rhs_[e] = double(target_[begin_ + e]) - double(y_[begin_ + e]);
        solve(step_);
        bend();
        for (int k = 0; k < r_; ++k) trial_[k] = double(at_[k]) + double(step_[k]);
      }
    }
    if (iterations) atomicAdd(reinterpret_cast<unsigned long long*>(a_.iterations_out), static_cast<unsigned long long>(iterations));
  }

 private:
  // Takes the next job of the queue; false when there is none.
  __device__ __forceinline__ bool refill() {
    const int64_t batch = a_.students.batch;
    int64_t job;
    for (;;) {
      job = static_cast<int64_t>(atomicAdd(queue_.next, 1ull));
      if (job >= queue_.total) return false;
      student_ = job % batch;
      start_ = static_cast<int>(job / batch);
      const int found = *static_cast<volatile const int32_t*>(a_.found_out + student_);
      if ((found == -1 || found > start_) && queue_.runs(student_, start_)) break;
    }
    const double* theta = a_.students.theta + student_ * a_.students.theta_stride;
    load_student(s_, model_, theta_, theta, a_.students.x + student_ * a_.students.x_stride);
    model_.inputs_ready(1.0);
    model_.prepare(theta_);
    const int* index = a_.indices + student_ * a_.index_stride;
    const Philox source(a_.seed, kStarts + static_cast<uint32_t>(start_), a_.trials[student_], a_.task);
    for (int k = 0; k < r_; ++k) {
      const int flat = index[k];
      slots_.set(k, 0, flat, model_.place(flat));
      const double from = start_ == 0 ? theta[flat] : draws::normal(source, static_cast<uint64_t>(flat)) * scale_[flat];
      trial_[k] = from;
      at_[k] = from;
    }
    norm2_ = 0;
    for (int e = 0; e < s_.equations; ++e) {
      const double v = a_.y[student_ * a_.y_stride + e];
      target_[e] = v;
      norm2_ += v * v;
    }
    if (a_.norm2) norm2_ = a_.norm2[student_];
    iteration_ = 0;
    rejected_ = 0;
    mu_ = kStartDamping;
    loss_ = window_ = __builtin_inf();
    return true;
  }

  // 1: matched, -1: given up, 0: goes on.
  __device__ __forceinline__ int judge(bool accept) {
    ++iteration_;
    rejected_ = accept ? 0 : rejected_ + 1;
    const double goal = a_.tol * norm2_;
    if (loss_ < goal || (goal == 0 && loss_ == 0)) return 1;
    // A first evaluation that is not finite has no Jacobian to go on with.
    if (iteration_ >= a_.max_iterations || rejected_ > kMaxRejected || (iteration_ == 1 && !accept) || r_ == 0) return -1;
    if (iteration_ % kWindow == 0) {
      if (loss_ > kWindowProgress * window_) return -1;
      window_ = loss_;
    }
    return 0;
  }

  __device__ __forceinline__ void report(bool matched) {
    const int64_t b = student_;
    const double relative = norm2_ > 0 ? loss_ / norm2_ : loss_;
    for (bool waiting = true; waiting;) {
      if (atomicCAS(queue_.lock + b, 0, 1) != 0) continue;
      __threadfence();
      volatile int32_t* found = a_.found_out + b;
      volatile double* best = a_.loss_out + b;
      // Matched starts beat unmatched ones; among matched the first in number, among unmatched the smallest loss.
      if (matched ? *found < 0 || start_ < *found : *found < 0 && relative < *best) {
        if (matched) *found = start_;
        *best = relative;
        if (a_.theta_out) {
          volatile double* theta = a_.theta_out + b * s_.size;
          for (int k = 0; k < r_; ++k) theta[slots_.flat[k]] = at_[k];
        }
      }
      __threadfence();
      atomicExch(queue_.lock + b, 0);
      waiting = false;
    }
  }

  __device__ __forceinline__ void factor() {
    if (dual_) gram(J_, 1, E_, r_, system_, A_);
    else gram(J_, E_, 1, E_, system_, A_);
    double trace = 0;
    for (int i = 0; i < system_; ++i) trace += double(A_[row_of(i) + i]);
    const double damping = mu_ * trace * (1.0 / (system_ > 0 ? system_ : 1)) + 1e-300;
    for (int i = 0; i < system_; ++i) A_[row_of(i) + i] += damping;
    cholesky(A_, system_, inverse_, trace * 1e-30 + 1e-300);
  }
  // out = the damped least-squares solution of J out = rhs_; rhs_ is overwritten in the dual form.
  __device__ __forceinline__ void solve(C* out) {
    if (dual_) cholesky_solve(A_, system_, inverse_, rhs_);
    for (int k = 0; k < r_; ++k) {
      const C* c = J_ + static_cast<size_t>(k) * E_;
      double s0 = 0;
      for (int e = 0; e < E_; ++e) s0 += double(c[e]) * double(rhs_[e]);
      out[k] = s0;
    }
    if (!dual_) cholesky_solve(A_, system_, inverse_, out);
  }
  __device__ __forceinline__ void bend() {
    for (int k = 0; k < r_; ++k) theta_[slots_.flat[k]] = double(at_[k]) + double(step_[k]) * kGeodesicStep;
    model_.forward(theta_, trial_y_);
    for (int e = 0; e < E_; ++e) {
      double along = 0;  // (J d)[e]
      for (int k = 0; k < r_; ++k) along += double(J_[static_cast<size_t>(k) * E_ + e]) * double(step_[k]);
      rhs_[e] = ((double(trial_y_[begin_ + e]) - double(y_[begin_ + e])) * (1.0 / kGeodesicStep) - along) * (-1.0 / kGeodesicStep);
    }
    solve(bend_);
    double length = 0, bent = 0;
    for (int k = 0; k < r_; ++k) {
      length += double(step_[k]) * double(step_[k]);
      bent += double(bend_[k]) * double(bend_[k]);
    }
    if (bent < length * kGeodesicMost)
      for (int k = 0; k < r_; ++k) step_[k] += double(bend_[k]);
  }

  const Shape& s_;
  const NewtonArgs& a_;
  const double* scale_;
  const Jobs& queue_;
  const int r_;
  Model model_;
  int begin_, E_, system_;
  bool dual_;
  C *theta_, *target_, *y_, *trial_y_, *at_, *trial_, *step_, *bend_, *rhs_, *J_, *A_, *inverse_;
  Slots<1, I> slots_;
  int64_t student_ = 0;
  int start_ = 0, iteration_ = 0, rejected_ = 0;
  double loss_ = 0, mu_ = 0, norm2_ = 0, window_ = 0;
};

template <class Model>
__global__ void __launch_bounds__(cuda::kWarp)
    newton_kernel(unsigned char* strips, size_t bytes, const __grid_constant__ Shape s, const __grid_constant__ NewtonArgs a,
                  const double* start_scale, const __grid_constant__ Groups groups, const __grid_constant__ Jobs queue) {
  SL_STRIP(strip, strips, bytes, kFast<Model>);
  Searcher<Model> searcher(s, a, start_scale, groups, queue, strip);
  searcher.run();
}

__global__ void begin_kernel(int64_t batch, const __grid_constant__ Jobs queue, int32_t* found, double* loss) {
  for (int64_t b = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; b < batch; b += int64_t{gridDim.x} * blockDim.x) {
    found[b] = queue.runs(b, 0) ? -1 : kClosed;
    loss[b] = __builtin_inf();
    queue.lock[b] = 0;
  }
}

// False, and nothing done, where the model must have its strip in shared memory and cannot.
template <class Model> bool newton_with(const NewtonArgs& a, const double* start_scale, const Jobs& queue, cuda::Stream& stream) {
  const Shape& s = *a.students.shape;
  if (kFast<Model> && !fits_in_shared(Searcher<Model>::bytes(s, a.budget), kSharedNewton, stream)) return false;
  launch_strips(newton_kernel<Model>, Searcher<Model>::bytes(s, a.budget), queue.total, kSharedNewton, stream, s, a, start_scale,
                groups_of(s, a.group_learns), queue);
  return true;
}

}  // namespace
}  // namespace SL_ISA

void cuda::newton(const NewtonArgs& a, Stream& stream, const int8_t* open) {
  using namespace SL_ISA;
  const Shape& s = *a.students.shape;
  const int64_t batch = a.students.batch;
  stream.clear(a.iterations_out, sizeof *a.iterations_out);
  if (batch == 0) return;
  Jobs queue{stream.scratch<unsigned long long>(1), batch * (a.budget == 0 ? 1 : a.starts), stream.scratch<int>(batch), open};
  stream.clear(queue.next, sizeof *queue.next);
  double* start_scale = stream.scratch<double>(s.size);
  stream.upload(start_scale, a.start_scale, sizeof(double) * static_cast<size_t>(s.size));
  launch(begin_kernel, dim3(static_cast<unsigned>(std::min<int64_t>((batch + 127) / 128, 4096))), dim3(128), 0, stream, batch, queue,
         a.found_out, a.loss_out);
  const auto with = [&](auto type) { return newton_with<typename decltype(type)::type>(a, start_scale, queue, stream); };
  if (s.kind == Kind::feedforward) {
    with(Type<Feedforward<double, C>>{});
    return;
  }
  const bool done = s.hidden == 8 && s.outputs == 2 ? with(Type<InRegisters<double, 8, 2>>{})
                    : s.hidden == 8                 ? with(Type<InRegisters<double, 8, 0>>{})
                    : s.hidden == 4                 ? with(Type<InRegisters<double, 4, 0>>{})
                                                    : false;
  if (!done) with(Type<Recurrent<double, 0, C>>{});
}

}  // namespace sl
