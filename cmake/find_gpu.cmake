# Is there an NVIDIA GPU here, can nvcc compile for it, and of which compute capability is it?
#
# A small program asks the CUDA runtime, which the module asks too: whatever hides a GPU from it (no driver, one that is too old, a container
# without devices, CUDA_VISIBLE_DEVICES) would hide it from the module. Files under /dev and /proc say less, and nvidia-smi is not in every image.
#
# architectures: what to compile for, a list; empty where there is nothing to compile for. why: the reason, in words.
function(sublearn_find_gpu architectures why)
  set(${architectures} "" PARENT_SCOPE)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/find_gpu)
  file(WRITE ${folder}/find_gpu.cu [[
#include <cstdio>
#include <cuda_runtime.h>
__global__ void kernel(int* x) { *x = 1; }  // nvcc must be able to compile for a GPU
int main() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) return std::printf("no driver, or one older than this CUDA needs"), 1;
  if (error != cudaSuccess) return std::printf("%s", cudaGetErrorString(error)), 1;
  if (count == 0) return std::printf("no NVIDIA GPU found"), 1;
  for (int device = 0; device < count; ++device) {
    int major = 0, minor = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    std::printf("%s%d%d", device ? ";" : "", major, minor);
  }
}
]])
  set(host "")
  if(DEFINED ENV{CUDAHOSTCXX})
    set(host -ccbin $ENV{CUDAHOSTCXX})
  endif()
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} ${host} -std=c++17 -gencode=arch=compute_90,code=sm_90 find_gpu.cu -o find_gpu
    WORKING_DIRECTORY ${folder} RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
  if(NOT failed STREQUAL "0")
    set(${why} "${CMAKE_CUDA_COMPILER} does not work here, or cannot compile for compute capability 9.0" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND ${folder}/find_gpu RESULT_VARIABLE failed OUTPUT_VARIABLE said ERROR_QUIET TIMEOUT 60)
  if(NOT failed STREQUAL "0")
    set(${why} "nvcc is here, but no GPU: ${said}; SUBLEARN_CUDA=ON builds the CUDA module all the same" PARENT_SCOPE)
    return()
  endif()
  list(REMOVE_DUPLICATES said)
  list(JOIN said ", " capabilities)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE known ERROR_QUIET)
  set(found "")
  foreach(capability ${said})
    if(capability GREATER_EQUAL 80 AND known MATCHES "compute_${capability}[^0-9]")
      list(APPEND found ${capability})
    elseif(capability GREATER_EQUAL 90)
      list(APPEND found 90)  # newer than this nvcc: the driver compiles the PTX for it
    endif()
  endforeach()
  if(NOT found)
    set(${why} "the GPU has compute capability ${capabilities}, 80 (8.0) is the least" PARENT_SCOPE)
    return()
  endif()
  list(REMOVE_DUPLICATES found)
  list(TRANSFORM found APPEND -real OUTPUT_VARIABLE real)
  list(SORT found COMPARE NATURAL)
  list(GET found -1 newest)
  set(${architectures} ${real} ${newest}-virtual PARENT_SCOPE)
  set(${why} "nvcc is here, and a GPU of compute capability ${capabilities}" PARENT_SCOPE)
endfunction()
