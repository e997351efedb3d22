// Numerical rank of a batch of real matrices. See ops/rank_real.h; the proof: method/rank_proof.h.
//
// Householder QR of vectors x_j of length <= N (the shorter side of the matrix counts the vectors), the longest remaining one first:
//   pivot p = argmax ||x_j[k..]||,  w = x_p[k..] + sign ||.|| e_k,  x_j -= tau (w . x_j) w  for the vectors that were not pivots yet.
//
// Both sides at most 8: a matrix per thread, its vectors in registers, the pivot brought to the front. A warp does 32 matrices in about
// 3000 instructions (8x8, float64; 960 of them float64 sums and products), and no thread waits for another once the numbers are there.
// Above: a vector per lane. Vectors never move: lane j keeps x_j in registers, pivots are remembered by number. A matrix is a group of N
// lanes (16 or 32 lanes of a warp; 64: a block of two warps). N = 128 keeps the vectors in shared memory: 128 doubles do not fit a thread's
// registers. ||R11^-1||_F: lane c computes row c of the inverse, from the last pivot to the first.
//
// Where data live then: x and the accumulators in registers with compile-time indices (steps k run inside blocks of 8; up to N = 32 all are
// unrolled, above only the first 8 entries of a block need a choice by k); w, and at the end all x, in shared memory, read as 16-byte
// broadcasts. Cost per lane: 3 N^2 / 2 multiply-adds for the QR with the norms, N^2 / 2 for the proof; N^2 / 2 numbers from shared memory.
// A warp takes about 2500 instructions for two matrices of 16x16 (float64; 950 of them sums and products), 6000 for one of 32x32 (2900).
#include "cuda/group.cuh"
#include "method/rank_proof.h"
#include "ops/cuda.h"

