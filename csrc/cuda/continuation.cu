// Path tracking in complex double precision: many paths at once, refilled from a queue on the device. See ops/continuation.h; the method,
// its constants and its rules are those of method/path_tracker.h.
//
// Queue: an atomic counter over the jobs, in the CPU's order. A job is skipped where an earlier one of its group has ended at a real point;
// jobs before the first such end are followed to theirs, so the first real end in number is the same whatever the order in which threads
// run. Who ends a path takes the next job while its warp goes on; one launch empties the queue.
// Two kernels. Recurrent networks with up to 8 hidden units and systems of up to 8 equations: 4 or 8 lanes per path
// (continuation_lanes.cuh). All others: one path per thread (below), the very text of method/path_tracker.h that the CPU runs on its SIMD
// lanes. There everything of a path is in the strip (complex numbers of 16 bytes: a warp's access is four lines of memory), except the
// points of data, which are read where they are: twice per step, through the caches. At 2-16-2, T = 4, k = 6 a strip has 390 KB per warp:
// beyond 227 KB strips lie in device memory, and the second-level cache decides.
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
  while (paths.step()) {}
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
