// peak: what this machine's multiply-add units can do, for the benchmarks: billions of floating-point operations per second,
// all threads together, with the instruction set that is chosen. A multiply-add counts as two.
#pragma once
#include "core/parallel.h"
#include "ops/isa.h"

namespace sl {
// Runs `rounds` rounds of independent multiply-add chains per thread and returns the operations done.
SL_PER_ISA(double fma_rounds32(int64_t rounds, int threads, Control&); double fma_rounds64(int64_t rounds, int threads, Control&);)
}  // namespace sl
