// emulate.h: enough of CUDA for g++ to run the kernels of csrc/cuda on the CPU (-DSL_EMULATE), so that machines without a GPU
// test the very source that a GPU runs. No timing means anything here.
//
// Blocks run one after the other. A thread of a block is a fiber (emulate.cpp) that runs until it must wait for others: at __syncthreads,
// __syncwarp, shuffles, votes and atomics, and where a kernel says SL_TURN() (launch.cuh). So the emulator finds wrong indices, wrong masks
// of shuffles (a lane outside its mask, lanes that wait for each other with different masks), missing writes (fresh memory is filled with
// NaN), writes past dynamic shared memory, and barriers that some threads never reach. SUBLEARN_EMULATED_ORDER=n lets threads run in a
// random order of seed n in place of the ascending one. Built with -fsanitize=thread it finds races between the barriers, in shared and in
// global memory; see emulate.cpp.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "cuda/emulation/runtime.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static thread_local

struct uint3 { unsigned x, y, z; };
struct alignas(16) double2 { double x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) longlong2 { long long x, y; };

namespace sl {
namespace emulate {
struct Thread {
  uint3 index;
  uint3 block;
  dim3 threads, blocks;
};
const Thread& self();
void run(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(void*), void* context);
void* shared_memory();
// Waits for the threads of the block that are still running; the number of them with `flag`.
int block_vote(bool flag, int* alive);
// What the lanes of `mask` do together; all of them must come. A barrier orders their reads and writes of memory, the others do not.
void warp_barrier(unsigned mask);
uint64_t shown_by(unsigned mask, uint64_t mine, unsigned from);  // 8 bytes of each, and those of lane `from`
unsigned ballot(unsigned mask, bool flag);
unsigned joined(unsigned mask, unsigned mine, unsigned (*join)(unsigned, unsigned));
unsigned lane();
void yield();  // the other threads run before this one goes on: where threads share a queue, they take turns
}  // namespace emulate
}  // namespace sl

#define threadIdx (::sl::emulate::self().index)
#define blockIdx (::sl::emulate::self().block)
#define blockDim (::sl::emulate::self().threads)
#define gridDim (::sl::emulate::self().blocks)
#define warpSize 32