namespace sl {
namespace cuda {
namespace {

using namespace SL_ISA;

// kFraction: how many bits of the fraction the first word of a number holds, below sign and exponent.
template <class T> struct Bits;
template <> struct Bits<double> {
  static constexpr int kBias = 1023, kFraction = 20;
  static __device__ unsigned first(double x) { return static_cast<unsigned>(__double_as_longlong(x) >> 32); }
  static __device__ double power(int e) { return __longlong_as_double(static_cast<long long>(e + kBias) << 52); }
#if defined(SL_EMULATE)  // as rough as the machine's: the first word of the result
  static double rough(double x) { return __longlong_as_double(__double_as_longlong(x) >> 32 << 32); }
  static double rough_inverse(double x) { return rough(1.0 / x); }
  static double rough_inverse_root(double x) { return rough(1.0 / std::sqrt(x)); }
#else
  static __device__ double rough_inverse(double x) {
    double y;
    asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(x));
    return y;
  }
  static __device__ double rough_inverse_root(double x) {
    double y;
    asm("rsqrt.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(x));
    return y;
  }
#endif
};
template <> struct Bits<float> {
  static constexpr int kBias = 127, kFraction = 23;
  static __device__ unsigned first(float x) { return __float_as_uint(x); }
  static __device__ float power(int e) { return __int_as_float((e + kBias) << 23); }
#if defined(SL_EMULATE)
  static float rough(float x) { return __uint_as_float(__float_as_uint(x) & ~7u); }
  static float rough_inverse(float x) { return rough(1.0f / x); }
  static float rough_inverse_root(float x) { return rough(1.0f / std::sqrt(x)); }
#else
  static __device__ float rough_inverse(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
  static __device__ float rough_inverse_root(float x) {
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
#endif
};

// 1 / x and 1 / sqrt(x), right to about one unit in the last place, for x far from the ends of the range. A step takes an error e of the
// rough value to e^3 (20 bits become 60). The reflection with tau = 1 / (size (|alpha| + size)) is orthogonal but for the error of tau,
// and that is no larger than the error of the sum n2 it comes from: within the eps ||A|| that the proof allows for the rounding of the QR.
template <class T> __device__ __forceinline__ T inverse_of(T x) {
  const T y = Bits<T>::rough_inverse(x), e = std::fma(-x, y, T(1));
  return std::fma(y, std::fma(e, e, e), y);
}
template <class T> __device__ __forceinline__ T inverse_root_of(T x) {
  const T y = Bits<T>::rough_inverse_root(x), e = std::fma(-x * y, y, T(1));
  return std::fma(y * e, std::fma(T(0.375), e, T(0.5)), y);
}

// The power of two that brings the largest number to about 1: exact, and squares neither overflow nor underflow where it matters.
// peak: the largest exponent of the matrix, as it stands in the number. Where not all is finite, what follows means nothing.
template <class T> struct Scale {
  bool finite;
  T factor;
  __device__ explicit Scale(unsigned peak) : finite(peak <= 2u * Bits<T>::kBias) {
    constexpr int kMost = Bits<T>::kBias - 1;
    const int shift = Bits<T>::kBias - static_cast<int>(peak);
    factor = Bits<T>::power(shift > kMost ? kMost : shift < -kMost ? -kMost : shift);
  }
};
// Numbers, not places, are chosen: x stays in registers.
template <class T> __device__ __forceinline__ T choose(bool condition, T yes, T no) { return condition ? yes : no; }
template <class T> __device__ __forceinline__ void exchange(T& a, T& b, bool condition) {
  const T was = a;
  a = choose<T>(condition, b, a);
  b = choose<T>(condition, was, b);
}
// Squares of what counts as zero for this matrix; never so small that inverse_root_of fails.
template <class T> __device__ T floor_of(T rtol, T total) {
  constexpr T kLeast = sizeof(T) == 8 ? T(1e-280) : T(1e-30);
  const T floor2 = rtol * rtol * total;
  return floor2 > kLeast ? floor2 : kLeast;
}

// ---- both sides at most 8: a matrix per thread ----------------------------------------------------------------------------------

constexpr int kSmallThreads = 64, kSmallBlocks = 6;  // at least so many blocks on a multiprocessor: 168 registers a thread
// Numbers in shared memory from one matrix to the next: an odd count of 16-byte pieces, so that the threads of a warp meet other banks.
template <class T, int N> constexpr int kSmallPitch = N * N + Quad<T>::kCount;

// All of x lies in registers, vectors change places with selects. kWhole: N x N, and a.a is a multiple of 16 bytes.
// A warp fetches its 32 matrices together, one behind the other, and each thread picks its own from shared memory.
template <class T, int N, bool kWhole>
__global__ void __launch_bounds__(kSmallThreads, kSmallBlocks)
    small_kernel(RankRealArgs<T> a, int rows, int length, bool across, T rtol, bool provable) {
  constexpr int Q = Quad<T>::kCount;
  constexpr unsigned kNumber = N - 1;  // the bits of a key that hold the number of a vector
  using B = Bits<T>;
  SL_SHARED(T, all);
  const int lane = static_cast<int>(threadIdx.x % kWarp), warp = static_cast<int>(threadIdx.x / kWarp);
  T* const staged = all + warp * static_cast<int>(kWarp) * kSmallPitch<T, N>;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSmallThreads + warp * static_cast<int>(kWarp), left = a.batch - first;
  const int count = left < static_cast<int>(kWarp) ? static_cast<int>(left) : static_cast<int>(kWarp);
  if (count <= 0) return;  // the whole warp; warps never wait for each other

  T x[N][N];
  if constexpr (kWhole) {
    constexpr int kPieces = N * N / Q;
    const T* const from = a.a + first * (N * N);
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int t = lane + i * static_cast<int>(kWarp), there = t < count * kPieces ? t : lane;  // the batch has no more: any
      *reinterpret_cast<Quad<T>*>(staged + t / kPieces * kSmallPitch<T, N> + t % kPieces * Q) = quad(from + there * Q);
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < N; ++i)
#pragma unroll
      for (int j = 0; j < N; j += Q) {
        const Quad<T> part = quad(staged + lane * kSmallPitch<T, N> + i * N + j);
#pragma unroll
        for (int q = 0; q < Q; ++q) x[j + q][i] = part.v[q];
      }
  } else {
    const int entries = rows * length, pitch = entries | 1, step_of = across ? 1 : length, step_in = across ? rows : 1;
    const unsigned inverse = (1u << 20) / static_cast<unsigned>(entries) + 1;  // t / entries = t inverse >> 20 for t < 2048
    const T* const from = a.a + first * entries;
    for (int t = lane; t < count * entries; t += static_cast<int>(kWarp)) {
      const int matrix = static_cast<int>(static_cast<unsigned>(t) * inverse >> 20);
      staged[matrix * pitch + t - matrix * entries] = from[t];
    }
    __syncwarp();
#pragma unroll
    for (int j = 0; j < N; ++j)
#pragma unroll
      for (int i = 0; i < N; ++i)
        x[j][i] = lane < count && j < rows && i < length ? staged[lane * pitch + j * step_of + i * step_in] : T(0);
  }

  unsigned peak = 0;
#pragma unroll
  for (int j = 0; j < N; ++j)
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const unsigned size = B::first(x[j][i]) << 1;  // without the sign
      peak = size > peak ? size : peak;
    }
  const Scale<T> scale(peak >> (B::kFraction + 1));
  T n2[N], total = T(0);
#pragma unroll
  for (int j = 0; j < N; ++j) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      x[j][i] *= scale.factor;
      n2[j] = i == 0 ? x[j][i] * x[j][i] : n2[j] + x[j][i] * x[j][i];
    }
    total += n2[j];
  }
  const T floor2 = floor_of<T>(rtol, total);

