// continuation_lanes.cuh: the kernel of continuation.cu for recurrent networks with up to 8 hidden units and systems of up to 8 equations:
// a group of G lanes per path, 32 / G paths per warp. G = 4 where both are at most 4, else 8; K = 4, 6 or 8 rows.
//
//   data, weights    a table of all moving numbers (theta, x, y, ..; rows of W padded), moved to s + h entry by entry over the lanes
//   prediction       lane k has coordinate k of the last three points, and their tangents, in registers
//   network          lane a has row a and column a of W in registers: in trip t it computes h_t[a], its speed and entry a of chain t, all
//                    by numbers of trip t - 1, which it reads from shared memory (the same words for the group): one barrier per trip
//   outputs, columns output (t, e), and entry k of equations (t, e) for all t, by the next lane in turn: a triangular convolution
//   elimination      lane e has row e of the system in registers; the pivot's owner shows its row; Gauss and Jordan, so nothing to put back
//   step control     every lane of a group goes by the same numbers (maxima of the group by shuffles), by method/path_tracker.h
// The groups of a warp run in step: every barrier and shuffle is the warp's. A group whose path has ended takes a new job at once; one
// without a job computes on what it holds, in the same instructions, and stores none of it. Sums run in another order than on the CPU.
//
// Counted at 1-4-1, T = 5, k = 4 (G = 4: eight paths per warp), per step of a warp, in instructions from the compiled code for sm_90 (loops
// times trips, about):
//                                            first pass   second pass
//   weights moved, charts                           190           100
//   network: 5 trips                                550          1000   (with speeds)
//   outputs, columns, rows                          240           290
//   elimination: 4 columns                          450           450
//   prediction and inputs 250, step control 400
// So about 4000 instructions, 500 per step of a path; the multiply-adds are 1000 of them. A warp has 31 KB of shared memory and 201
// registers per thread: 7 warps per multiprocessor, 56 paths. At 1-8-1, T = 6, k = 5: 35 KB, 6 warps; at 2-8-2, T = 4, k = 6: 40 KB, 5
// warps; 242 registers both. No thread has anything in local memory.
// A path that is alone waits for the latency of every step, some 20 000 cycles, instead of the throughput: few paths that take the most
// steps allowed decide how long a launch of few paths lasts. On an H200 86 000 paths take 27 ms, with a thread per path they took 141.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cuda/convolve.cuh"
#include "cuda/strip.cuh"
#include "method/path_tracker.h"
#include "ops/cuda.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr size_t kSharedPaths = 227 * 1024;

struct Queue {
  unsigned long long* next;
  int64_t jobs;
  long long* done;  // of every group the smallest job number, counted from `first`, that ended at a real point
  int64_t first;
  SL_DEVICE int64_t take() const {
    const int64_t job = static_cast<int64_t>(atomicAdd(next, 1ull));
    SL_TURN();
    return job < jobs ? job : -1;
  }
  SL_DEVICE bool settled_before(int group, int64_t job) const {
    SL_TURN();
    return cuda::relaxed_load(done + group) < first + job;
  }
  SL_DEVICE void settle(int group, int64_t job) const { atomicMin(done + group, static_cast<long long>(first + job)); }
};

// Where everything of a path lies, in complex numbers from its beginning. Worked out once, on the host.
struct PathPlan {
  int G, K;  // lanes; rows of the system, the last K - k of them those of the identity
  int inputs, outputs, steps, k, width, outs, E;  // outs = T o, padded to E
  int first, asked;  // no learnable weight is seen by equations before step `first`, none before step `asked` is asked for
  bool has_b, has_c;
  int P, BP;  // pitches of W and D, and of B: odd, so that rows begin in different banks
  int B, W, D, b, c, weights, x, y, v, tilt;  // in a table of moving numbers; `weights` numbers of the network
  int now, from, rate;  // the tables: at s, at s = 0, speeds
  int numbers, own;  // of the last two; where the weights of the teacher, which moves, begin there (in the place of y)
  int pitch;  // of the chains
  int h, speed, chain, f, f_speed, target_speed, J, pivot, solved, z, one, act, total;