inline void __syncthreads() { sl::emulate::block_vote(false, nullptr); }
inline int __syncthreads_count(int flag) { return sl::emulate::block_vote(flag != 0, nullptr); }
inline int __syncthreads_or(int flag) { return sl::emulate::block_vote(flag != 0, nullptr) != 0; }
inline int __syncthreads_and(int flag) {
  int alive = 0;
  const int yes = sl::emulate::block_vote(flag != 0, &alive);
  return yes == alive;
}
inline void __syncwarp(unsigned mask = 0xffffffffu) { sl::emulate::warp_barrier(mask); }
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace sl {
namespace emulate {
template <class T> T shuffle(unsigned mask, T mine, unsigned from) {
  static_assert(sizeof(T) <= 8, "shuffles move at most 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &mine, sizeof mine);
  const uint64_t got = shown_by(mask, bits, from);
  T out;
  std::memcpy(&out, &got, sizeof out);
  return out;
}
}  // namespace emulate
}  // namespace sl

template <class T> T __shfl_sync(unsigned mask, T v, int from, int width = 32) {
  const unsigned l = sl::emulate::lane(), w = static_cast<unsigned>(width);
  return sl::emulate::shuffle(mask, v, (l & ~(w - 1)) | (static_cast<unsigned>(from) & (w - 1)));
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32) {
  const unsigned l = sl::emulate::lane(), to = l ^ static_cast<unsigned>(bits), w = static_cast<unsigned>(width);
  return sl::emulate::shuffle(mask, v, (to & ~(w - 1)) > (l & ~(w - 1)) ? l : to);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32) {
  const unsigned l = sl::emulate::lane(), w = static_cast<unsigned>(width);
  return sl::emulate::shuffle(mask, v, (l & (w - 1)) + by < w ? l + by : l);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32) {
  const unsigned l = sl::emulate::lane(), w = static_cast<unsigned>(width);
  return sl::emulate::shuffle(mask, v, (l & (w - 1)) >= by ? l - by : l);
}
inline unsigned __ballot_sync(unsigned mask, int flag) { return sl::emulate::ballot(mask, flag != 0); }
inline int __any_sync(unsigned mask, int flag) { return sl::emulate::ballot(mask, flag != 0) != 0; }
inline int __all_sync(unsigned mask, int flag) { return sl::emulate::ballot(mask, flag != 0) == mask; }
inline unsigned __reduce_max_sync(unsigned mask, unsigned v) {
  return sl::emulate::joined(mask, v, [](unsigned a, unsigned b) { return a > b ? a : b; });
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned v) {
  return sl::emulate::joined(mask, v, [](unsigned a, unsigned b) { return a < b ? a : b; });
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned v) {
  return sl::emulate::joined(mask, v, [](unsigned a, unsigned b) { return a | b; });
}

// Atomics: the thread gives up its turn before, so that threads which share a counter or a lock meet. Blocks of a launch run one after the
// other. CAS and Exch, the two sides of a lock, order the memory accesses between them, as the __threadfence beside them does on a GPU.
template <class T, class F> T sl_changed(T* at, F&& next) {
  sl::emulate::yield();
  T old = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(at, &old, static_cast<T>(next(old)), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
  return old;
}
template <class T, class U> T atomicAdd(T* at, U v) {
  return sl_changed(at, [v](T old) { return old + static_cast<T>(v); });
}
template <class T, class U> T atomicMax(T* at, U v) {
  return sl_changed(at, [v](T old) { return static_cast<T>(v) > old ? static_cast<T>(v) : old; });
}
template <class T, class U> T atomicMin(T* at, U v) {
  return sl_changed(at, [v](T old) { return static_cast<T>(v) < old ? static_cast<T>(v) : old; });
}
template <class T, class U> T atomicOr(T* at, U v) {
  return sl_changed(at, [v](T old) { return old | static_cast<T>(v); });
}
template <class T, class U> T atomicAnd(T* at, U v) {
  return sl_changed(at, [v](T old) { return old & static_cast<T>(v); });
}
template <class T, class U> T atomicExch(T* at, U v) {
  sl::emulate::yield();
  return __atomic_exchange_n(at, static_cast<T>(v), __ATOMIC_ACQ_REL);
}
template <class T, class U, class V> T atomicCAS(T* at, U was, V v) {
  sl::emulate::yield();
  T old = static_cast<T>(was);
  __atomic_compare_exchange_n(at, &old, static_cast<T>(v), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
  return old;
}

inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
template <class T> T __ldg(const T* p) { return *p; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline long long __double_as_longlong(double x) {
  long long r;
  std::memcpy(&r, &x, sizeof r);
  return r;
}
inline double __longlong_as_double(long long x) {
  double r;
  std::memcpy(&r, &x, sizeof r);
  return r;
}
inline int __float_as_int(float x) {
  int r;
  std::memcpy(&r, &x, sizeof r);
  return r;
}
inline unsigned __float_as_uint(float x) {
  unsigned r;
  std::memcpy(&r, &x, sizeof r);
  return r;
}
inline float __int_as_float(int x) {
  float r;
  std::memcpy(&r, &x, sizeof r);
  return r;
}
inline float __uint_as_float(unsigned x) {
  float r;
  std::memcpy(&r, &x, sizeof r);
  return r;
}
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
#define SL_EMULATE_MIN_MAX(T)                      \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
SL_EMULATE_MIN_MAX(int)
SL_EMULATE_MIN_MAX(unsigned)
SL_EMULATE_MIN_MAX(long)
SL_EMULATE_MIN_MAX(unsigned long)
SL_EMULATE_MIN_MAX(long long)
SL_EMULATE_MIN_MAX(unsigned long long)
SL_EMULATE_MIN_MAX(float)
SL_EMULATE_MIN_MAX(double)
#undef SL_EMULATE_MIN_MAX
