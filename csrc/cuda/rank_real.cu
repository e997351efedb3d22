// Numerical rank of a batch of real matrices. See ops/rank_real.h; the proof: math/rank_proof.h.
//
// Householder QR of vectors x_j of length <= N (the shorter side of the matrix counts the vectors), the longest remaining one first:
//   pivot p = argmax ||x_j[k..]||,  w = x_p[k..] + sign ||.|| e_k,  x_j -= tau (w . x_j) w  for the vectors that were not pivots yet.
// Vectors never move: lane j keeps x_j in registers, pivots are remembered by number. A matrix is a group of N lanes (4, 8, 16, 32: N lanes of
// a warp; 64: a block of two warps). N = 128 keeps the vectors in shared memory: 128 doubles do not fit a thread's registers.
// ||R11^-1||_F: lane c computes row c of the inverse, from the last pivot to the first.
//
// Where data live: x and the accumulators in registers with compile-time indices (steps k run inside blocks of 8; up to N = 32 all are
// unrolled, above only the first 8 entries of a block need a choice by k); w, and at the end all x, in shared memory, read as 16-byte broadcasts.
// Cost per lane: 3 N^2 / 2 multiply-adds for the QR with the norms, N^2 / 2 for the proof; N^2 / 2 numbers from shared memory.
#include "cuda/group.cuh"
#include "math/rank_proof.h"
#include "ops/cuda.h"

namespace sl {
namespace cuda {
namespace {

using namespace SL_ISA;

template <class T> struct Bits;
template <> struct Bits<double> {
  static constexpr int kBias = 1023;
  static __device__ unsigned exponent(double x) { return static_cast<unsigned>(__double_as_longlong(x) >> 52) & 0x7ffu; }
  static __device__ double power(int e) { return __longlong_as_double(static_cast<long long>(e + kBias) << 52); }
};
template <> struct Bits<float> {
  static constexpr int kBias = 127;
  static __device__ unsigned exponent(float x) { return (__float_as_uint(x) >> 23) & 0xffu; }
  static __device__ float power(int e) { return __int_as_float((e + kBias) << 23); }
};

template <class T, int N> struct Layout {
  static constexpr int kPitch = N + Quad<T>::kCount;  // rows of 16-byte pieces; the padding spreads them over the banks
  static constexpr int kNumbers = N * kPitch + 2 * N + Quad<T>::kCount;  // vectors | w, two of them | tau, two of them
  static constexpr size_t kBytes = sizeof(T) * kNumbers + sizeof(int) * N;  // and which lane was pivot number k
};

template <class T, int N>
__global__ void __launch_bounds__(Group<N>::kThreads) rank_kernel(RankRealArgs<T> a, int rows, int length, bool across, T rtol, bool provable) {
  constexpr int Q = Quad<T>::kCount, kPitch = Layout<T, N>::kPitch, K = N < 8 ? N : 8;
  [[maybe_unused]] constexpr int kUnrolled = N <= 32 ? K : 1;  // all steps known to the compiler, or a loop where they are too many
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
  const T* const from = a.a + (b < a.batch ? b : 0) * rows * length + (across ? lane : static_cast<int64_t>(lane) * length);
  const int step_in = across ? rows : 1;
  unsigned peak = 0;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    x[i] = mine && i < length ? from[static_cast<int64_t>(i) * step_in] : T(0);
    const unsigned e = Bits<T>::exponent(x[i]);
    peak = e > peak ? e : peak;
  }
  // Scaled by a power of two to about 1: exact, and squares neither overflow nor underflow where it matters.
  peak = group.largest(peak);
  const bool finite = peak <= 2u * Bits<T>::kBias;
  int shift = Bits<T>::kBias - static_cast<int>(peak);
  shift = shift > Bits<T>::kBias - 1 ? Bits<T>::kBias - 1 : shift < 1 - Bits<T>::kBias ? 1 - Bits<T>::kBias : shift;
  const T scale = Bits<T>::power(shift);
  T n2 = T(0);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    x[i] = finite ? x[i] * scale : T(0);
    n2 += x[i] * x[i];
  }
  const T total = group.sum(n2), floor2 = rtol * rtol * total;

