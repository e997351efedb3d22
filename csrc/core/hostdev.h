// hostdev.h: marks functions that may run on a CPU or inside a CUDA kernel.
#pragma once
#if defined(__CUDACC__)
#define SL_HD __host__ __device__
#else
#define SL_HD
#endif
#define SL_INLINE inline __attribute__((always_inline))
