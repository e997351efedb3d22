// random.h: counter-based random numbers, the same bits on every machine.
//
// Philox 4x32-10 (Salmon, Moraes, Dror & Shaw, SC'11): ten rounds of a keyed bijection of four 32-bit words. The key is
// the 64-bit seed; the counter is (index, stream, trial, task). A draw is a pure function of those numbers, so it does not
// depend on batch size, thread count, instruction set or device.
//
// Normals by Box-Muller with our own log, sine and cosine: those of the C library differ between machines in the last bit.
// Only +, -, *, /, sqrt are used, all correctly rounded by IEEE 754; random.cpp is compiled without fused multiply-add.
#pragma once
#include <cstdint>

#include "core/hostdev.h"

namespace sl {

enum Stream : uint32_t { kTeacher = 0, kStudent = 1, kInputs = 2, kMask = 3, kStarts = 16 };

struct Philox {
  uint32_t key[2];
  uint32_t stream, trial, task;
  Philox(uint64_t seed, uint32_t stream_, uint32_t trial_, uint32_t task_)
      : key{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}, stream(stream_), trial(trial_), task(task_) {}
};

// Ten Philox rounds. counter and out: four words; key: two words.
void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

// out[k - first] = normal number k of the stream, k = first .. first + count - 1.
void normals(const Philox& source, uint64_t first, uint64_t count, double* out);
double normal(const Philox& source, uint64_t k);

// The words of a stream in order, and unbiased integers made of them.
class Words {
 public:
  explicit Words(const Philox& source) : source_(source) {}
  uint32_t next();
  uint32_t below(uint32_t n);  // uniform in 0 .. n-1 (Lemire's multiply and reject); n = 1 consumes no word

 private:
  Philox source_;
  uint32_t block_[4];
  uint64_t used_ = 0;
};

}  // namespace sl
