// random.h: counter-based random numbers, the same bits on every machine.
//
// Philox 4x32-10 (Salmon, Moraes, Dror & Shaw, SC'11): ten rounds of a keyed bijection of four 32-bit words. The key is
// the 64-bit seed; the counter is (index, stream, trial, task). A draw is a pure function of those numbers, so it does not
// depend on batch size, thread count, instruction set or device.
//
// Normals by Box-Muller with our own log, sine and cosine: those of the C library differ between machines in the last bit.
// Only +, -, *, /, sqrt are used, all correctly rounded by IEEE 754; random.cpp is compiled without fused multiply-add.
// The bodies, and the words of a stream as integers, are in draws.h, which CUDA kernels include too.
#pragma once
#include <cstdint>

#include "core/hostdev.h"

namespace sl {

enum Stream : uint32_t { kTeacher = 0, kStudent = 1, kInputs = 2, kMask = 3, kBatches = 4, kTargets = 5, kStarts = 16 };

struct Philox {
  uint32_t key[2];
  uint32_t stream, trial, task;
  SL_HD Philox(uint64_t seed, uint32_t stream_, uint32_t trial_, uint32_t task_)
      : key{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}, stream(stream_), trial(trial_), task(task_) {}
};

// Ten Philox rounds. counter and out: four words; key: two words.
void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

// out[k - first] = normal number k of the stream, k = first .. first + count - 1.
void normals(const Philox& source, uint64_t first, uint64_t count, double* out);
double normal(const Philox& source, uint64_t k);

}  // namespace sl