  // The pivots come to the front; vectors of zeros, which fill up a smaller matrix, are never chosen.
  int rank = 0;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    unsigned key = 0;
#pragma unroll
    for (int j = k; j < N; ++j) {
      const unsigned mine = (B::first(n2[j]) & ~kNumber) | static_cast<unsigned>(j);
      key = mine > key ? mine : key;
    }
#pragma unroll
    for (int j = k + 1; j < N; ++j) {
      const bool chosen = (key & kNumber) == static_cast<unsigned>(j);
      exchange(n2[k], n2[j], chosen);
#pragma unroll
      for (int i = 0; i < N; ++i) exchange(x[k][i], x[j][i], chosen);
    }
    if (!(n2[k] > floor2)) break;
    rank = k + 1;
    const T alpha = x[k][k], length_inverse = inverse_root_of<T>(n2[k]), size = n2[k] * length_inverse;
    const T tau = inverse_of<T>(std::fma(std::abs(alpha), size, n2[k]));
    x[k][k] = alpha + std::copysign(size, alpha);
#pragma unroll
    for (int j = k + 1; j < N; ++j) {
      T s = x[k][k] * x[j][k];
#pragma unroll
      for (int i = k + 1; i < N; ++i) s += x[k][i] * x[j][i];
      s *= tau;
      x[j][k] -= s * x[k][k];
#pragma unroll
      for (int i = k + 1; i < N; ++i) {
        x[j][i] -= s * x[k][i];
        n2[j] = i == k + 1 ? x[j][i] * x[j][i] : n2[j] + x[j][i] * x[j][i];
      }
    }
    x[k][k] = -std::copysign(length_inverse, alpha);  // 1 / the diagonal of R11
    n2[k] = T(0);
  }
  T tail2 = T(0);
#pragma unroll
  for (int j = 0; j < N; ++j) tail2 += n2[j];

  // ||R11^-1||_F^2 by columns of the inverse, each from its diagonal up.
  T inverse2 = T(0);
#pragma unroll
  for (int k = 0; k < N; ++k) {
    if (k >= rank) break;
    T y[N];
    y[k] = x[k][k];
    inverse2 += y[k] * y[k];
#pragma unroll
    for (int i = k - 1; i >= 0; --i) {
      T s = x[i + 1][i] * y[i + 1];
#pragma unroll
      for (int l = i + 2; l <= k; ++l) s += x[l][i] * y[l];
      y[i] = -s * x[i][i];
      inverse2 += y[i] * y[i];
    }
  }
  if (lane < count) {
    a.rank_out[first + lane] = rank;
    a.finite_out[first + lane] = scale.finite;
    a.certified_out[first + lane] = scale.finite && provable && rank_proven<T>(rank, rows, length, total, tail2, inverse2, rtol);
  }
}

template <class T, int N>
void start_small(const RankRealArgs<T>& a, int rows, int length, bool across, Stream& stream) {
  const bool whole = rows == N && length == N && reinterpret_cast<uintptr_t>(a.a) % 16 == 0;
  const int64_t blocks = (a.batch + kSmallThreads - 1) / kSmallThreads;
  launch(whole ? small_kernel<T, N, true> : small_kernel<T, N, false>, dim3(static_cast<unsigned>(blocks)), dim3(kSmallThreads),
         sizeof(T) * kSmallThreads * kSmallPitch<T, N>, stream, a, rows, length, across, static_cast<T>(a.rtol),
         tolerance_provable<T>(a.rtol, length));
}

// ---- a side above 8: a vector per lane --------------------------------------------------------------------------------------------