  bool live = lane < rows, open = true;
  int rank = 0;
#pragma unroll
  for (int k0 = 0; k0 < N; k0 += K) {
#pragma unroll(kUnrolled)
    for (int k = k0; k < k0 + K; ++k) {
      open = open && k < rows;
      if (!group.any(open)) break;
      T* const w = w_of + (k & 1) * N;
      // The longest vector, up to the rounding of the key; its number in the low bits. Vectors that were pivots have n2 = 0.
      const unsigned key = (__float_as_uint(static_cast<float>(n2)) & ~127u) | static_cast<unsigned>(lane);
      const int pivot = static_cast<int>(group.largest(key) & 127u);
      if (open && lane == pivot) {
        if (live && n2 > floor2) {
          const T size = std::sqrt(n2);
          T alpha = T(0);
#pragma unroll
          for (int i = 0; i < K; ++i) alpha = k0 + i == k ? x[k0 + i] : alpha;
          const T v = (alpha < T(0) ? -alpha : alpha) + size, q = T(1) / (size * v), inverse = q * v;
#pragma unroll
          for (int i = k0; i < N; ++i) w[i] = i >= k0 + K ? x[i] : i < k ? T(0) : i == k ? (alpha < T(0) ? -v : v) : x[i];
#pragma unroll
          for (int i = 0; i < K; ++i) x[k0 + i] = k0 + i == k ? (alpha < T(0) ? inverse : -inverse) : x[k0 + i];  // 1 / the diagonal of R11
          tau_of[k & 1] = q;
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
            T s = T(0), t = T(0);
#pragma unroll
            for (int i = k0; i < N; i += Q) {
              const Quad<T> part = quad(w + i);
#pragma unroll
              for (int q = 0; q < Q; ++q) {
                if (q & 1) t += part.v[q] * x[i + q];
                else s += part.v[q] * x[i + q];
              }
            }
            s = (s + t) * tau;
            n2 = T(0);
#pragma unroll
            for (int i = k0; i < N; i += Q) {
              const Quad<T> part = quad(w + i);
#pragma unroll
              for (int q = 0; q < Q; ++q) {
                x[i + q] -= s * part.v[q];
                if (i + q >= k0 + K || i + q > k) n2 += x[i + q] * x[i + q];
              }
            }
          }
        }
      }
    }
  }
  const T tail2 = group.sum(live ? n2 : T(0));

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
        const Quad<T> part = quad(row + i);
#pragma unroll
        for (int q = 0; q < Q; ++q) sums[i + q] += y * part.v[q];  // entries from k on are not used any more
      }
    }
  }
  const T inverse2 = group.sum(squares);
  if (lane == 0 && b < a.batch) {
    a.rank_out[b] = rank;
    a.finite_out[b] = finite;
    a.certified_out[b] = finite && provable && rank_proven<T>(rank, rows, length, total, tail2, inverse2, rtol);
  }
}

template <class T, int N>
void start(const RankRealArgs<T>& a, int rows, int length, bool across, Stream& stream) {
  const int64_t blocks = (a.batch + Group<N>::kPerBlock - 1) / Group<N>::kPerBlock;
  launch(rank_kernel<T, N>, dim3(static_cast<unsigned>(blocks)), dim3(Group<N>::kThreads), Layout<T, N>::kBytes * Group<N>::kPerBlock, stream, a, rows,
         length, across, static_cast<T>(a.rtol), tolerance_provable<T>(a.rtol, length));
}

template <class T>
void rank_batch(const RankRealArgs<T>& a, Stream& stream) {
  // Square matrices by columns: neighbouring lanes then read neighbouring numbers.
  const bool across = a.m >= a.n;
  const int rows = across ? a.n : a.m, length = across ? a.m : a.n;
  if (length <= 4) start<T, 4>(a, rows, length, across, stream);
  else if (length <= 8) start<T, 8>(a, rows, length, across, stream);
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
