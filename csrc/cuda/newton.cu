// Levenberg-Marquardt with geodesic acceleration: many starts at once, refilled from a queue on the device. See ops/newton.h; the
// rules: method/levenberg_marquardt.h; the linear algebra as in cpu/newton.cpp.
//
// Two kernels. Recurrent networks with up to 8 hidden units: 8 lanes per start (newton_lanes.cuh). All others, and systems too large for
// that: one start per thread (below), with the network classes of network/ and everything of a start in the strip: at n = 16, i = o = 2,
// T = 6, r = 24 about 1300 numbers, 340 KB per warp, so in device memory, through the caches.
#include "cuda/newton_lanes.cuh"

namespace sl {
namespace SL_ISA {
namespace {

using C = Entry<double>;
using I = Entry<int>;

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
        a0 += x * c0;
        a1 += x * c1;
        a2 += x * c2;
        a3 += x * c3;
        b0 += y * c0;
        b1 += y * c1;
        b2 += y * c2;
        b3 += y * c3;
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
    return Model::scratch_bytes(s, Tables::jacobian) + sizeof(C) * (s.size + 4 * E + 3 * r + r * E + k * (k + 1) / 2 + k) +
           sizeof(I) * 5 * r;
  }

  __device__ __forceinline__ void run() {
    bool live = refill();
    int64_t iterations = 0;
    while (live) {
      bool bent = false;
      SL_ROLLED
      do {  // a forward pass and a solution at the trial point, then (bent) a little way along the step
        model_.forward(theta_, trial_y_);
        if (!bent) {
          double loss = 0;
          for (int e = 0; e < s_.equations; ++e) {
            const double d = double(trial_y_[e]) - double(target_[e]);
            loss += d * d;
          }
          const bool accept = start_.accepts(loss);
          if (accept) {
            for (int k = 0; k < r_; ++k) at_[k] = double(theta_[slots_.flat[k]]);
            for (int e = 0; e < s_.equations; ++e) y_[e] = trial_y_[e];
          }
          ++iterations;
          const Verdict verdict = start_.judge(accept, a_);
          if (verdict != Verdict::goes_on) {
            start_.report(verdict == Verdict::matches, a_, s_.size, queue_, [&](int k) { return double(at_[k]); });
            live = refill();
            break;  // the threads of a warp that have just taken a job wait for one step of the others
          }
          if (accept) {
            model_.sensitivities(theta_);
            SL_ROLLED
            for (int k = 0; k < r_; ++k) model_.column(slots_, k, begin_, J_ + static_cast<size_t>(k) * E_ - begin_, 1);
          }
          factor();
        }
        residual(bent);
        solve(bent ? bend_ : step_);
        if (bent) add_bend();
        for (int k = 0; k < r_; ++k) theta_[slots_.flat[k]] = double(at_[k]) + double(step_[k]) * (bent ? 1.0 : kGeodesicStep);
        bent = !bent;
      } while (bent);
    }
    if (iterations) atomicAdd(reinterpret_cast<unsigned long long*>(a_.iterations_out), static_cast<unsigned long long>(iterations));
  }

 private:
  // Takes the next job of the queue; false when there is none.
  __device__ __forceinline__ bool refill() {
    const int64_t job = queue_.take(a_);
    if (job < 0) return false;
    start_.begin(job, a_);
    const double* theta = a_.students.theta + start_.student * a_.students.theta_stride;
    SL_ROLLED
    for (int k = 0; k < s_.size; ++k) theta_[k] = theta[k];
    const double* x = a_.students.x + start_.student * a_.students.x_stride;
    SL_ROLLED
    for (int k = 0; k < s_.inputs_size; ++k) *model_.input(k) = x[k];
    model_.inputs_ready(1.0);
    model_.prepare(theta_);
    const int* index = start_.indices(a_);
    const Philox source = start_.source(a_);
    SL_ROLLED
    for (int k = 0; k < r_; ++k) {
      const int flat = index[k];
      slots_.set(k, 0, flat, model_.place(flat));
      const double from = start_.from(a_, scale_, source, flat);
      theta_[flat] = from;
      at_[k] = from;
    }
    double norm2 = 0;
    SL_ROLLED
    for (int e = 0; e < s_.equations; ++e) {
      const double v = a_.y[start_.student * a_.y_stride + e];
      target_[e] = v;
      norm2 += v * v;
    }
    start_.norm2 = a_.norm2 ? a_.norm2[start_.student] : norm2;
    return true;
  }

  __device__ __forceinline__ void factor() {
    if (dual_) gram(J_, 1, E_, r_, system_, A_);
    else gram(J_, E_, 1, E_, system_, A_);
    double trace = 0;
    for (int i = 0; i < system_; ++i) trace += double(A_[row_of(i) + i]);
    const double damping = start_.mu * trace * (1.0 / (system_ > 0 ? system_ : 1)) + 1e-300;
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
  // rhs: target - y; bent, half the second derivative along the step, negative.
  __device__ __forceinline__ void residual(bool bent) {
    for (int e = 0; e < E_; ++e) {
      const double y = y_[begin_ + e];
      if (!bent) {
        rhs_[e] = double(target_[begin_ + e]) - y;
        continue;
      }
      double along = 0;  // (J step)[e]
      for (int k = 0; k < r_; ++k) along += double(J_[static_cast<size_t>(k) * E_ + e]) * double(step_[k]);
      rhs_[e] = ((double(trial_y_[begin_ + e]) - y) * (1.0 / kGeodesicStep) - along) * (-1.0 / kGeodesicStep);
    }
  }
  __device__ __forceinline__ void add_bend() {
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
  C *theta_, *target_, *y_, *trial_y_, *at_, *step_, *bend_, *rhs_, *J_, *A_, *inverse_;
  Slots<1, I> slots_;
  Start start_;
};

template <class Model>
__global__ void __launch_bounds__(cuda::kWarp)
    newton_kernel(unsigned char* strips, size_t bytes, const __grid_constant__ Shape s, const __grid_constant__ NewtonArgs a,
                  const double* start_scale, const __grid_constant__ Groups groups, const __grid_constant__ Jobs queue) {
  SL_STRIP(strip, strips, bytes, false);
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
  if (newton_lanes(a, start_scale, queue, stream)) return;
  with_strip_model<double>(s, [&](auto type) {
    using Model = typename decltype(type)::type;
    launch_strips(newton_kernel<Model>, Searcher<Model>::bytes(s, a.budget), queue.total, kSharedNewton, stream, s, a, start_scale,
                  groups_of(s, a.group_learns), queue);
  });
}

}  // namespace sl