template <class T, int N> struct Layout {
  static constexpr int kPitch = N + Quad<T>::kCount;  // rows of 16-byte pieces; the padding spreads them over the banks
  static constexpr int kNumbers = N * kPitch + 2 * N + Quad<T>::kCount;  // vectors | w, two of them | tau, two of them
  static constexpr size_t kBytes = sizeof(T) * kNumbers + sizeof(int) * N;  // and which lane was pivot number k
};

// Long sums are taken in parts, which do not wait for each other.
template <class T> __device__ T of_parts(const T (&s)[2]) { return s[0] + s[1]; }
template <class T> __device__ T of_parts(const T (&s)[4]) { return (s[0] + s[1]) + (s[2] + s[3]); }

template <class T, int N>
__global__ void __launch_bounds__(Group<N>::kThreads)
    rank_kernel(RankRealArgs<T> a, int rows, int length, bool across, T rtol, bool provable) {
  constexpr int Q = Quad<T>::kCount, kPitch = Layout<T, N>::kPitch, K = 8, kSums = N == 64 ? 4 : 2;
  constexpr unsigned kNumber = N - 1;  // the bits of a key that hold the number of a vector
  constexpr int kUnrolled = N <= 32 ? K : 1;  // all steps known to the compiler, or a loop where they are too many
  constexpr bool kInShared = N * sizeof(T) > 512;
  SL_SHARED(unsigned char, bytes);
  Group<N> group;
  const int lane = group.lane();
  T* const L = reinterpret_cast<T*>(bytes + group.number() * Layout<T, N>::kBytes);
  T* const w_of = L + N * kPitch;
  T* const tau_of = w_of + 2 * N;
  int* const order = reinterpret_cast<int*>(tau_of + Q);
  T own[kInShared ? 1 : N];
  T* const x = kInShared ? L + lane * kPitch : own;

  const int64_t b = static_cast<int64_t>(blockIdx.x) * Group<N>::kPerBlock + group.number();
  const bool mine = b < a.batch && lane < rows;
  const T* const from = a.a + (mine ? b * rows * length + (across ? lane : lane * length) : 0);
  const int step_in = across ? rows : 1, there = mine ? length : 0;
  unsigned peak = 0;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    x[i] = i < there ? from[i * step_in] : T(0);
    const unsigned size = Bits<T>::first(x[i]) << 1;  // without the sign
    peak = size > peak ? size : peak;
  }
  const Scale<T> scale(group.largest(peak) >> (Bits<T>::kFraction + 1));
  T n2 = T(0);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    x[i] *= scale.factor;
    n2 += x[i] * x[i];
  }
  const T total = group.sum(n2), floor2 = floor_of<T>(rtol, total);

  bool live = true, open = true;  // live: not yet a pivot
  int rank = 0;
#pragma unroll
  for (int k0 = 0; k0 < N; k0 += K) {
#pragma unroll(kUnrolled)
    for (int k = k0; k < k0 + K; ++k) {
      open = open && k < rows;
      if (!group.any(open)) break;
      T* const w = w_of + (k & 1) * N;
      // The longest vector, up to the rounding of the key; its number in the low bits. Vectors that were pivots have n2 = 0.
      const unsigned key = (Bits<T>::first(n2) & ~kNumber) | static_cast<unsigned>(lane);
      const int pivot = static_cast<int>(group.largest(key) & kNumber);
      if (open && lane == pivot) {
        if (n2 > floor2) {
          const T length_inverse = inverse_root_of<T>(n2), size = n2 * length_inverse;
          T alpha = T(0);
#pragma unroll
          for (int i = 0; i < K; ++i) alpha = k0 + i == k ? x[k0 + i] : alpha;
          const T v = alpha + std::copysign(size, alpha), diagonal_inverse = -std::copysign(length_inverse, alpha);
#pragma unroll
          for (int i = k0; i < N; ++i)
            if (kUnrolled == 1 || i > k - Q) w[i] = i >= k0 + K ? x[i] : i < k ? T(0) : i == k ? v : x[i];
#pragma unroll
          for (int i = 0; i < K; ++i) x[k0 + i] = k0 + i == k ? diagonal_inverse : x[k0 + i];  // 1 / the diagonal of R11
          tau_of[k & 1] = inverse_of<T>(std::fma(std::abs(alpha), size, n2));
          order[k] = lane;
          live = false;
          n2 = T(0);
        } else {
          tau_of[k & 1] = T(0);
        }
      }
      group.sync();
      if (open) {
        const T tau = tau_of[k & 1];
        if (tau == T(0)) {
          open = false;
        } else {
          ++rank;
          if (live) {
            T sums[kSums] = {}, squares[kSums] = {};
#pragma unroll
            for (int i = k0; i < N; i += Q) {
              if (kUnrolled > 1 && i + Q <= k) continue;
              const Quad<T> part = quad(w + i);
#pragma unroll
              for (int q = 0; q < Q; ++q) sums[(i + q) % kSums] += part.v[q] * x[i + q];
            }
            const T s = of_parts<T>(sums) * tau;
#pragma unroll
            for (int i = k0; i < N; i += Q) {
              if (kUnrolled > 1 && i + Q <= k) continue;
              const Quad<T> part = quad(w + i);
#pragma unroll
              for (int q = 0; q < Q; ++q) {
                x[i + q] -= s * part.v[q];
                if (i + q >= k0 + K || i + q > k) squares[(i + q) % kSums] += x[i + q] * x[i + q];
              }
            }
            n2 = of_parts<T>(squares);
          }
        }
      }
    }
  }
  const T tail2 = group.sum(n2);

  // X R11 = I by rows of X: lane c has row c. In order of the pivots, row i of R11 stands in lane order[i], entries 0..i.
  if constexpr (!kInShared) {
#pragma unroll
    for (int i = 0; i < N; i += Q) {
      Quad<T> part;
#pragma unroll
      for (int q = 0; q < Q; ++q) part.v[q] = x[i + q];
      *reinterpret_cast<Quad<T>*>(L + lane * kPitch + i) = part;
    }
  }
  group.sync();
  T sums[N], squares = T(0);
