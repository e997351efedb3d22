// group.cuh: the threads that work on one matrix: 4, 8, 16 or 32 lanes of a warp (several matrices per warp), or a block of 64 or 128.
//
// A lane owns one vector of the matrix. Groups of a warp run in step: sync() is the warp's barrier, so every lane must reach it, also
// those whose matrix is finished (any() says whether one of the warp still works).
#pragma once
#include "cuda/launch.cuh"

namespace sl {
namespace cuda {

template <int G>
struct Group {
  static constexpr bool kWarpWide = G <= 32;
  static constexpr int kThreads = kWarpWide ? 64 : G;  // of a block: two warps waste few registers
  static constexpr int kPerBlock = kThreads / G;
  unsigned turn = 0;  // which half of the exchange space is next (groups of several warps)

  static __device__ int lane() { return static_cast<int>(threadIdx.x) % G; }
  static __device__ int number() { return static_cast<int>(threadIdx.x) / G; }  // in the block
  static __device__ void sync() {
    if constexpr (kWarpWide) __syncwarp();
    else __syncthreads();
  }
  static __device__ bool any(bool working) {  // `working` is the same for all lanes of a group
    if constexpr (kWarpWide) return __any_sync(kWholeWarp, working) != 0;
    else return working;
  }
  // Largest key of the group. Also a point that all lanes of the group reach.
  __device__ unsigned largest(unsigned key) {
    if constexpr (G >= 32) key = __reduce_max_sync(kWholeWarp, key);
    else
#pragma unroll
      for (int h = G / 2; h > 0; h /= 2) {
        const unsigned other = __shfl_xor_sync(kWholeWarp, key, h);
        key = other > key ? other : key;
      }
    if constexpr (!kWarpWide) {
      __shared__ unsigned of_warp[2][G / 32];  // two halves: the next call may write while this one is read
      unsigned* const shown = of_warp[turn];
      turn ^= 1;
      if (threadIdx.x % 32 == 0) shown[threadIdx.x / 32] = key;
      __syncthreads();
#pragma unroll
      for (int w = 0; w < G / 32; ++w) key = shown[w] > key ? shown[w] : key;
    }
    return key;
  }
  // First lane with the flag, -1 if none.
  __device__ int first(bool flag) {
    if constexpr (kWarpWide) {
      const unsigned all = __ballot_sync(kWholeWarp, flag);
      const unsigned start = threadIdx.x % 32 / G * G, bits = G == 32 ? all : (all >> start) & ((1u << (G % 32)) - 1);
      return __ffs(static_cast<int>(bits)) - 1;
    } else {
      const int key = static_cast<int>(largest(flag ? static_cast<unsigned>(G - lane()) : 0u));
      return key == 0 ? -1 : G - key;
    }
  }
  template <class T> __device__ T sum(T x) {
#pragma unroll
    for (int h = (G < 32 ? G : 32) / 2; h > 0; h /= 2) x += __shfl_xor_sync(kWholeWarp, x, h);
    if constexpr (!kWarpWide) {
      __shared__ T of_warp[G / 32];
      __syncthreads();
      if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
      __syncthreads();
      x = T(0);
#pragma unroll
      for (int w = 0; w < G / 32; ++w) x += of_warp[w];
    }
    return x;
  }
};

// 16 bytes of shared memory at once.
template <class T> struct alignas(16) Quad {
  static constexpr int kCount = 16 / static_cast<int>(sizeof(T));
  T v[kCount];
};
template <class T> __device__ __forceinline__ Quad<T> quad(const T* p) { return *reinterpret_cast<const Quad<T>*>(p); }

}  // namespace cuda
}  // namespace sl
