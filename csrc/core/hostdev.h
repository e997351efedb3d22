// hostdev.h: marks functions that may run on a CPU or inside a CUDA kernel, and loops to unroll.
#pragma once
#if defined(__CUDACC__)
#define SL_HD __host__ __device__
#define SL_INLINE __host__ __device__ __forceinline__
#else
#define SL_HD
#define SL_INLINE inline __attribute__((always_inline))
#endif
#if defined(__CUDA_ARCH__)
#define SL_UNROLL(n) _Pragma("unroll")
#elif defined(__CUDACC__)
#define SL_UNROLL(n)
#else
#define SL_UNROLL_TEXT(text) _Pragma(#text)
#define SL_UNROLL(n) SL_UNROLL_TEXT(GCC unroll n)
#endif
