// Exact rank over GF(p) of a batch of integer matrices. See ops/rank_modp.h.
//
// Division-free elimination of vectors x_j of length <= N: for entry k = 0, 1, ..: a vector with x_p[k] != 0 that was no pivot yet becomes
// the pivot, and the other ones  x_j <- (a x_j - t x_p) / R,  a = x_p[k], t = x_j[k], R = 2^32: one Montgomery reduction of two products
// (operands < p < 2^31, so their sum is < 2^63). Factors on a whole vector do not change the rank. The rank is the number of pivots.
// p = 2: x_j <- x_j xor (t and x_p).
//
// Sides up to 64: a group of N lanes per matrix (4, 8, 16, 32 lanes of a warp, or a block of 64), lane j has x_j in registers, the pivot is
// shown in shared memory, 16 bytes at a time. Nothing moves. Cost per lane: N^2 / 2 times 4 multiplications (of about 8 instructions a
// number); a warp takes about 2000 instructions for two matrices of 16x16, 5800 for one of 32x32.
// Above: the batch in device memory as 32-bit numbers; per column one launch that finds and fetches the pivot row, and one that updates
// all rows of all matrices. Pivots are counted on the device, so no launch waits for the host.
// Entries may be any integers: they are reduced when they are read.
#include "cuda/group.cuh"
#include "ops/cuda.h"
#include "scalar/modp.h"

