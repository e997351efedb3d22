// What is said of trials before and after a search. See ops/screen.h.
//
// Indices: a warp per trial reads the mask 32 weights at a time; a ballot numbers those that learn. T1: the chosen columns of J are
// written out, `at_once` matrices at a time, and eliminated by rank_modp. T2: one thread per trial compares its few weights.
#include <algorithm>

#include "cuda/launch.cuh"
#include "ops/cuda.h"

namespace sl {
namespace cuda {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t threads) { return static_cast<unsigned>(std::min<int64_t>((threads + kThreads - 1) / kThreads, 1 << 20)); }
__device__ int64_t thread_number() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ int64_t thread_count() { return int64_t{gridDim.x} * blockDim.x; }

__global__ void __launch_bounds__(kThreads) indices_kernel(const bool* mask, int64_t batch, int size, int budget, int* out) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  for (int64_t b = thread_number() / kWarp; b < batch; b += thread_count() / kWarp) {
    int before = 0;
    for (int k = lane; k - lane < size; k += kWarp) {
      const bool learns = k < size && mask[b * size + k];
      const unsigned all = __ballot_sync(kWholeWarp, learns);
      const int at = before + __popc(all & ((1u << lane) - 1));
      if (learns && at < budget) out[b * budget + at] = k;
      before += __popc(all);
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    columns_kernel(const int64_t* J, const int* indices, int64_t batch, int equations, int size, int budget, int64_t* out) {
  const int64_t entries = int64_t{equations} * budget;
  for (int64_t at = thread_number(); at < batch * entries; at += thread_count()) {
    const int64_t b = at / entries, e = at % entries / budget, k = at % budget;
    out[at] = J[e * size + indices[b * budget + k]];
  }
}

__device__ bool held_by(const int* weights, int budget, const int* inside, const int* outside) {
  for (int k = 0; k < budget; ++k)
    if (inside[weights[k]] == kNotAllowed) return false;
  for (int k = 0; k < budget; ++k) {
    const int unit = inside[weights[k]];
    for (int j = 0; unit >= 0 && j < budget; ++j)
      if (outside[weights[j]] == unit) return false;
  }
  return true;
}

// ranks [points][stride]
__global__ void __launch_bounds__(kThreads)
    class_kernel(const __grid_constant__ ScreenArgs a, int64_t first, int64_t count, const int64_t* ranks, int64_t stride) {
  for (int64_t b = thread_number(); b < count; b += thread_count()) {
    bool full = a.required == 0;
    for (int q = 0; q < a.points && !full; ++q) full = ranks[q * stride + b] >= a.required;
    const int* weights = a.indices_out + (first + b) * a.budget;
    bool affine = false;
    for (int f = 0; f < a.families && full && !affine; ++f)
      affine = held_by(weights, a.budget, a.inside + int64_t{f} * a.size, a.outside + int64_t{f} * a.size);
    a.class_out[first + b] = !full ? kNo : affine ? kAffine : kSearched;
  }
}

__global__ void __launch_bounds__(kThreads) found_kernel(const __grid_constant__ FoundByLossArgs a) {
  for (int64_t b = thread_number(); b < a.batch; b += thread_count()) {
    double norm = 0;
    for (int e = 0; e < a.equations; ++e) norm += a.y[b * a.equations + e] * a.y[b * a.equations + e];
    const bool worked_on = !a.open || a.open[b] == kSearched;
    a.found_out[b] = !worked_on ? kClosed : a.loss[b] / (norm > 0 ? norm : 1.0) < a.tol ? 0 : -1;
  }
}

}  // namespace

void screen(const ScreenArgs& a, Stream& stream) {
  if (a.batch == 0) return;
  launch(indices_kernel, dim3(blocks_for(a.batch * kWarp)), dim3(kThreads), 0, stream, a.mask, a.batch, a.size, a.budget, a.indices_out);
  const bool ranked = a.required > 0 && a.budget > 0;
  const int64_t most = ranked ? std::max<int64_t>(1, std::min(a.at_once, a.batch)) : a.batch, entries = int64_t{a.equations} * a.budget;
  int64_t* const chosen = ranked ? stream.scratch<int64_t>(most * entries) : nullptr;
  int64_t* const ranks = stream.scratch<int64_t>(ranked ? most * a.points : 0);
  for (int64_t first = 0; first < a.batch; first += most) {
    const int64_t count = std::min(most, a.batch - first);
    for (int q = 0; q < a.points && ranked; ++q) {
      launch(columns_kernel, dim3(blocks_for(count * entries)), dim3(kThreads), 0, stream, a.jacobian + q * int64_t{a.equations} * a.size,
             a.indices_out + first * a.budget, count, a.equations, a.size, a.budget, chosen);
      Stream one(stream.handle, stream.device);  // gives its workspace back before the next round
      rank_modp({chosen, count, a.equations, a.budget, a.p[q], ranks + q * most, 0}, one);
    }
    ScreenArgs shown = a;
    if (!ranked) shown.points = 0;  // without weights the rank is 0: below any that is required
    launch(class_kernel, dim3(blocks_for(count)), dim3(kThreads), 0, stream, shown, first, count, ranks, most);
  }
}

void found_by_loss(const FoundByLossArgs& a, Stream& stream) {
  if (a.batch) launch(found_kernel, dim3(blocks_for(a.batch)), dim3(kThreads), 0, stream, a);
}

}  // namespace cuda
}  // namespace sl
