// launch.cuh: the one way kernels are started, on a GPU or in the emulator (emulation/emulate.h).
//   launch(kernel, grid, block, shared_bytes, stream, arguments...)
//   SL_SHARED(float, name);   in a kernel: `name` points to its dynamic shared memory (16-byte aligned)
//   SL_TURN();                in a kernel: nothing on a GPU; in the emulator the threads of a block take turns here
#pragma once
#include <mutex>
#include <set>
#include <tuple>
#include <utility>

#include "cuda/check.cuh"
#include "ops/stream.h"

#if defined(SL_EMULATE)
#define SL_TURN() ::sl::emulate::yield()
#define SL_SHARED(type, name) type* const name = static_cast<type*>(::sl::emulate::shared_memory())
#else
#define SL_TURN()
#define SL_SHARED(type, name)                                       \
  extern __shared__ __align__(16) unsigned char sl_shared_bytes_[]; \
  type* const name = reinterpret_cast<type*>(sl_shared_bytes_)
#endif

namespace sl {
namespace cuda {

constexpr size_t kLittleShared = 8 * 1024;
constexpr unsigned kWarp = 32, kWholeWarp = 0xffffffffu;

// A kernel that takes more than a little shared memory is allowed, once per device, as much as there is (more than 48 KB must be allowed,
// and calls of other sizes on other host threads must not take it away from each other), and the first-level cache gives way to it.
inline void allow_shared(const void* kernel, int device) {
  static std::mutex mutex;
  static std::set<std::pair<const void*, int>> allowed;
  const std::lock_guard<std::mutex> lock(mutex);
  if (allowed.count({kernel, device})) return;
  cudaFuncAttributes about;
  SL_CUDA(cudaFuncGetAttributes(&about, kernel));
  int most = 0;
  SL_CUDA(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  SL_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most - static_cast<int>(about.sharedSizeBytes)));
  SL_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared));
  allowed.insert({kernel, device});
}

// A number that other threads may be reading or writing: one load or store, never torn, with no order among others.
__device__ __forceinline__ int relaxed_load(const int* at) {
#if defined(__CUDA_ARCH__)
  int x;
  asm volatile("ld.relaxed.gpu.global.b32 %0, [%1];" : "=r"(x) : "l"(at) : "memory");
  return x;
#else
  return __atomic_load_n(at, __ATOMIC_RELAXED);
#endif
}
__device__ __forceinline__ long long relaxed_load(const long long* at) {
#if defined(__CUDA_ARCH__)
  long long x;
  asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(x) : "l"(at) : "memory");
  return x;
#else
  return __atomic_load_n(at, __ATOMIC_RELAXED);
#endif
}
__device__ __forceinline__ void relaxed_store(int* at, int x) {
#if defined(__CUDA_ARCH__)
  asm volatile("st.relaxed.gpu.global.b32 [%0], %1;" : : "l"(at), "r"(x) : "memory");
#else
  __atomic_store_n(at, x, __ATOMIC_RELAXED);
#endif
}

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, Stream& stream, A&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const void* const address = reinterpret_cast<const void*>(kernel);
  const auto handle = static_cast<cudaStream_t>(stream.handle);
  if (shared_bytes > kLittleShared) allow_shared(address, stream.device);
#if defined(SL_EMULATE)
  auto body = [kernel, held = std::tuple<P...>(static_cast<P>(arguments)...)] { std::apply(kernel, held); };
  check(emulate::launch(address, grid, block, shared_bytes, handle, std::move(body)), "kernel launch");
#else
  kernel<<<grid, block, shared_bytes, handle>>>(static_cast<P>(arguments)...);
  check(cudaGetLastError(), "kernel launch");
#endif
}

// Blocks of `threads` that fit on the whole device at once (for grids that loop over the work).
template <class Kernel>
unsigned resident_blocks(Kernel* kernel, int threads, size_t shared_bytes, const Stream& stream) {
  int per = 1;
#if !defined(SL_EMULATE)
  if (shared_bytes > kLittleShared) allow_shared(reinterpret_cast<const void*>(kernel), stream.device);
  SL_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per, kernel, threads, shared_bytes));
#else
  (void)kernel, (void)threads, (void)shared_bytes;
#endif
  return static_cast<unsigned>((per < 1 ? 1 : per) * multiprocessors(stream.device));
}

}  // namespace cuda
}  // namespace sl