namespace sl {
namespace cuda {
namespace {

struct Field : SL_ISA::Modulus {
  using Modulus::Modulus;
  __device__ uint32_t reduced(int64_t x) const {
    if (static_cast<uint64_t>(x) < p) return static_cast<uint32_t>(x);
    const int64_t r = x % static_cast<int64_t>(p);
    return static_cast<uint32_t>(r < 0 ? r + p : r);
  }
  // (a x - t w) / R mod p with minus_t = p - t; t may be 0.
  template <bool kTwo> __device__ __forceinline__ uint32_t step(uint32_t a, uint32_t x, uint32_t minus_t, uint32_t w) const {
    if constexpr (kTwo) return x ^ (minus_t & w & 1u);
    const uint64_t sum = static_cast<uint64_t>(a) * x + static_cast<uint64_t>(minus_t) * w;
    const uint32_t high = static_cast<uint32_t>(sum >> 32), less = __umulhi(static_cast<uint32_t>(sum) * inverse, p);
    const uint32_t r = high - less;
    return high >= less ? r : r + p;
  }
};

template <int N, bool kTwo>
__global__ void __launch_bounds__(Group<N>::kThreads) rank_kernel(RankModpArgs a, int rows, int length, bool across, Field field) {
  constexpr int K = N < 8 ? N : 8, kReads = N < 16 ? N : 16;
  [[maybe_unused]] constexpr int kUnrolled = N <= 32 ? K : 1;  // all steps known to the compiler, or a loop where they are too many
  __shared__ __align__(16) uint32_t shown[Group<N>::kPerBlock][2][N];
  Group<N> group;
  const int lane = group.lane();
  const int64_t b = static_cast<int64_t>(blockIdx.x) * Group<N>::kPerBlock + group.number();
  const bool mine = b < a.batch && lane < rows;
  const int64_t* const from = a.a + (mine ? b * rows * length + (across ? lane : lane * length) : 0);
  const int step_in = across ? rows : 1, there = mine ? length : 0;
  uint32_t x[N];
#pragma unroll
  for (int k0 = 0; k0 < N; k0 += kReads) {  // so many reads on their way at a time
    int64_t read[kReads];
#pragma unroll
    for (int i = 0; i < kReads; ++i) read[i] = k0 + i < there ? from[(k0 + i) * step_in] : 0;
    bool outside = false;
#pragma unroll
    for (int i = 0; i < kReads; ++i) {
      x[k0 + i] = static_cast<uint32_t>(read[i]);
      outside = outside || static_cast<uint64_t>(read[i]) >= field.p;
    }
    if (outside) {  // rare, so written for few instructions
#pragma unroll 1
      for (int k = k0; k < k0 + kReads && k < there; ++k) {
        const uint32_t r = field.reduced(from[k * step_in]);
#pragma unroll
        for (int i = 0; i < kReads; ++i) x[k0 + i] = k0 + i == k ? r : x[k0 + i];
      }
    }
  }
  bool live = lane < rows;
  int rank = 0;
#pragma unroll
  for (int k0 = 0; k0 < N; k0 += K) {
#pragma unroll(kUnrolled)
    for (int k = k0; k < k0 + K; ++k) {
      if (k >= length || !group.any(rank < rows)) break;
      uint32_t t = 0;
#pragma unroll
      for (int i = 0; i < K; ++i) t = k0 + i == k ? x[k0 + i] : t;
      uint32_t* const w = shown[group.number()][k & 1];
      const int pivot = group.first(live && t != 0);
      if (lane == pivot) {
#pragma unroll
        for (int i = k0; i < N; i += 4) {
          Quad<uint32_t> part;
#pragma unroll
          for (int q = 0; q < 4; ++q) part.v[q] = x[i + q];
          *reinterpret_cast<Quad<uint32_t>*>(w + i) = part;
        }
        live = false;
      }
      group.sync();
      if (pivot >= 0) {
        ++rank;
        if (live) {
          const uint32_t pivot_entry = w[k], minus_t = kTwo ? t : field.p - t;
#pragma unroll
          for (int i = k0; i < N; i += 4) {
            const Quad<uint32_t> part = quad(w + i);
#pragma unroll
            for (int q = 0; q < 4; ++q) x[i + q] = field.step<kTwo>(pivot_entry, x[i + q], minus_t, part.v[q]);
          }
        }
      }
    }
  }
  if (lane == 0 && b < a.batch) a.rank_out[b] = rank;
}

template <int N, bool kTwo>
void start(const RankModpArgs& a, Stream& stream) {
  const bool across = a.m >= a.n;  // square matrices by columns: neighbouring lanes read neighbouring numbers
  const int rows = across ? a.n : a.m, length = across ? a.m : a.n;
  const int64_t blocks = (a.batch + Group<N>::kPerBlock - 1) / Group<N>::kPerBlock;
  launch(rank_kernel<N, kTwo>, dim3(static_cast<unsigned>(blocks)), dim3(Group<N>::kThreads), 0, stream, a, rows, length, across,
         Field(a.p));
}

// ---- large matrices -----------------------------------------------------------------------------------------------------------

constexpr int kThreads = 256, kRowsPerBlock = 8;
constexpr int64_t kLargeBytes = int64_t{1} << 30;  // workspace of one round

struct Pivot { int rank, found; };

// out [rows][columns] of every matrix, columns the smaller side.
__global__ void __launch_bounds__(kThreads)
    fetch_kernel(const int64_t* in, int64_t batch, int rows, int columns, bool flip, Field field, uint32_t* out, Pivot* pivots) {
  const int64_t entries = static_cast<int64_t>(rows) * columns, all = batch * entries;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t at = first; at < all; at += stride) {
    const int64_t b = at / entries, k = at % entries, i = k / columns, c = k % columns;
    out[at] = field.reduced(in[b * entries + (flip ? c * rows + i : k)]);
  }
  for (int64_t b = first; b < batch; b += stride) pivots[b] = {0, 0};
}

// One block per matrix: a row below the pivots with a non-zero entry in column c changes places with the next pivot row.
__global__ void __launch_bounds__(kThreads) pivot_kernel(uint32_t* work, int rows, int columns, int c, Pivot* pivots) {
  __shared__ int best;
  uint32_t* const x = work + static_cast<int64_t>(blockIdx.x) * rows * columns;
  const int r = pivots[blockIdx.x].rank, thread = static_cast<int>(threadIdx.x);
  if (thread == 0) best = rows;
  __syncthreads();
  for (int i = r + thread; i < rows; i += kThreads)
    if (x[static_cast<int64_t>(i) * columns + c] != 0) {
      atomicMin(&best, i);
      break;
    }
  __syncthreads();
  const int i = best;
  if (i < rows && i != r)
    for (int k = c + thread; k < columns; k += kThreads) {
      const uint32_t y = x[static_cast<int64_t>(i) * columns + k];
      x[static_cast<int64_t>(i) * columns + k] = x[static_cast<int64_t>(r) * columns + k];
      x[static_cast<int64_t>(r) * columns + k] = y;
    }
  if (thread == 0) pivots[blockIdx.x] = {i < rows ? r + 1 : r, i < rows};
}

// Columns after c; column c itself keeps the factors t, so no block reads what another writes.
template <bool kTwo>
__global__ void __launch_bounds__(kThreads) update_kernel(uint32_t* work, int rows, int columns, int c, const Pivot* pivots, Field field) {
  const Pivot pivot = pivots[blockIdx.x];
  if (!pivot.found) return;
  uint32_t* const x = work + static_cast<int64_t>(blockIdx.x) * rows * columns;
  const uint32_t* const r = x + static_cast<int64_t>(pivot.rank - 1) * columns;
  const uint32_t a = r[c];
  const int from = static_cast<int>(blockIdx.y) * kRowsPerBlock;
  for (int i = from < pivot.rank ? pivot.rank : from; i < from + kRowsPerBlock && i < rows; ++i) {
    uint32_t* const y = x + static_cast<int64_t>(i) * columns;
    const uint32_t minus_t = kTwo ? y[c] : field.p - y[c];
    for (int k = c + 1 + static_cast<int>(threadIdx.x); k < columns; k += kThreads) y[k] = field.step<kTwo>(a, y[k], minus_t, r[k]);
  }
}

__global__ void __launch_bounds__(kThreads) ranks_kernel(const Pivot* pivots, int64_t batch, int64_t* out) {
  const int64_t b = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (b < batch) out[b] = pivots[b].rank;
}

template <bool kTwo>
void rank_large(const RankModpArgs& a, Stream& stream) {
  const bool flip = a.m < a.n;
  const int rows = flip ? a.n : a.m, columns = flip ? a.m : a.n;
  const int64_t entries = static_cast<int64_t>(rows) * columns, fit = kLargeBytes / (4 * entries), most = fit < 1 ? 1 : fit;
  const int64_t chunk = most < a.batch ? most : a.batch;
  uint32_t* const work = stream.scratch<uint32_t>(chunk * entries);
  Pivot* const pivots = stream.scratch<Pivot>(chunk);
  const Field field(a.p);
  for (int64_t from = 0; from < a.batch; from += chunk) {
    const int64_t count = a.batch - from < chunk ? a.batch - from : chunk;
    const int64_t fetchers = (count * entries + kThreads - 1) / kThreads;
    launch(fetch_kernel, dim3(static_cast<unsigned>(fetchers < 65536 ? fetchers : 65536)), dim3(kThreads), 0, stream, a.a + from * entries,
           count, rows, columns, flip, field, work, pivots);
    for (int c = 0; c < columns; ++c) {
      launch(pivot_kernel, dim3(static_cast<unsigned>(count)), dim3(kThreads), 0, stream, work, rows, columns, c, pivots);
      if (c + 1 < columns)
        launch(update_kernel<kTwo>, dim3(static_cast<unsigned>(count), static_cast<unsigned>((rows + kRowsPerBlock - 1) / kRowsPerBlock)),
               dim3(kThreads), 0, stream, work, rows, columns, c, pivots, field);
    }
    launch(ranks_kernel, dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)), dim3(kThreads), 0, stream, pivots, count,
           a.rank_out + from);
  }
}

template <bool kTwo>
void rank_any(const RankModpArgs& a, Stream& stream) {
  const int length = a.m > a.n ? a.m : a.n;
  if (length <= 4) start<4, kTwo>(a, stream);
  else if (length <= 8) start<8, kTwo>(a, stream);
  else if (length <= 16) start<16, kTwo>(a, stream);
  else if (length <= 32) start<32, kTwo>(a, stream);
  else if (length <= 64) start<64, kTwo>(a, stream);
  else rank_large<kTwo>(a, stream);
}

}  // namespace

void rank_modp(const RankModpArgs& a, Stream& stream) {
  if (a.p == 2) rank_any<true>(a, stream);
  else rank_any<false>(a, stream);
}

}  // namespace cuda
}  // namespace sl
