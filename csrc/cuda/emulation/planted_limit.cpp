// A kernel that two host threads could launch with different needs of shared memory (tests/test_streams.py). Allowed call by call, each
// thread may lower the limit between the other's permission and its launch; the emulator counts with that (runtime.cpp).
#include "cuda/emulation/planted_limit.h"

#include "cuda/launch.cuh"

namespace sl {
namespace cuda {
namespace {
template <bool kByCall> __global__ void fill_kernel(int words) {
  SL_SHARED(int, shared);
  for (int k = static_cast<int>(threadIdx.x); k < words; k += static_cast<int>(blockDim.x)) shared[k] = k;
}

template <bool kByCall> void fill(size_t bytes) {
  Stream stream(nullptr, 0);
  const int words = static_cast<int>(bytes / sizeof(int));
  if (!kByCall) return launch(fill_kernel<false>, dim3(1), dim3(32), bytes, stream, words);
  const auto address = reinterpret_cast<const void*>(&fill_kernel<true>);
  SL_CUDA(cudaFuncSetAttribute(address, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  SL_CUDA(emulate::launch(address, dim3(1), dim3(32), bytes, nullptr, [words] { fill_kernel<true>(words); }));
}
}  // namespace

void planted_limit(bool by_call) {
  for (size_t bytes : {size_t{60} << 10, size_t{100} << 10}) by_call ? fill<true>(bytes) : fill<false>(bytes);
  Stream(nullptr, 0).wait();
}

}  // namespace cuda
}  // namespace sl
