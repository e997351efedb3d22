// hostdev.h: marks functions that may run on a CPU or inside a CUDA kernel (SL_DEVICE: compiled by nvcc for the kernel only, where it is
// always inlined, so that an object's members can stay in registers), and loops to unroll or to keep (SL_ROLLED).
#pragma once
#if defined(__CUDACC__)
#define SL_HD __host__ __device__
#define SL_INLINE __host__ __device__ __forceinline__
#define SL_DEVICE __device__ __forceinline__
#define SL_APART __host__ __device__ __noinline__  // what few callers need must not take the registers of all
#else
#define SL_HD
#define SL_APART __attribute__((noinline))
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SL_INLINE inline  // checks make code so long that copies of it take most of the time to compile
#else
#define SL_INLINE inline __attribute__((always_inline))
#endif
#define SL_DEVICE
#endif
#if defined(__CUDA_ARCH__)
#define SL_UNROLL(n) _Pragma("unroll")
#define SL_ROLLED _Pragma("unroll 1")
#elif defined(__CUDACC__)
#define SL_UNROLL(n)
#define SL_ROLLED
#else
#define SL_UNROLL_TEXT(text) _Pragma(#text)
#define SL_UNROLL(n) SL_UNROLL_TEXT(GCC unroll n)
#define SL_ROLLED
#endif