  PathPlan(const Shape& s, const ContinuationArgs& a, int lanes, int rows)
      : G(lanes), K(rows), inputs(s.inputs), outputs(s.outputs), steps(s.steps), k(a.budget), width(static_cast<int>(point_width(a, s))),
        outs(s.equations), E(outs | 1), has_b(s.b >= 0), has_c(s.c >= 0), P(lanes | 1), BP(s.inputs | 1) {
    const bool* learns = a.group_learns;
    const bool learns_b = has_b && learns[3], learns_c = has_c && learns[has_b ? 4 : 3];
    first = !learns[0] && !learns_b && !learns[2] && !learns_c && steps > 1 ? 1 : 0;
    asked = a.rows ? first : 0;
    total = 0;
    const auto take = [&](int n) {
      const int begin = total;
      total += n;
      return begin;
    };
    B = take(G * BP);
    W = take(G * P);
    D = take(outputs * P);
    b = take(has_b ? G : 0);
    c = take(has_c ? outputs : 0);
    weights = total;
    x = take(s.inputs_size);
    y = take(outs);
    v = take(a.sliced ? outs : 0);
    tilt = take(a.sliced ? k : 0);
    now = 0;
    own = a.teacher ? y : 0;
    numbers = a.teacher ? y + weights : total;
    from = take(numbers);
    rate = take(numbers);
    pitch = outputs * G;
    h = take((steps + 1) * G);
    speed = take((steps + 1) * G);
    chain = take((steps - first) * outputs * G);
    f = take(outs);
    f_speed = take(outs);
    target_speed = take(a.teacher ? outs : 0);
    J = take(K * E);
    pivot = take(2 * (K + 2));
    solved = take(2 * K);
    z = take(K);
    one = take(1);
    act = take(k);
    total = (total + 3) / 8 * 8 + 4;  // so that two groups of four lanes that read four words each use all banks
  }
  // And where every number of a point lies in the tables, for the whole warp.
  size_t bytes() const {
    return sizeof(ComplexLane) * static_cast<size_t>(total) * (cuda::kWarp / static_cast<unsigned>(G)) +
           sizeof(int) * static_cast<size_t>(width);
  }
};