#pragma unroll
  for (int i = 0; i < N; ++i) sums[i] = T(0);
#pragma unroll
  for (int k0 = N - K; k0 >= 0; k0 -= K) {
#pragma unroll(kUnrolled)
    for (int k = k0 + K - 1; k >= k0; --k) {
      if (k >= rank) continue;
      const T* const row = L + order[k] * kPitch;
      T right = lane == k ? T(1) : T(0);
#pragma unroll
      for (int i = 0; i < K; ++i) right -= k0 + i == k ? sums[k0 + i] : T(0);
      const T y = right * row[k];
      squares += y * y;
#pragma unroll
      for (int i = 0; i < k0 + K; i += Q) {
        if (kUnrolled > 1 && i >= k) break;
        const Quad<T> part = quad(row + i);
#pragma unroll
        for (int q = 0; q < Q; ++q) sums[i + q] += y * part.v[q];  // entries from k on are not used any more
      }
    }
  }
  const T inverse2 = group.sum(squares);
  if (lane == 0 && b < a.batch) {
    a.rank_out[b] = rank;
    a.finite_out[b] = scale.finite;
    a.certified_out[b] = scale.finite && provable && rank_proven<T>(rank, rows, length, total, tail2, inverse2, rtol);
  }
}

template <class T, int N>
void start(const RankRealArgs<T>& a, int rows, int length, bool across, Stream& stream) {
  const int64_t blocks = (a.batch + Group<N>::kPerBlock - 1) / Group<N>::kPerBlock;
  launch(rank_kernel<T, N>, dim3(static_cast<unsigned>(blocks)), dim3(Group<N>::kThreads), Layout<T, N>::kBytes * Group<N>::kPerBlock,
         stream, a, rows, length, across, static_cast<T>(a.rtol), tolerance_provable<T>(a.rtol, length));
}

template <class T>
void rank_batch(const RankRealArgs<T>& a, Stream& stream) {
  // Square matrices by columns: neighbouring lanes then read neighbouring numbers.
  const bool across = a.m >= a.n;
  const int rows = across ? a.n : a.m, length = across ? a.m : a.n;
  if (length <= 4) start_small<T, 4>(a, rows, length, across, stream);
  else if (length <= 8) start_small<T, 8>(a, rows, length, across, stream);
  else if (length <= 16) start<T, 16>(a, rows, length, across, stream);
  else if (length <= 32) start<T, 32>(a, rows, length, across, stream);
  else if (length <= 64) start<T, 64>(a, rows, length, across, stream);
  else {
    require(length <= 128, "rank_real: a side above 128 goes to an SVD");
    start<T, 128>(a, rows, length, across, stream);
  }
}

}  // namespace

void rank_real(const RankRealArgs<float>& a, Stream& stream) { rank_batch(a, stream); }
void rank_real(const RankRealArgs<double>& a, Stream& stream) { rank_batch(a, stream); }

}  // namespace cuda
}  // namespace sl
