// Path tracking in complex double precision, one path per thread, threads refilled from a queue on the device. See ops/continuation.h;
// the method is that of math/tracker.h, the very text that the CPU runs on its SIMD lanes.
//
// Queue: an atomic counter over the jobs, in the CPU's order. A job is skipped where an earlier one of its group has ended at a real point;
// jobs before the first such end are followed to theirs, so the first real end in number is the same whatever the order in which threads
// run. A thread that ends a path takes the next job while its warp goes on; one launch empties the queue.
// Everything of a path is in the strip (complex numbers of 16 bytes: a warp's access is four lines of shared memory), except the points
// of data, which are read where they are: twice per step, through the caches. The start point is mostly one for all paths, the end
// point one per trial. At 1-4-1, T = 5, k = 4 that is 3.5 KB per path, 112 KB per warp: two warps per multiprocessor of an H200; at 1-8-1,
// T = 6, k = 5 190 KB and at 2-8-2, T = 4, k = 6 205 KB per warp: one. Beyond 227 KB strips lie in device memory, and the second-level
// cache decides. No array of a thread is in local memory but 32 flags (and the table of layers of a feedforward network).
//
// Work per step at 1-4-1, T = 5, k = 4, in complex multiply-adds: two evaluations (forward pass 84, chains 64, columns 60), the speeds 208,
// two eliminations (88), prediction and data 100: some 800, and 80 steps per path: 0.5 Mflop. A complex multiply-add is four instructions
// of two cycles on one of the four schedulers, an operand of it from shared memory four cycles. On paper the limit is latency: with one or
// two warps per multiprocessor nothing hides the 30 cycles of a load, or a miss of the instruction cache (160 KB of code), but what
// loops have independent. 2 M paths/s on 132 multiprocessors leave 45 000 cycles for a step of a warp where one runs alone and 90 000 where
// there are two, 55 and 110 cycles for a multiply-add; 25 to 50 are expected. Nothing has been measured.
// Where paths of a warp are in different charts, accept and refuse, or take a new job, its threads wait for each other; the evaluations,
// nine tenths of the work, are the same code for all.
#include "cuda/continuation_lanes.cuh"

namespace sl {
namespace SL_ISA {
namespace {

using S = ComplexLane;
using C = Entry<S>;

// q(s) = from + s (to - from), read from the points themselves: one bit per weight says which of them learn, and so do not move.
class RowData {
 public:
  SL_DEVICE RowData(const ContinuationArgs&, const Shape& s, Strip& strip)
      : size_(s.size), hidden_(take_array<Entry<unsigned>>(strip, words(s))) {}
  static size_t bytes(const ContinuationArgs&, const Shape& s) { return sizeof(Entry<unsigned>) * words(s); }
  SL_DEVICE void load(int, const double* from, const double* to) {
    from_ = reinterpret_cast<const double2*>(from);
    to_ = reinterpret_cast<const double2*>(to);
    for (int k = 0; k < (size_ + 31) / 32; ++k) hidden_[k] = 0u;
  }
  SL_DEVICE void hide(int, int flat) { hidden_[flat / 32] = unsigned(hidden_[flat / 32]) | 1u << flat % 32; }
  SL_DEVICE S rate(int e) const {
    if (e < size_ && unsigned(hidden_[e / 32]) >> e % 32 & 1u) return S{0, 0};
    const double2 p = __ldg(from_ + e), q = __ldg(to_ + e);
    return {q.x - p.x, q.y - p.y};
  }
  SL_DEVICE S at(int e, double s) const {
    const double2 p = __ldg(from_ + e);
    return S{p.x, p.y} + rate(e) * s;
  }

 private:
  SL_HD static size_t words(const Shape& s) { return (static_cast<size_t>(s.size) + 31) / 32; }
  const int size_;
  const double2 *from_ = nullptr, *to_ = nullptr;
  Entry<unsigned>* hidden_;
};

template <class Model> using PathsOf = Tracker<Model, C, RowData, Queue>;

template <class Model>
__global__ void __launch_bounds__(cuda::kWarp, 1)
    continuation_kernel(unsigned char* strips, size_t bytes, const __grid_constant__ Shape s, const __grid_constant__ ContinuationArgs a,
                        const __grid_constant__ Groups groups, Queue queue) {
  SL_STRIP(strip, strips, bytes, false);
  PathsOf<Model> paths(a, s, groups.learns, queue, strip);
  while (paths.step()) {
  }
}

// The caller's array, of which there is one per call, on the device.
template <class T> const T* on_device(const T* from, size_t count, cuda::Stream& stream) {
  if (!from) return nullptr;
  T* to = stream.scratch<T>(static_cast<int64_t>(count));
  stream.upload(to, from, count * sizeof(T));
  return to;
}

}  // namespace
}  // namespace SL_ISA

void cuda::continuation(const ContinuationArgs& args, int64_t* done, int64_t first, Stream& stream) {
  using namespace SL_ISA;
  if (args.jobs == 0) return;
  const Shape& s = *args.shape;
  ContinuationArgs a = args;
  const size_t k = static_cast<size_t>(a.budget);
  a.rows = on_device(args.rows, k, stream);
  a.mix = on_device(args.mix, k * static_cast<size_t>(s.equations), stream);
  static_assert(sizeof(long long) == sizeof(int64_t), "atomicMin knows long long");
  const SL_ISA::Queue queue{stream.scratch<unsigned long long>(1), a.jobs, reinterpret_cast<long long*>(done), first};
  stream.clear(queue.next, sizeof *queue.next);
  if (continuation_lanes(s, a, queue, stream)) return;
  with_strip_model<S>(s, [&](auto type) {
    using Model = typename decltype(type)::type;
    launch_strips(continuation_kernel<Model>, PathsOf<Model>::scratch_bytes(a, s), a.jobs, kSharedPaths, stream, s, a,
                  groups_of(s, a.group_learns), queue);
  });
}

}  // namespace sl
