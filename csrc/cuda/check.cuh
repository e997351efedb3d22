// check.cuh: a failed CUDA call becomes an Error with the name of the call and the runtime's words; no memory left: an OutOfMemory.
#pragma once
#if defined(SL_EMULATE)
#include "cuda/emulation/emulate.h"
#else
#include <cuda_runtime.h>
#endif

#include <string>

#include "core/error.h"

namespace sl {
namespace cuda {
inline void check(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // an error that is not sticky must not surface in the next call
  if (code == cudaErrorMemoryAllocation) throw OutOfMemory(std::string(call) + ": no device memory left");
  throw Error(std::string(call) + ": " + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")");
}
}  // namespace cuda
}  // namespace sl
#define SL_CUDA(call) ::sl::cuda::check(call, #call)
