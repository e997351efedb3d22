// Projections of a batch: what is left of g beside chosen columns. See ops/project.h; the method is that of cpu/project_pivoted.h.
//
// A block of 4 warps for one matrix. The chosen columns and g, scaled by powers of two, lie one behind the other in shared memory, or in a
// part of device memory for each block where they are too large. A step of the Householder QR: each warp measures what is left of every
// fourth column, one thread picks the longest, and each warp takes the reflection from its columns; two barriers. R x = z by one warp.
// Cost per matrix 3 m k^2 multiply-adds in shared memory.
#include "cuda/group.cuh"
#include "ops/cuda.h"

namespace sl {
namespace cuda {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / static_cast<int>(kWarp);
constexpr size_t kShared = 48 * 1024;  // bytes of a block; what needs more lies in device memory

__device__ __forceinline__ double warp_sum(double x) {
#pragma unroll
  for (int h = 16; h > 0; h /= 2) x += __shfl_xor_sync(kWholeWarp, x, h);
  return x;
}
__device__ __forceinline__ double warp_largest(double x) {
#pragma unroll
  for (int h = 16; h > 0; h /= 2) {
    const double other = __shfl_xor_sync(kWholeWarp, x, h);
    x = other > x ? other : x;
  }
  return x;
}

// Working memory of a block, in doubles.
struct Room {
  int pitch;
  __host__ __device__ Room(int m, int) : pitch(m | 1) {}
  __host__ __device__ size_t count(int k) const { return static_cast<size_t>(k + 1) * (static_cast<size_t>(pitch) + 4); }
};

// A column as from[0], from[step], .. (null: zeros), scaled by one warp so that its length is near 1. Returns its squared length then; -1: not
// all is finite.
template <class T> __device__ double load_column(const T* from, int64_t step, int m, double* to, int* shift) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  double most = 0;
  bool finite = true;
  for (int i = lane; i < m; i += static_cast<int>(kWarp)) {
    const double x = from ? static_cast<double>(from[i * step]) : 0.0;
    to[i] = x;
    finite = finite && fabs(x) <= 1.7976931348623157e308;
    most = fabs(x) > most ? fabs(x) : most;
  }
  if (__any_sync(kWholeWarp, !finite)) return -1;
  most = warp_largest(most);
  int e = 0, more = 0;
  if (most > 0) frexp(most, &e);
  double length2 = 0;
  for (int i = lane; i < m; i += static_cast<int>(kWarp)) {
    to[i] = ldexp(to[i], -e);
    length2 += to[i] * to[i];
  }
  length2 = warp_sum(length2);
  if (length2 > 0) frexp(sqrt(length2), &more);
  for (int i = lane; i < m; i += static_cast<int>(kWarp)) to[i] = ldexp(to[i], -more);
  if (lane == 0) *shift = e + more;
  return ldexp(length2, -2 * more);
}

template <class T>
__global__ void __launch_bounds__(kThreads) project_kernel(ProjectArgs<T> a, double* space) {
  SL_SHARED(double, shared);
  __shared__ int pivot;
  __shared__ double size_of_pivot;
  const int m = a.m, k = a.k, thread = static_cast<int>(threadIdx.x);
  const int lane = thread % static_cast<int>(kWarp), warp = thread / static_cast<int>(kWarp);
  const Room room(m, k);
  double* const data = space ? space + blockIdx.x * room.count(k) : shared;
  double *const left = data + static_cast<size_t>(k + 1) * static_cast<size_t>(room.pitch), *const diagonal = left + k + 1;
  int *const order = reinterpret_cast<int*>(diagonal + k + 1), *const shift = order + k + 1;
  const auto column = [&](int t) { return data + static_cast<size_t>(order[t]) * static_cast<size_t>(room.pitch); };

  for (int64_t b = blockIdx.x; b < a.batch; b += gridDim.x) {
    const T* const matrix = a.a + b * a.a_stride;
    const int* const columns = a.columns + b * a.columns_stride;
    for (int j = thread; j <= k; j += kThreads) order[j] = j;
    __syncthreads();
    for (int j = warp; j <= k; j += kWarps) {
      const T* const from = j == k ? a.g + b * a.g_stride : columns[j] < 0 ? nullptr : matrix + columns[j];
      const double length2 = load_column<T>(from, j == k ? 1 : a.p, m, column(j), shift + j);
      if (lane == 0) left[j] = length2;
    }
    __syncthreads();
    bool good = left[k] >= 0;
    double floor2 = 0;
    for (int j = 0; j < k; ++j) {
      good = good && left[j] >= 0;
      floor2 += left[j];
    }
    floor2 *= a.rtol * a.rtol;
    int taken = 0;
    double* const g = data + static_cast<size_t>(k) * static_cast<size_t>(room.pitch);
    for (; good && taken < k && taken < m; ++taken) {
      const int t = taken;
      __syncthreads();
      for (int j = t + warp; j < k; j += kWarps) {
        const double* const x = column(j);
        double sum = 0;
        for (int i = t + lane; i < m; i += static_cast<int>(kWarp)) sum += x[i] * x[i];
        sum = warp_sum(sum);
        if (lane == 0) left[order[j]] = sum;
      }
      __syncthreads();
      if (thread == 0) {
        double best = floor2;
        int at = -1;
        for (int j = t; j < k; ++j)
          if (left[order[j]] > best) {
            best = left[order[j]];
            at = j;
          }
        pivot = at;
        if (at >= 0) {
          const int was = order[t];
          order[t] = order[at];
          order[at] = was;
          // the reflection takes the place of what is left of the column: w = x[t..] with +-size added to its first number
          double* const w = column(t);
          const double size = sqrt(best);
          diagonal[t] = w[t] < 0 ? size : -size;
          size_of_pivot = size * (fabs(w[t]) + size);
          w[t] = w[t] < 0 ? w[t] - size : w[t] + size;
        }
      }
      __syncthreads();
      if (pivot < 0) break;
      const double* const w = column(t);
      const double tau = 1 / size_of_pivot;
      for (int j = t + 1 + warp; j <= k; j += kWarps) {
        double* const x = column(j);
        double sum = 0;
        for (int i = t + lane; i < m; i += static_cast<int>(kWarp)) sum += w[i] * x[i];
        sum = warp_sum(sum) * tau;
        for (int i = t + lane; i < m; i += static_cast<int>(kWarp)) x[i] -= sum * w[i];
      }
    }
    __syncthreads();
    if (warp == 0) {
      double outside = 0, inside = 0;
      for (int i = lane; i < m; i += static_cast<int>(kWarp)) (i < taken ? inside : outside) += g[i] * g[i];
      outside = warp_sum(outside);
      inside = warp_sum(inside);
      T* const x = a.coefficients_out ? a.coefficients_out + b * k : nullptr;
      for (int j = lane; x && j < k; j += static_cast<int>(kWarp)) x[j] = T(0);
      __syncwarp();
      for (int t = taken - 1; x && t >= 0; --t) {
        const double value = g[t] / diagonal[t];
        const double* const r = column(t);
        for (int i = lane; i < t; i += static_cast<int>(kWarp)) g[i] -= r[i] * value;
        if (lane == 0) x[order[t]] = static_cast<T>(ldexp(value, shift[k] - shift[order[t]]));
        __syncwarp();
      }
      if (lane == 0) {
        a.finite_out[b] = good;
        a.rank_out[b] = taken;
        a.residual_out[b] = static_cast<T>(ldexp(outside, 2 * shift[k]));
        a.share_out[b] = static_cast<T>(outside > 0 ? outside / (outside + inside) : 0);
      }
    }
    __syncthreads();
  }
}

template <class T>
void project_batch(const ProjectArgs<T>& a, Stream& stream) {
  const size_t count = Room(a.m, a.k).count(a.k), bytes = count * sizeof(double), shared = bytes <= kShared ? bytes : 0;
  const int64_t resident = resident_blocks(project_kernel<T>, kThreads, shared, stream);
  const unsigned blocks = static_cast<unsigned>(a.batch < resident ? a.batch : resident);
  double* const space = shared ? nullptr : stream.scratch<double>(static_cast<int64_t>(count) * blocks);
  launch(project_kernel<T>, dim3(blocks), dim3(kThreads), shared, stream, a, space);
}

}  // namespace

void project(const ProjectArgs<float>& a, Stream& stream) { project_batch(a, stream); }
void project(const ProjectArgs<double>& a, Stream& stream) { project_batch(a, stream); }

}  // namespace cuda
}  // namespace sl
