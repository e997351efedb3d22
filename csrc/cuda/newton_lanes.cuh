// newton_lanes.cuh: the kernel of newton.cu for recurrent networks with up to 8 hidden units: a group of 8 lanes per start, four starts per
// warp, all tables in shared memory.
//
//   forward pass     lane a has row a of W in registers and computes h_t[a]; h_{t-1} comes from shared memory, the same words for the group
//   outputs          output (t, e) by lane (t o + e) mod 8, after the last step
//   chains           lane a has column a of W and computes entry a of every adjoint; see network/recurrent.h
//   Jacobian         entry k of equations (t, e), all t, by lane (k o + e) mod 8: one triangular convolution of a chain with a row of z
//   V^T V            V is J^T where the system is J J^T (r > E), else J, so that the system is always V^T V; blocks of 2 x 2 over the lanes
//   Cholesky, solves lane l has rows l, l + 8, ..; two columns at a time; pivots and unknowns by shuffles
// The four groups run in step: every barrier and shuffle is the warp's. A group whose start has ended takes a new one at once, and that
// waits for one step of the others (as a fresh lane does on the CPU); a group without a start computes on what it holds and stores none
// of it. A vector is written by its owners and read by others only after the next barrier. Sums run in another order than on the CPU.
//
// Counted for W4 (n = 8, i = o = 2, T = 6, r = 12, only W learns, so E = 10), per iteration of four starts, in instructions of a warp, from
// the compiled code for sm_90 (loops times trips, about):
//                                    multiply-adds   all
//   two forward passes                         130    700
//   chains and Jacobian                        130    780
//   Gram matrix, 15 blocks on 8 lanes           96    380
//   Cholesky                                    90   1150
//   two solves, three products with V          180   1300
//   loss, verdict, residuals, step              30    400
// So about 4700 instructions for four iterations, of which the four schedulers of a multiprocessor issue one a cycle each at best: 0.8 G
// iterations/s on 132 multiprocessors at 1.75 GHz; the multiply-adds alone would allow 3 G. The strip of a warp has 18 KB: 12 warps per
// multiprocessor, 80 registers. (One start per thread takes 168 KB per warp: one warp per multiprocessor, which leaves three of its four
// schedulers without work and waits for every latency.)
#pragma once
#include "cuda/convolve.cuh"
#include "cuda/newton_start.cuh"
#include "cuda/strip.cuh"

namespace sl {
namespace SL_ISA {
namespace {

static_assert(kActivations == 3, "an activation is written out here");

constexpr int kGroup = 8, kGroups = cuda::kWarp / kGroup;  // lanes of a start; starts of a warp
constexpr int kRow = 10;  // pitch of W and D: rows of 16-byte words, in different banks

// Where everything of a start lies, in doubles from its beginning. Worked out once, on the host.
struct Plan {
  int inputs, outputs, steps, r, size;
  int first, E;  // steps and equations: outputs before step `first` see no learnable weight; E equations from there on
  int system, terms;  // V has `terms` rows of `system` numbers
  int V_pitch;  // also of the factor L
  bool dual, linear, drive_fixed, relu, has_b, has_c;
  int R;  // pitch of z; row t: h_{t-1} (8), x_t, 1
  int W, D, B, b, c, z, drive, target, y, trial, rhs, work /* J step, then the bend */, at, step, V, L, inverse, where, act, total;

  static int even(int n) { return (n + 1) / 2 * 2; }
  static int pitch(int n) { return 2 * ((n + 1) / 2 | 1); }  // an odd number of 16-byte words: rows begin in different banks