template <int G, int K> class LaneTracker {
  using C = ComplexLane;
  static constexpr int P = G | 1;

 public:
  __device__ __forceinline__ LaneTracker(const Shape& s, const PathPlan& p, const ContinuationArgs& a, const Queue& queue, C* strip)
      : s_(s), p_(p), a_(a), queue_(queue), k_(p.k), lane_(static_cast<int>(threadIdx.x) % G),
        m_(strip + static_cast<int>(threadIdx.x) / G * p.total),
        number_(reinterpret_cast<int*>(strip + static_cast<int>(cuda::kWarp) / G * p.total)), item_(lane_ / p.outputs),
        item_e_(lane_ % p.outputs), items_(G / p.outputs), items_e_(G % p.outputs), chart_(p.k) {
    // What is never written stays zero: h_0, units beyond the last, paddings. A group without a path then has harmless positions too.
    SL_ROLLED
    for (int q = lane_; q < p.total; q += G) m_[q] = C{0, 0};
    __syncwarp();
    if (lane_ == 0) m_[p.one] = C{1, 0};
    if (a.rows && lane_ < k_) equation_ = a.rows[lane_];
    SL_ROLLED
    for (int e = static_cast<int>(threadIdx.x); e < p.width; e += static_cast<int>(cuda::kWarp)) number_[e] = number(e);
    __syncwarp();
  }

  __device__ __forceinline__ void run() {
    bool wanted = true;
    for (;;) {
      if (__any_sync(cuda::kWholeWarp, wanted)) {
        refill(wanted);
        if (!__any_sync(cuda::kWholeWarp, live_)) return;
      }
      wanted = step();
    }
  }

 private:
  struct alignas(16) Act {  // of a weight
    int at, left;  // its place; the unit it drives, or -1 - the output it adds to
    int right, pitch;  // what it is multiplied with, step by step
  };
  enum Pass : int { kTeacher, kFirst, kLast };
  static_assert(sizeof(Act) == sizeof(C), "an act lies in the place of a complex number");

  __device__ __forceinline__ const Act& act(int k) const { return reinterpret_cast<const Act*>(m_ + p_.act)[k]; }
  __device__ __forceinline__ bool mine() const { return lane_ < k_; }  // this lane has a coordinate and an equation

  // ---- among the lanes of a group; all lanes of the warp
  static __device__ __forceinline__ double of_lane(double x, int lane) { return __shfl_sync(cuda::kWholeWarp, x, lane, G); }
  static __device__ __forceinline__ C of_lane(C x, int lane) { return {of_lane(x.re, lane), of_lane(x.im, lane)}; }
  static __device__ __forceinline__ double largest(double x) {  // but NaN
    SL_UNROLL(3)
    for (int h = G / 2; h > 0; h /= 2) x = std::fmax(x, __shfl_xor_sync(cuda::kWholeWarp, x, h));
    return x;
  }
  static __device__ __forceinline__ double worst(double x) {  // NaN stays
    SL_UNROLL(3)
    for (int h = G / 2; h > 0; h /= 2) {
      const double other = __shfl_xor_sync(cuda::kWholeWarp, x, h);
      x = other > x || other != other ? other : x;
    }
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
  // sum += w . v; products with even and odd numbers.
  template <class W> static __device__ __forceinline__ void add_dot(C& even, C& odd, const W& w, const C* v) {
    SL_UNROLL(4)
    for (int j = 0; j < G; j += 2) {
      even += w[j] * v[j];
      odd += w[j + 1] * v[j + 1];
    }
  }

  // ---- jobs
  // Gives a job to every group that wants one, while there are any. All lanes of the warp.
  __device__ __forceinline__ void refill(bool wanted) {
    long long job = -1;
    if (wanted && lane_ == 0) {
      for (;;) {
        job = queue_.take();
        if (job < 0 || !a_.stop_at_real || !queue_.settled_before(a_.group[job], job)) break;
        a_.status[job] = static_cast<int8_t>(PathStatus::skipped);
        a_.steps[job] = 0;
        a_.largest[job] = a_.correction[job] = 0;
        SL_ROLLED
        for (int q = 0; q < 2 * k_; ++q) a_.end[job * 2 * k_ + q] = a_.start[job * 2 * k_ + q];
      }
    }
    job = __shfl_sync(cuda::kWholeWarp, job, 0, G);
    if (wanted) live_ = job >= 0;
    const bool load = wanted && live_;
    __syncwarp();
    if (load) {
      const double2* from = reinterpret_cast<const double2*>(a_.points) + a_.from[job] * int64_t{p_.width};
      const double2* to = reinterpret_cast<const double2*>(a_.points) + a_.to[job] * int64_t{p_.width};
#pragma unroll 2
      for (int e = lane_; e < p_.width; e += G) {
        const double2 p = __ldg(from + e), q = __ldg(to + e);
        const int at = number_[e];
        m_[p_.from + at] = C{p.x, p.y};
        m_[p_.rate + at] = C{q.x - p.x, q.y - p.y};
      }
    }
    __syncwarp();
    if (load) {
      job_ = job;
      group_ = a_.group[job];
      phase_ = Phase::first;
      chart_ = k_;
      points_ = 1;
      steps_ = settled_ = 0;
      most_ = correction_ = 0;
      s0_ = 0;
      s1_ = s2_ = -1;
      h_ = kFirstStep;
      t0_ = t1_ = t2_ = C{0, 0};
      if (mine()) {
        const int64_t at = int64_t{a_.allocation[job]} * k_ + lane_;
        const Act a = act_of(a_.indices[at]);
        reinterpret_cast<Act*>(m_ + p_.act)[lane_] = a;
        m_[p_.rate + a.at] = C{0, 0};  // z stands here: not part of the data
        degree_ = a_.degrees[at];
        const double* z = a_.start + (job * k_ + lane_) * 2;
        u0_ = u1_ = u2_ = C{z[0], z[1]};
      }
    }
    __syncwarp();
  }
  // Where number e of a point lies in the tables from and rate.
  __device__ __forceinline__ int number(int e) const {
    const int beyond = e - s_.size - s_.inputs_size;
    const bool teacher = a_.teacher && beyond >= 0;
    if (e < s_.size || teacher) return (teacher ? p_.own : 0) + position(place_of(s_, teacher ? beyond : e));
    return p_.x + e - s_.size;
  }
  __device__ __forceinline__ int position(const Place& place) const {
    switch (place.group) {
      case 'B': return p_.B + place.row * p_.BP + place.col;
      case 'W': return p_.W + place.row * P + place.col;
      case 'D': return p_.D + place.row * P + place.col;
      case 'b': return p_.b + place.row;
      default: return p_.c + place.row;
    }
  }
  __device__ __forceinline__ Act act_of(int flat) const {
    const Place place = place_of(s_, flat);
    const int at = position(place);
    switch (place.group) {
      case 'B': return {at, place.row, p_.now + p_.x + place.col, p_.inputs};
      case 'W': return {at, place.row, p_.h + place.col, G};
      case 'D': return {at, -1 - place.row, p_.h + G + place.col, G};
      case 'b': return {at, place.row, p_.one, 0};
      default: return {at, -1 - place.row, p_.one, 0};
    }
  }

  // ---- one step of every group; all lanes of the warp
  // Returns whether the path of this lane's group has ended.
  __device__ __forceinline__ bool step() {
    // Asked for early, used late: the answer is on its way while the step is computed.
    bool settled = false;
    if (a_.stop_at_real && live_ && lane_ == 0) settled = queue_.settled_before(group_, job_);
    const double h = live_ && phase_ == Phase::moving ? within(h_, s0_) : 0.0;
    const bool two = points_ >= 2, three = points_ >= 3;
    const Prediction<double> ahead(h, two ? s0_ - s1_ : 1.0, three ? s0_ - s2_ : 2.0, three ? s1_ - s2_ : 1.0, two, three);
    next_ = ahead.at(u0_, u1_, u2_, t0_, t1_, t2_);
    s_now_ = s0_ + h;
    const bool charts = __any_sync(cuda::kWholeWarp, chart_ < k_);
    move(p_.x, a_.teacher ? p_.y : p_.numbers, 0);
    double first = 0, second = 0;
    C tangent = {0, 0};
    SL_ROLLED
    for (int pass = a_.teacher ? kTeacher : kFirst; pass <= kLast; ++pass) {
      first = second;
      second = evaluate(pass, charts, tangent);
    }
    return judge(h, first, second, tangent, settled);
  }

  // Numbers begin .. end - 1 of the data at s_now_, those of the teacher `shift` further on.
  __device__ __forceinline__ void move(int begin, int end, int shift) const {
#pragma unroll 2
    for (int q = begin + lane_; q < end; q += G) m_[p_.now + q] = m_[p_.from + shift + q] + m_[p_.rate + shift + q] * s_now_;
  }

  // One Newton step from next_: returns the squared size of the correction; the last one computes the tangent. The pass of the teacher
  // computes targets.
  __device__ __forceinline__ double evaluate(int pass, bool charts, C& tangent) {
    const bool teacher = pass == kTeacher, last = pass == kLast;
    if (!last) {
      __syncwarp();  // the weights of the pass before have been read
      move(0, p_.weights, teacher ? p_.own : 0);
    }
    C v = {1, 0};
    double scale = 1;
    if (!teacher) {
      C z = next_;
      if (charts) {
        const C at = of_lane(next_, chart_ < k_ ? chart_ : 0);
        if (chart_ < k_) {
          v = at;
          const C inverse = reciprocal(v);
          z = lane_ == chart_ ? inverse : C(next_ * inverse);
          const double size = size_of(v);
          SL_ROLLED
          for (int d = 1; d < degree_; ++d) scale *= size;
        }
      }
      __syncwarp();
      if (mine() && live_) m_[p_.now + act(lane_).at] = m_[p_.z + lane_] = z;
    }
    __syncwarp();
    network(teacher, last);
    outputs(teacher, last);
    if (teacher) return 0;
    columns();
    __syncwarp();

    C row[K], side[2] = {{0, 0}, {0, 0}};
    pick(row, side, last);
    if (a_.sliced && mine()) cut(row, side, last);
    if (charts) {  // see the top of method/path_tracker.h
      C along = side[0] * static_cast<double>(degree_);
      SL_UNROLL(8)
      for (int k = 0; k < K; ++k) subtract_product(along, m_[p_.z + k], row[k]);
      SL_UNROLL(8)
      for (int k = 0; k < K; ++k) row[k] = (k == chart_ && k < k_ ? along : row[k]) * scale;
      side[0] = C(side[0] * v) * scale;
      side[1] = C(side[1] * v) * scale;
    }
    solve(row, side);
    double n = 0;
    if (mine()) {
      const C d = m_[p_.solved + 2 * lane_];
      tangent = -m_[p_.solved + 2 * lane_ + 1];
      next_ = next_ - d;
      n = squared_size(d);
    }
    double size = worst(n);
    if (charts) {  // v must not slip to zero, where solutions at infinity lie: it counts relative to itself as well
      const double slip = of_lane(n, chart_ < k_ ? chart_ : 0) / squared_size(v) * (kSlip * kSlip);
      if (chart_ < k_ && slip > size) size = slip;
    }
    return size;
  }

  // h_t, the chains A(q, e) = (W^T)^q D_e and, in the last pass and that of the teacher, the speeds
  // h'_t = W h'_{t-1} + W' h_{t-1} + B x'_t + B' x_t + b'.
  __device__ __forceinline__ void network(bool teacher, bool last) const {
    const int o = p_.outputs, i = p_.inputs;
    const C *weights = m_ + p_.now, *slopes = m_ + p_.rate + (teacher ? p_.own : 0);
    const int row = p_.W + lane_ * P, B = p_.B + lane_ * p_.BP;
    C across[G], down[G];
    SL_UNROLL(8)
    for (int j = 0; j < G; ++j) across[j] = weights[row + j];
    SL_UNROLL(8)
    for (int j = 0; j < G; ++j) down[j] = weights[p_.W + j * P + lane_];
    SL_ROLLED
    for (int e = 0; e < o; ++e) m_[p_.chain + e * G + lane_] = weights[p_.D + e * P + lane_];
    const C *x = m_ + p_.now + p_.x, *x_slope = m_ + p_.rate + p_.x;
    const C *h = m_ + p_.h, *from = weights + p_.D;
    C *next = m_ + p_.h + G + lane_, *to = m_ + p_.chain + o * G + lane_;
    const int ahead = p_.speed - p_.h, pitch = p_.pitch, chains = teacher ? 0 : p_.steps - p_.first;
    const C drive = weights[B], drive_slope = slopes[B];
    SL_ROLLED
    for (int t = 0; t < p_.steps; ++t) {  // nothing is stored before all is read: the compiler then reads what is used twice once
      C even = drive * x[0], odd = {0, 0};
      SL_ROLLED
      for (int j = 1; j < i; ++j) even += weights[B + j] * x[j];
      if (p_.has_b) even += weights[p_.b + lane_];
      add_dot(even, odd, across, h);
      if (teacher || last) {
        C one = drive * x_slope[0], two = drive_slope * x[0], three = {0, 0}, four = {0, 0};
        SL_ROLLED
        for (int j = 1; j < i; ++j) {
          one += weights[B + j] * x_slope[j];
          two += slopes[B + j] * x[j];
        }
        if (p_.has_b) three = slopes[p_.b + lane_];
        add_dot(one, two, across, h + ahead);
        add_dot(three, four, slopes + row, h);
        next[ahead] = (one + two) + (three + four);
      }
      *next = even + odd;
      if (t + 1 < chains) {
        const int apart = t == 0 ? P : G;
        SL_ROLLED
        for (int e = 0; e < o; ++e) {
          C g = {0, 0}, g1 = {0, 0};
          add_dot(g, g1, down, from + e * apart);
          to[e * G] = g + g1;
        }
        from = to - lane_;
        to += pitch;
      }
      h += G;
      next += G;
      x += i;
      x_slope += i;
      __syncwarp();
    }
  }

  // f - y and the speed of it; of the teacher y and its speed.
  __device__ __forceinline__ void outputs(bool teacher, bool last) const {
    const C *weights = m_ + p_.now, *slopes = m_ + p_.rate + (teacher ? p_.own : 0);
    C* y = m_ + p_.now + p_.y;
    int t = item_ + p_.asked, e = item_e_;
    SL_ROLLED
    for (int q = p_.asked * p_.outputs + lane_; q < p_.outs; q += G, advance(t, e)) {
      const int D = p_.D + e * P;
      const C *h = m_ + p_.h + (t + 1) * G, *slow = m_ + p_.speed + (t + 1) * G;
      C even = {0, 0}, odd = {0, 0};
      if (p_.has_c) even = weights[p_.c + e];
      add_dot(even, odd, weights + D, h);
      even = even + odd;
      if (teacher) y[q] = even;
      else m_[p_.f + q] = even - y[q];
      if (!teacher && !last) continue;
      C one = {0, 0}, two = {0, 0}, three = {0, 0}, four = {0, 0};
      if (p_.has_c) one = slopes[p_.c + e];
      add_dot(one, two, weights + D, slow);
      add_dot(three, four, slopes + D, h);
      one = (one + two) + (three + four);
      if (teacher) m_[p_.target_speed + q] = one;
      else m_[p_.f_speed + q] = one - m_[a_.teacher ? p_.target_speed + q : p_.rate + p_.y + q];
    }
  }

  // J[k][q] from the chains, equations from step `first` on; the others stay zero.
  __device__ __forceinline__ void columns() const {
    const int o = p_.outputs, count = p_.steps - p_.first;
    int k = item_, e = item_e_;
    SL_ROLLED
    for (int item = lane_; item < k_ * o; item += G, advance(k, e)) {
      const Act a = act(k);
      C* to = m_ + p_.J + k * p_.E + p_.first * o + e;
      const C* right = m_ + a.right + p_.first * a.pitch;
      if (a.left < 0) {
        SL_ROLLED
        for (int t = 0; t < count; ++t) to[t * o] = e == -1 - a.left ? right[t * a.pitch] : C{0, 0};
      } else {
        convolve<G == 4 ? 4 : 5>(m_ + p_.chain + e * G + a.left, o * G, right, a.pitch, count, to, o);
      }
    }
  }

  // This lane's row of the square system, f and, in the last pass, the speed of f. Rows k and on are those of the identity.
  __device__ __forceinline__ void pick(C (&row)[K], C (&side)[2], bool last) const {
    if (a_.rows) {
      SL_UNROLL(8)
      for (int k = 0; k < K; ++k) row[k] = m_[p_.J + k * p_.E + equation_];
      side[0] = m_[p_.f + equation_];
      if (last) side[1] = m_[p_.f_speed + equation_];
    } else {
      SL_UNROLL(8)
      for (int k = 0; k < K; ++k) row[k] = C{0, 0};
      const double* mix = a_.mix + (mine() ? lane_ : 0) * p_.outs;
      SL_ROLLED
      for (int q = 0; q < p_.outs; ++q) {
        const double weight = __ldg(mix + q);
        SL_UNROLL(8)
        for (int k = 0; k < K; ++k) row[k] += m_[p_.J + k * p_.E + q] * weight;
        side[0] += m_[p_.f + q] * weight;
        if (last) side[1] += m_[p_.f_speed + q] * weight;
      }
    }
    if (k_ == K) return;
    SL_UNROLL(8)
    for (int k = 0; k < K; ++k)
      if (!mine()) row[k] = C{k == lane_ ? 1.0 : 0.0, 0};
    if (!mine()) side[0] = side[1] = C{0, 0};
  }

  // The term - v (c . z) of a sliced system, and its speed.
  __device__ __forceinline__ void cut(C (&row)[K], C (&side)[2], bool last) const {
    const int v = p_.v + equation_;
    const C along = m_[p_.now + v];
    C height = {0, 0}, speed = {0, 0};
    SL_UNROLL(8)
    for (int k = 0; k < K; ++k) {
      if (k >= k_) break;
      const C c = m_[p_.now + p_.tilt + k], z = m_[p_.z + k];
      subtract_product(row[k], along, c);
      height += c * z;
      speed += m_[p_.rate + p_.tilt + k] * z;
    }
    subtract_product(side[0], along, height);
    if (!last) return;
    subtract_product(side[1], m_[p_.rate + v], height);
    subtract_product(side[1], along, speed);
  }

  // Elimination of Gauss and Jordan with partial pivoting: after column c all rows but the pivot's are free of it. Both solutions go to
  // `solved`, complete after the barrier at the end.
  __device__ __forceinline__ void solve(C (&row)[K], C (&side)[2]) const {
    bool free = lane_ < K;
    int column = 0;
    C scale = {0, 0};
    SL_UNROLL(8)
    for (int c = 0; c < K; ++c) {
      // The largest of the free rows, to 17 bits, and the lane of it; NaN is above all.
      unsigned key = free ? (high_word(squared_size(row[c])) & ~15u) | static_cast<unsigned>(8 + G - 1 - lane_) : 0u;
      const C inverse = reciprocal(row[c]);
      SL_UNROLL(3)
      for (int h = G / 2; h > 0; h /= 2) {
        const unsigned other = __shfl_xor_sync(cuda::kWholeWarp, key, h);
        key = other > key ? other : key;
      }
      const bool chosen = lane_ == G - 1 - static_cast<int>(key & 7u);
      C* shown = m_ + p_.pivot + c % 2 * (K + 2);  // two halves: the next column may be written while this one is read
      if (chosen) {
        free = false;
        column = c;
        scale = inverse;
        shown[c] = inverse;
        SL_UNROLL(8)
        for (int j = c + 1; j < K; ++j) shown[j] = row[j];
        shown[K] = side[0];
        shown[K + 1] = side[1];
      }
      __syncwarp();
      C f = row[c] * shown[c];
      if (chosen) f = C{0, 0};
      SL_UNROLL(8)
      for (int j = c + 1; j < K; ++j) subtract_product(row[j], f, shown[j]);
      subtract_product(side[0], f, shown[K]);
      subtract_product(side[1], f, shown[K + 1]);
    }
    if (lane_ < K) {
      m_[p_.solved + 2 * column] = side[0] * scale;
      m_[p_.solved + 2 * column + 1] = side[1] * scale;
    }
    __syncwarp();
  }
  static __device__ __forceinline__ unsigned high_word(double x) {
#if defined(__CUDA_ARCH__)
    return static_cast<unsigned>(__double2hiint(x));
#else
    uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return static_cast<unsigned>(bits >> 32);
#endif
  }

  // Accepts or refuses the step, changes charts, ends paths.
  __device__ __forceinline__ bool judge(double h, double first, double second, C tangent, bool stop) {
    const bool charted = chart_ < k_;
    const double n = mine() ? squared_size(next_) : 0.0;
    const double other = largest(lane_ == chart_ ? 0.0 : n);  // but for the chart's coordinate
    const double v = of_lane(n, charted ? chart_ : 0);
    const double size2 = std::fmax(1.0, charted ? std::fmax(other, v) : other), inverse2 = 1.0 / size2;
    const double e1 = std::sqrt(first * inverse2), e2 = std::sqrt(second * inverse2);
    const bool finite = e1 < 1e300 && e2 < 1e300;  // false for NaN
    const double big = std::sqrt(other), z = charted ? std::sqrt(std::fmax(1.0, other) / v) : big;  // z: the largest |z|
    double speed = 0;
    if (__any_sync(cuda::kWholeWarp, live_ && phase_ == Phase::first)) speed = std::sqrt(largest(mine() ? squared_size(tangent) : 0.0));
    int end = -1, wanted = chart_;
    bool moved = false;
    if (live_) {
      ++steps_;
      if (phase_ == Phase::first) {
        if (finite) {
          t0_ = tangent;
          h_ = first_step(std::sqrt(size2), speed);
          phase_ = Phase::moving;
        } else {
          end = end_of(PathStatus::failed);
        }
      } else if (phase_ == Phase::settling) {
        u0_ = next_;
        correction_ = e2;
        end = settle(z, finite, e2, most_, settled_);
      } else {
        const double factor = step_factor(finite, e1, a_.aim, points_);
        moved = takes_step(finite, e1, e2, a_.aim);
        if (moved) {
          u2_ = u1_, t2_ = t1_;
          u1_ = u0_, t1_ = t0_;
          u0_ = next_, t0_ = tangent;
          s2_ = s1_;
          s1_ = s0_;
          s0_ = s_now_;
          if (points_ < 3) ++points_;
          h_ = longer(h, factor);
          if (s0_ > 1 - 1e-14) phase_ = Phase::settling;
          most_ = std::fmax(most_, z);
        } else {
          h_ = shorter(h, factor);
          if (h_ < a_.least_step) end = lost(most_);
        }
        if (end < 0 && steps_ >= a_.max_steps) end = end_of(PathStatus::failed);
      }
    }
    const unsigned biggest = __ballot_sync(cuda::kWholeWarp, mine() && lane_ != chart_ && n == other && n > 1) >> (threadIdx.x / G * G);
    if (moved) wanted = next_chart(chart_, k_, z, std::fmax(1.0, big), big > 1 ? __ffs(static_cast<int>(biggest)) - 1 : chart_);
    if (__any_sync(cuda::kWholeWarp, wanted != chart_)) rechart(wanted);
    if (a_.stop_at_real && __shfl_sync(cuda::kWholeWarp, stop, 0, G) && live_ && end < 0) end = end_of(PathStatus::skipped);
    const bool over = end >= 0;
    if (!__any_sync(cuda::kWholeWarp, over)) return false;
    report(end);
    if (over) chart_ = k_;
    return over;
  }

  // Homogeneous coordinates Z_0 .. Z_{k-1}, Z_k (that of infinity): chart j has Z_j = 1, and u_j holds Z_k. All lanes of the warp.
  __device__ __forceinline__ void rechart(int wanted) {
    rechart(wanted, 1, u0_, t0_);
    rechart(wanted, 2, u1_, t1_);
    rechart(wanted, 3, u2_, t2_);
    chart_ = wanted;
  }
  __device__ __forceinline__ void rechart(int wanted, int needed, C& u, C& t) const {
    const int old = chart_, at = old < k_ ? old : 0, to = wanted < k_ ? wanted : at;
    const C w = of_lane(u, to), dw = of_lane(t, to);
    const C u_old = of_lane(u, at), t_old = of_lane(t, at);
    if (wanted == old || points_ < needed || !mine()) return;
    C value = u, slope = t;
    if (lane_ == old) {
      value = C{1, 0};
      slope = C{0, 0};
    } else if (lane_ == wanted) {
      value = old < k_ ? u_old : C{1, 0};
      slope = old < k_ ? t_old : C{0, 0};
    }
    u = value / w;
    t = (slope - u * dw) / w;
  }

  // All lanes of the warp; of the groups whose paths have ended.
  __device__ __forceinline__ void report(int end) const {
    C v = of_lane(u0_, chart_ < k_ ? chart_ : 0), z = {0, 0};
    if (chart_ == k_) v = C{1, 0};
    if (mine()) z = (lane_ == chart_ ? C{1, 0} : u0_) / v;
    const double imaginary = largest(std::fabs(z.im)), size = std::sqrt(largest(squared_size(z)));
    if (end < 0) return;
    if (mine()) {
      a_.end[(job_ * k_ + lane_) * 2] = z.re;
      a_.end[(job_ * k_ + lane_) * 2 + 1] = z.im;
    }
    if (lane_ > 0) return;
    a_.status[job_] = static_cast<int8_t>(end);
    a_.steps[job_] = steps_;
    a_.largest[job_] = std::fmax(most_, size);
    a_.correction[job_] = phase_ == Phase::settling ? correction_ : 0.0;
    if (a_.stop_at_real && looks_real(end, imaginary, size)) queue_.settle(group_, job_);
  }

  const Shape& s_;
  const PathPlan& p_;
  const ContinuationArgs& a_;
  const Queue& queue_;
  const int k_, lane_;
  C* const m_;  // the group's part of the strip
  int* const number_;  // where number e of a point lies
  const int item_, item_e_, items_, items_e_;  // this lane's first item (major, e); G items further
  int equation_ = 0, degree_ = 0;  // of this lane's row
  C u0_{}, u1_{}, u2_{}, t0_{}, t1_{}, t2_{}, next_{};  // this lane's coordinate of the last three points, newest first, and of the next
  double s0_ = 0, s1_ = -1, s2_ = -1, s_now_ = 0, h_ = 0, most_ = 0, correction_ = 0;
  int64_t job_ = -1;
  Phase phase_ = Phase::first;
  bool live_ = false;
  int group_ = 0, chart_, points_ = 1, steps_ = 0, settled_ = 0;
};

template <int G, int K>
__global__ void __launch_bounds__(cuda::kWarp)
    continuation_lanes_kernel(const __grid_constant__ Shape s, const __grid_constant__ PathPlan plan,
                              const __grid_constant__ ContinuationArgs a, const __grid_constant__ Queue queue) {
  SL_SHARED(ComplexLane, strip);
  LaneTracker<G, K> tracker(s, plan, a, queue, strip);
  tracker.run();
}

// False, and nothing done, where this kernel does not serve.
inline bool continuation_lanes(const Shape& s, const ContinuationArgs& a, const Queue& queue, cuda::Stream& stream) {
  constexpr int kMost = 8;
  if (s.kind != Kind::recurrent || !s.plain() || s.hidden > kMost || a.budget > kMost || a.budget < 1) return false;
  if (int64_t{s.equations} * (8 * kMost) + 3 * int64_t{s.inputs_size} + 3 * int64_t{s.size} > 1 << 20) return false;  // sums stay in an int
  const bool four = s.hidden <= 4 && a.budget <= 4;
  const PathPlan plan(s, a, four ? 4 : kMost, four ? 4 : a.budget <= 6 ? 6 : kMost);
  if (!fits_in_shared(plan.bytes(), kSharedPaths, stream)) return false;
  cuda::strip_tuning().last = plan.bytes();
  const auto launch = [&](auto kernel) {
    const int64_t paths = cuda::kWarp / plan.G, warps = (a.jobs + paths - 1) / paths;
    const int64_t blocks = std::min<int64_t>(warps, cuda::resident_blocks(kernel, cuda::kWarp, plan.bytes(), stream));
    cuda::launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(cuda::kWarp), plan.bytes(), stream, s, plan, a, queue);
  };
  if (four) launch(continuation_lanes_kernel<4, 4>);
  else if (plan.K == 6) launch(continuation_lanes_kernel<kMost, 6>);
  else launch(continuation_lanes_kernel<kMost, kMost>);
  return true;
}

}  // namespace
}  // namespace SL_ISA
}  // namespace sl
