// Path tracking, one path per SIMD lane. See ops/continuation.h; the method is that of method/path_tracker.h.
//
// Data in L1: per lane 2 (2 size + inputs + equations) data numbers, and the tables of the network.
#include "ops/continuation.h"

#include "cpu/models.h"
#include "method/path_tracker.h"
#include "scalar/complex_pack.h"

namespace sl {
namespace SL_ISA {
namespace {

using C = ComplexPack;
using V = Pack<double>;
constexpr int L = kLanes<double>;

// q(s) = from + s move, lane by lane.
class PackedData {
 public:
  template <class Memory>
  PackedData(const ContinuationArgs& a, const Shape& s, Memory& memory) : width_(point_width(a, s)) {
    from_ = take_array<C>(memory, width_);
    move_ = take_array<C>(memory, width_);
  }
  void load(int l, const double* p, const double* q) {
    for (int64_t e = 0; e < width_; ++e) {
      put(from_ + e, l, {p[2 * e], p[2 * e + 1]});
      put(move_ + e, l, {q[2 * e] - p[2 * e], q[2 * e + 1] - p[2 * e + 1]});
    }
  }
  void hide(int l, int flat) { put(move_ + flat, l, {0, 0}); }
  C at(int64_t e, V s) const { return from_[e] + move_[e] * s; }
  const C& rate(int64_t e) const { return move_[e]; }

 private:
  const int64_t width_;
  C *from_, *move_;
};

class Queue {
 public:
  Queue(const ContinuationArgs& a, int64_t* done) : args(a), done_(done) {
    for (int64_t j = 0; j < a.jobs; ++j) done_[j] = a.jobs;
  }
  int64_t take() {
    const int64_t job = __atomic_fetch_add(&next_, int64_t{1}, __ATOMIC_RELAXED);
    return job < args.jobs ? job : -1;
  }
  bool settled_before(int group, int64_t job) const { return __atomic_load_n(&done_[group], __ATOMIC_RELAXED) < job; }
  void settle(int group, int64_t job) {
    int64_t* first = done_ + group;
    int64_t seen = __atomic_load_n(first, __ATOMIC_RELAXED);
    while (job < seen && !__atomic_compare_exchange_n(first, &seen, job, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
  }
  const ContinuationArgs& args;

 private:
  int64_t next_ = 0;
  int64_t* done_;  // [jobs] of every group the first job that has a real end point, `jobs` where there is none
};

template <class Model>
void continuation_worker(void* context, int worker, int64_t, Control& control) {
  using Paths = Tracker<Model, C, PackedData, Queue>;
  Queue& queue = *static_cast<Queue*>(context);
  const ContinuationArgs& a = queue.args;
  Scratch scratch;
  Paths paths(a, *a.shape, a.group_learns, queue, scratch);
  for (int64_t rounds = 1; paths.step(); ++rounds)
    if ((rounds & 15) == 15 && control.should_stop(worker)) return;
}

}  // namespace

void continuation(const ContinuationArgs& a, Control& control) {
  if (a.jobs == 0) return;
  Scratch scratch;
  Queue queue(a, static_cast<int64_t*>(scratch.take(sizeof(int64_t) * static_cast<size_t>(a.jobs))));
  const int workers = worker_count((a.jobs + L - 1) / L, a.threads);
  with_model<C>(*a.shape,
                [&](auto type) { parallel_for(workers, workers, control, continuation_worker<typename decltype(type)::type>, &queue); });
}

}  // namespace SL_ISA
}  // namespace sl