  Plan(const Shape& s, int budget, const bool* learns)
      : inputs(s.inputs), outputs(s.outputs), steps(s.steps), r(budget), size(s.size), linear(s.activation == Activation::linear),
        relu(s.activation == Activation::relu), has_b(s.b >= 0), has_c(s.c >= 0) {
    const bool learns_b = has_b && learns[3], learns_c = has_c && learns[has_b ? 4 : 3];
    drive_fixed = !learns[0] && !learns_b;
    first = drive_fixed && !learns[2] && !learns_c && steps > 1 ? 1 : 0;
    E = (steps - first) * outputs;
    dual = r > E;
    system = dual ? E : r;
    terms = dual ? r : E;
    V_pitch = pitch(system);
    R = even(kGroup + inputs + 1);
    total = 0;
    const auto take = [&](int n) {
      const int begin = total;
      total += even(n);
      return begin;
    };
    const int all = s.equations, blocks = (system + 1) / 2;
    W = take(kGroup * kRow);
    D = take(outputs * kRow);
    c = take(outputs);
    z = take((steps + 1) * R);
    drive = take(steps * kGroup);
    target = take(all);
    y = take(all);
    trial = take(all);
    rhs = take(E);
    work = take(E > r ? E : r);
    at = take(r);
    step = take(r);
    const int chains = linear ? (steps - first) * outputs : steps * (steps + 1) / 2 * outputs;
    // The chains are not needed any more when L is computed; B and b only by refill() where the drive does not change.
    const int drives = kGroup * (inputs + 1);
    L = take(std::max(std::max(kGroup * chains, 2 * blocks * V_pitch), drive_fixed ? drives : 0));
    B = drive_fixed ? L : take(drives);
    b = B + kGroup * inputs;
    V = take(terms * V_pitch);
    inverse = take(system);
    where = take((r + 1) / 2);
    act = take((r + 1) / 2);
    total = (total + 7) / 16 * 16 + 8;  // so that lanes of two neighbouring groups that read 8 words each use all banks
  }
  size_t bytes() const { return sizeof(double) * static_cast<size_t>(total) * kGroups; }
  SL_HD int chain(int t, int e, int s) const { return kGroup * ((t * (t + 1) / 2 + s) * outputs + e); }  // where activities are not linear
};

// Z: rows of the system per lane.
template <int Z> class LaneSearcher {
 public:
  __device__ __forceinline__ LaneSearcher(const Shape& s, const Plan& p, const NewtonArgs& a, const double* start_scale, const Jobs& queue,
                                          double* strip)
      : s_(s), p_(p), a_(a), scale_(start_scale), queue_(queue), lane_(static_cast<int>(threadIdx.x) % kGroup),
        m_(strip + static_cast<int>(threadIdx.x) / kGroup * p.total), item_(lane_ / p.outputs), item_e_(lane_ % p.outputs),
        items_(kGroup / p.outputs), items_e_(kGroup % p.outputs) {
    // What is never written stays zero: h_0, units beyond the last, paddings. A group without a start then has harmless positions too.
    SL_ROLLED
    for (int k = lane_; k < p.total; k += kGroup) m_[k] = 0;
    __syncwarp();
  }

  __device__ __forceinline__ void run() {
    refill(true);
    if (!__any_sync(cuda::kWholeWarp, live_)) return;
    unsigned long long iterations = 0;
    bool accept = false;
    SL_ROLLED
    for (bool bent = false;;) {  // a trip per forward pass: at the trial point, then (bent) a little way along the step
      __syncwarp();
      forward();
      if (!bent) {
        double loss = 0;
        SL_ROLLED
        for (int q = lane_; q < s_.equations; q += kGroup) {
          const double d = m_[p_.trial + q] - m_[p_.target + q];
          loss += d * d;
        }
        loss = sum(loss);
        bool over = false, matched = false;
        accept = false;
        if (live_) {
          accept = start_.accepts(loss);
          if (accept) {
            SL_ROLLED
            for (int k = lane_; k < p_.r; k += kGroup) m_[p_.at + k] = m_[where(k)];
            SL_ROLLED
            for (int q = lane_; q < s_.equations; q += kGroup) m_[p_.y + q] = m_[p_.trial + q];
          }
          ++iterations;
          const Verdict verdict = start_.judge(accept, a_);
          over = verdict != Verdict::goes_on;
          matched = verdict == Verdict::matches;
        }
        works_ = live_ && !over;
        if (__any_sync(cuda::kWholeWarp, over)) {
          __syncwarp();
          if (over && lane_ == 0) start_.report(matched, a_, p_.size, queue_, [&](int k) { return m_[p_.at + k]; });
          refill(over);
          if (!__any_sync(cuda::kWholeWarp, live_)) break;
          if (!__any_sync(cuda::kWholeWarp, works_)) continue;
        }
        accept = accept && works_;
        if (__any_sync(cuda::kWholeWarp, accept)) {
          chains();
          if (accept) columns();
        }
        factor();
      } else if (p_.dual) {
        columns_times(p_.step);
      } else {
        rows_times(p_.step, p_.work);
      }
      __syncwarp();
      residual(bent);
      __syncwarp();
      solve(bent ? p_.work : p_.step);
      if (bent) {
        double length = 0, bend = 0;
        SL_ROLLED
        for (int k = lane_; k < p_.r; k += kGroup) {
          const double d = m_[p_.step + k], g = m_[p_.work + k];
          length += d * d;
          bend += g * g;
        }
        length = sum(length);
        bend = sum(bend);
        if (bend < length * kGeodesicMost) SL_ROLLED
        for (int k = lane_; k < p_.r; k += kGroup) m_[p_.step + k] += m_[p_.work + k];
      }
      if (works_) SL_ROLLED
      for (int k = lane_; k < p_.r; k += kGroup) m_[where(k)] = m_[p_.at + k] + m_[p_.step + k] * (bent ? 1.0 : kGeodesicStep);
      bent = !bent;
    }
    if (iterations && lane_ == 0) atomicAdd(reinterpret_cast<unsigned long long*>(a_.iterations_out), iterations);
  }

 private:
  __device__ __forceinline__ void read(double (&row)[kGroup], int at) const {
    SL_UNROLL(4)
    for (int j = 0; j < kGroup / 2; ++j) {
      const double2 v = pair(at + 2 * j);
      row[2 * j] = v.x;
      row[2 * j + 1] = v.y;
    }
  }
  __device__ __forceinline__ double2 pair(int at) const { return *reinterpret_cast<const double2*>(m_ + at); }
  __device__ __forceinline__ int* ints(int at) const { return reinterpret_cast<int*>(m_ + at); }
  __device__ __forceinline__ int where(int k) const { return ints(p_.where)[k]; }
  // The sum over the group, the same bits for all its lanes.
  static __device__ __forceinline__ double sum(double x) {
    SL_UNROLL(3)
    for (int h = kGroup / 2; h > 0; h /= 2) x += __shfl_xor_sync(cuda::kWholeWarp, x, h);
    return x;
  }
  // The next of the items (major, e), e < outputs, of this lane.
  __device__ __forceinline__ void advance(int& major, int& e) const {
    major += items_;
    e += items_e_;
    if (e >= p_.outputs) {
      e -= p_.outputs;
      ++major;
    }
  }
  // A product of 8 terms, sums of the even and of the odd ones.
  __device__ __forceinline__ double dot(const double (&w)[kGroup], int at) const {
    double even = 0, odd = 0;
    SL_UNROLL(4)
    for (int j = 0; j < kGroup / 2; ++j) {
      const double2 v = pair(at + 2 * j);
      even += w[2 * j] * v.x;
      odd += w[2 * j + 1] * v.y;
    }
    return even + odd;
  }
  __device__ __forceinline__ double sloped(double h, double g) const { return p_.relu ? gate_by(h, g) : g - h * h * g; }

  // Gives a start to every group that wants one and is not out of luck. All lanes of the warp.
  __device__ __forceinline__ void refill(bool wanted) {
    long long job = -1;
    if (wanted && lane_ == 0) job = queue_.take(a_);
    job = __shfl_sync(cuda::kWholeWarp, job, 0, kGroup);
    if (wanted) live_ = job >= 0;
    const bool load = wanted && live_;
    __syncwarp();
    if (load && p_.drive_fixed) {  // L lay there
      SL_ROLLED
      for (int k = lane_; k < kGroup * (p_.inputs + 1); k += kGroup) m_[p_.B + k] = 0;
    }
    __syncwarp();
    double norm2 = 0;
    if (load) {
      start_.begin(job, a_);
      const double* theta = a_.students.theta + start_.student * a_.students.theta_stride;
      SL_ROLLED
      for (int k = lane_; k < p_.size; k += kGroup) m_[position(place_of(s_, k))] = theta[k];
      const double* x = a_.students.x + start_.student * a_.students.x_stride;
      SL_ROLLED
      for (int k = lane_; k < s_.inputs_size; k += kGroup) m_[p_.z + k / p_.inputs * p_.R + kGroup + k % p_.inputs] = x[k];
      SL_ROLLED
      for (int t = lane_; t <= p_.steps; t += kGroup) m_[p_.z + t * p_.R + kGroup + p_.inputs] = 1;
      const double* y = a_.y + start_.student * a_.y_stride;
      SL_ROLLED
      for (int q = lane_; q < s_.equations; q += kGroup) {
        const double v = y[q];
        m_[p_.target + q] = v;
        norm2 += v * v;
      }
    }
    norm2 = sum(norm2);
    __syncwarp();
    if (load) {
      start_.norm2 = a_.norm2 ? a_.norm2[start_.student] : norm2;
      if (p_.drive_fixed) drives();
      const int* index = start_.indices(a_);
      const Philox source = start_.source(a_);
      SL_ROLLED
      for (int k = lane_; k < p_.r; k += kGroup) {
        const int flat = index[k];
        const Place place = place_of(s_, flat);
        ints(p_.where)[k] = position(place);
        ints(p_.act)[k] = action(place);
        const double from = start_.from(a_, scale_, source, flat);
        m_[position(place)] = from;
        m_[p_.at + k] = from;
      }
    }
    __syncwarp();
  }
  __device__ __forceinline__ int position(const Place& place) const {
    switch (place.group) {
      case 'B': return p_.B + place.col * kGroup + place.row;
      case 'W': return p_.W + place.row * kRow + place.col;
      case 'D': return p_.D + place.row * kRow + place.col;
      case 'b': return p_.b + place.row;
      default: return p_.c + place.row;
    }
  }
  // How a weight acts: the column of z it is multiplied with (from bit 16 on), the unit it drives, or 0x8000 plus the output.
  __device__ __forceinline__ int action(const Place& place) const {
    switch (place.group) {
      case 'B': return (kGroup + place.col) << 16 | place.row;
      case 'W': return place.col << 16 | place.row;
      case 'D': return place.col << 16 | 0x8000 | place.row;
      case 'b': return (kGroup + p_.inputs) << 16 | place.row;
      default: return (kGroup + p_.inputs) << 16 | 0x8000 | place.row;
    }
  }

  // B x_t + b of this lane's unit.
  __device__ __forceinline__ void drives() {
    SL_ROLLED
    for (int t = 0; t < p_.steps; ++t) {
      double u = m_[p_.b + lane_];
      SL_ROLLED
      for (int j = 0; j < p_.inputs; ++j) u += m_[p_.B + j * kGroup + lane_] * m_[p_.z + t * p_.R + kGroup + j];
      m_[p_.drive + t * kGroup + lane_] = u;
    }
  }

  // z and the outputs of the weights in the strip. Begins after a barrier; every lane reads only its own outputs.
  __device__ __forceinline__ void forward() {
    if (!p_.drive_fixed) drives();
    double w[kGroup];
    read(w, p_.W + lane_ * kRow);
    SL_ROLLED
    for (int t = 0; t < p_.steps; ++t) {
      double h = m_[p_.drive + t * kGroup + lane_];
      if (t > 0) h += dot(w, p_.z + t * p_.R);
      if (!p_.linear) h = p_.relu ? relu_of(h) : tanh_of(h);
      m_[p_.z + (t + 1) * p_.R + lane_] = h;
      __syncwarp();
    }
    int t = item_, e = item_e_;
    SL_ROLLED
    for (int q = lane_; q < s_.equations; q += kGroup, advance(t, e)) {
      double d[kGroup];
      read(d, p_.D + e * kRow);
      m_[p_.trial + q] = m_[p_.c + e] + dot(d, p_.z + (t + 1) * p_.R);
    }
  }

  // The chains of the state of forward(), where L was; complete after the barrier at the end.
  __device__ __forceinline__ void chains() {
    const int o = p_.outputs, A = p_.L + lane_;
    double w[kGroup];
    SL_UNROLL(8)
    for (int j = 0; j < kGroup; ++j) w[j] = m_[p_.W + j * kRow + lane_];
    if (p_.linear) {
#pragma unroll 2
      for (int e = 0; e < o; ++e) m_[A + e * kGroup] = m_[p_.D + e * kRow + lane_];
      __syncwarp();
      SL_ROLLED
      for (int q = 1; q < p_.steps - p_.first; ++q) {
        const int from = p_.L + (q - 1) * o * kGroup, to = A + q * o * kGroup;
#pragma unroll 2
        for (int e = 0; e < o; ++e) m_[to + e * kGroup] = dot(w, from + e * kGroup);
        __syncwarp();
      }
      return;
    }
    SL_ROLLED
    for (int s = p_.steps - 1; s >= p_.first; --s) {
      const double h = m_[p_.z + (s + 1) * p_.R + lane_];
      SL_ROLLED
      for (int t = s; t < p_.steps; ++t) SL_ROLLED
      for (int e = 0; e < o; ++e) {
        const double g = t == s ? m_[p_.D + e * kRow + lane_] : dot(w, p_.L + p_.chain(t, e, s + 1));
        m_[A + p_.chain(t, e, s)] = sloped(h, g);
      }
      __syncwarp();
    }
  }

  // V from the chains. No barrier.
  __device__ __forceinline__ void columns() {
    const int o = p_.outputs, steps = p_.steps - p_.first, Z0 = p_.z + p_.first * p_.R;
    const int across = p_.dual ? 1 : p_.V_pitch, along = p_.dual ? p_.V_pitch : 1;  // V of equation q and weight k: q across + k along
    int k = item_, e = item_e_;
    SL_ROLLED
    for (int item = lane_; item < p_.r * o; item += kGroup, advance(k, e)) {
      const int act = ints(p_.act)[k], left = act & 0x7fff, right = Z0 + (act >> 16);
      double* out = m_ + p_.V + k * along + e * across;
      if (act & 0x8000) {
        SL_ROLLED
        for (int t = 0; t < steps; ++t) out[t * o * across] = e == left ? m_[right + (t + 1) * p_.R] : 0.0;
      } else if (p_.linear) {
        convolve<6>(m_ + p_.L + e * kGroup + left, o * kGroup, m_ + right, p_.R, steps, out, o * across);
      } else {
        SL_ROLLED
        for (int t = 0; t < steps; ++t) {
          double v = 0;
          SL_ROLLED
          for (int s = 0; s <= t; ++s) v += m_[p_.L + p_.chain(p_.first + t, e, p_.first + s) + left] * m_[right + s * p_.R];
          out[t * o * across] = v;
        }
      }
    }
  }

  // L L^T = V^T V + damping. 1 / L[j][j] is in `inverse`; L is zero on and above its diagonal, so that solve() need not look where it is.
  // Block (i, j), j <= i: rows 2 i and 2 i + 1, columns 2 j and 2 j + 1.
  __device__ __forceinline__ void factor() {
    const int size = p_.system, blocks = (size + 1) / 2, P = p_.V_pitch;
    __syncwarp();
    int i = 0, j = lane_;
    SL_ROLLED
    for (;; j += kGroup) {
      while (j > i) j -= ++i;
      if (i >= blocks) break;
      const double *u = m_ + p_.V + 2 * i, *v = m_ + p_.V + 2 * j;
      double a = 0, b = 0, c = 0, d = 0;
#pragma unroll 4
      for (int q = 0; q < p_.terms; ++q, u += P, v += P) {
        const double2 x = *reinterpret_cast<const double2*>(u), y = *reinterpret_cast<const double2*>(v);
        a += x.x * y.x;
        b += x.x * y.y;
        c += x.y * y.x;
        d += x.y * y.y;
      }
      double2* to = reinterpret_cast<double2*>(m_ + p_.L + 2 * i * P + 2 * j);
      if (i == j) b = 0;
      to[0] = double2{a, b};
      to[P / 2] = double2{c, d};
      if (i == j) continue;
      double2* mirror = reinterpret_cast<double2*>(m_ + p_.L + 2 * j * P + 2 * i);
      mirror[0] = mirror[P / 2] = double2{0, 0};
    }
    __syncwarp();
    double trace = 0;
    SL_ROLLED
    for (int k = lane_; k < size; k += kGroup) trace += m_[p_.L + k * P + k];
    trace = sum(trace);
    const double damping = start_.mu * trace * (1.0 / (size > 0 ? size : 1)) + 1e-300, tiny = trace * 1e-30 + 1e-300;
    SL_ROLLED
    for (int k = lane_; k < size; k += kGroup) m_[p_.L + k * P + k] += damping;
    __syncwarp();
    SL_ROLLED
    for (int c = 0; c < size; c += 2) {  // columns c and c + 1; where size is odd, the last is one of zeros beyond the matrix
      double2 v[Z], pivot = {0, 0};
      v[0] = rest<0>(c, pivot);
      v[1] = rest<1>(c, pivot);
      if constexpr (Z > 2) {
        v[2] = rest<2>(c, pivot);
        v[3] = rest<3>(c, pivot);
      }
      const int at = c % kGroup;
      double first = __shfl_sync(cuda::kWholeWarp, pivot.x, at, kGroup);
      double below = __shfl_sync(cuda::kWholeWarp, pivot.x, at + 1, kGroup);
      double second = __shfl_sync(cuda::kWholeWarp, pivot.y, at + 1, kGroup);
      first = rsqrt(first < tiny ? tiny : first);
      below *= first;
      second -= below * below;
      second = rsqrt(second < tiny ? tiny : second);
      SL_UNROLL(4)
      for (int z = 0; z < Z; ++z) {
        const int row = lane_ + kGroup * z;
        if (row < c || row >= 2 * blocks) continue;
        double2 l = {v[z].x * first, 0};
        l.y = (v[z].y - l.x * below) * second;
        if (row == c) l.x = 0;
        if (row <= c + 1) l.y = 0;
        *reinterpret_cast<double2*>(m_ + p_.L + row * P + c) = l;
      }
      if (lane_ == at) *reinterpret_cast<double2*>(m_ + p_.inverse + c) = double2{first, second};
      __syncwarp();
    }
  }
  // Of this lane's z-th row, row >= c: what L L^T has in columns c and c + 1 beyond the products of the columns before; `pivot` where
  // rows c and c + 1 lie.
  template <int z> __device__ __forceinline__ double2 rest(int c, double2& pivot) const {
    const int row = lane_ + kGroup * z, own = p_.L + row * p_.V_pitch, other = p_.L + c * p_.V_pitch;
    if (row < c || row >= (p_.system + 1) / 2 * 2) return double2{0, 0};
    double2 v = pair(own + c);
#pragma unroll 2
    for (int q = 0; q < c; q += 2) {
      const double2 x = pair(own + q), y = pair(other + q), u = pair(other + p_.V_pitch + q);
      v.x -= x.x * y.x;
      v.y -= x.x * u.x;
      v.x -= x.y * y.y;
      v.y -= x.y * u.y;
    }
    if (c / kGroup == z) pivot = v;
    return v;
  }

  // rhs: target - y; bent, half the second derivative along the step, negative, with J step in `work`.
  __device__ __forceinline__ void residual(bool bent) {
    const int begin = p_.first * p_.outputs;
    SL_ROLLED
    for (int q = lane_; q < s_.equations; q += kGroup) {
      if (q < begin) continue;
      const double y = m_[p_.y + q];
      m_[p_.rhs + q - begin] = bent ? ((m_[p_.trial + q] - y) * (1.0 / kGeodesicStep) - m_[p_.work + q - begin]) * (-1.0 / kGeodesicStep)
                                    : m_[p_.target + q] - y;
    }
  }

  // out = V x. Owners read out without a barrier.
  __device__ __forceinline__ void rows_times(int x, int out) {
    SL_ROLLED
    for (int q = lane_; q < p_.terms; q += kGroup) {
      double even = 0, odd = 0;
#pragma unroll 4
      for (int i = 0; i < p_.system; i += 2) {
        const double2 v = pair(p_.V + q * p_.V_pitch + i), f = pair(x + i);
        even += v.x * f.x;
        odd += v.y * f.y;
      }
      m_[out + q] = even + odd;
    }
  }
  // work = V^T x, two neighbouring entries per lane.
  __device__ __forceinline__ void columns_times(int x) {
    SL_ROLLED
    for (int i = 2 * lane_; i < p_.system; i += 2 * kGroup) {
      double a = 0, b = 0;
#pragma unroll 4
      for (int q = 0; q < p_.terms; ++q) {
        const double2 v = pair(p_.V + q * p_.V_pitch + i);
        const double f = m_[x + q];
        a += v.x * f;
        b += v.y * f;
      }
      m_[p_.work + i] = a;
      m_[p_.work + i + 1] = b;
    }
  }

  // Unknowns 8 block .. 8 block + 7 of L x = b leave the rows below them; each is its entry of x times `inverse`.
  template <int block> __device__ __forceinline__ void down(const int (&row)[Z], double (&x)[Z]) const {
    const int end = p_.system < kGroup * (block + 1) ? p_.system : kGroup * (block + 1);
    const double* inverse = m_ + p_.inverse;
    const double* L = m_ + p_.L;
#pragma unroll 2
    for (int q = kGroup * block; q < end; ++q) {
      const double v = __shfl_sync(cuda::kWholeWarp, x[block], q % kGroup, kGroup) * inverse[q];
      SL_UNROLL(4)
      for (int z = block; z < Z; ++z) x[z] -= L[row[z] * p_.V_pitch + q] * v;
    }
  }
  // The same of L^T x = b, from the last unknown up.
  template <int block> __device__ __forceinline__ void up(const int (&row)[Z], double (&x)[Z]) const {
    const int end = p_.system < kGroup * (block + 1) ? p_.system : kGroup * (block + 1);
    const double* inverse = m_ + p_.inverse;
    const double* L = m_ + p_.L;
#pragma unroll 2
    for (int q = end - 1; q >= kGroup * block; --q) {
      const double v = __shfl_sync(cuda::kWholeWarp, x[block], q % kGroup, kGroup) * inverse[q];
      SL_UNROLL(4)
      for (int z = 0; z <= block; ++z) x[z] -= L[q * p_.V_pitch + row[z]] * v;
    }
  }

  // out = the damped least-squares solution of J out = rhs; own entries of out are ready. rhs is overwritten in the dual form.
  __device__ __forceinline__ void solve(int out) {
    if (!p_.dual) {
      columns_times(p_.rhs);
      __syncwarp();
    }
    const int size = p_.system, from = p_.dual ? p_.rhs : p_.work, to = p_.dual ? p_.rhs : out;
    int row[Z];  // kept inside the matrix
    double x[Z];
    SL_UNROLL(4)
    for (int z = 0; z < Z; ++z) {
      const int k = lane_ + kGroup * z;
      row[z] = k < size ? k : size > 0 ? size - 1 : 0;
      x[z] = k < size ? m_[from + k] : 0.0;
    }
    down<0>(row, x);
    down<1>(row, x);
    if constexpr (Z > 2) {
      down<2>(row, x);
      down<3>(row, x);
    }
    SL_UNROLL(4)
    for (int z = 0; z < Z; ++z) x[z] *= m_[p_.inverse + row[z]];
    if constexpr (Z > 2) {
      up<3>(row, x);
      up<2>(row, x);
    }
    up<1>(row, x);
    up<0>(row, x);
    SL_UNROLL(4)
    for (int z = 0; z < Z; ++z)
      if (lane_ + kGroup * z < size) m_[to + lane_ + kGroup * z] = x[z] * m_[p_.inverse + row[z]];
    if (p_.dual) {
      __syncwarp();
      rows_times(p_.rhs, out);
    }
  }

  const Shape& s_;
  const Plan& p_;
  const NewtonArgs& a_;
  const double* scale_;
  const Jobs& queue_;
  const int lane_;
  double* const m_;  // the group's part of the strip
  const int item_, item_e_, items_, items_e_;  // this lane's first item (major, e); 8 items further
  bool live_ = false, works_ = false;  // the group has a start; it has one that takes this step
  Start start_;
};

template <int Z>
__global__ void __launch_bounds__(cuda::kWarp)
    newton_lanes_kernel(const __grid_constant__ Shape s, const __grid_constant__ Plan plan, const __grid_constant__ NewtonArgs a,
                        const double* start_scale, const __grid_constant__ Jobs queue) {
  SL_SHARED(double, strip);
  LaneSearcher<Z> searcher(s, plan, a, start_scale, queue, strip);
  searcher.run();
}

constexpr int kMostRows = 4;  // of the system per lane

// False, and nothing done, where this kernel does not serve.
inline bool newton_lanes(const NewtonArgs& a, const double* start_scale, const Jobs& queue, cuda::Stream& stream) {
  const Shape& s = *a.students.shape;
  if (s.kind != Kind::recurrent || !s.plain() || s.hidden > kGroup || s.inputs + kGroup >= 1 << 14 || s.outputs >= 1 << 14) return false;
  if ((int64_t{s.steps} + a.budget) * s.equations + s.inputs_size > 1 << 20) return false;  // keeps Plan's sums in an int
  const Plan plan(s, a.budget, a.group_learns);
  if (plan.system > kGroup * kMostRows || !fits_in_shared(plan.bytes(), kSharedNewton, stream)) return false;
  cuda::strip_tuning().last = plan.bytes();
  const auto launch = [&](auto kernel) {
    const int64_t warps = (queue.total + kGroups - 1) / kGroups;
    const int64_t blocks = std::min<int64_t>(warps, cuda::resident_blocks(kernel, cuda::kWarp, plan.bytes(), stream));
    cuda::launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(cuda::kWarp), plan.bytes(), stream, s, plan, a, start_scale, queue);
  };
  if (plan.system <= 2 * kGroup) launch(newton_lanes_kernel<2>);
  else launch(newton_lanes_kernel<kMostRows>);
  return true;
}

}  // namespace
}  // namespace SL_ISA
}  // namespace sl
