// check.h: CHECK(condition) notes a failure and goes on; a test is a function that main() calls. Random numbers are the same every time.
#pragma once
#include <cstdint>
#include <cstdio>
#include <initializer_list>

#include "scalar/lanes.h"  // names the instruction set

inline int& failures() {
  static int count = 0;
  return count;
}

#define CHECK(...)                                                                          \
  do {                                                                                      \
    if (!(__VA_ARGS__)) {                                                                   \
      if (++failures() <= 20) std::printf("%s:%d: %s\n", __FILE__, __LINE__, #__VA_ARGS__); \
    }                                                                                       \
  } while (0)

// splitmix64
struct Random {
  uint64_t state;
  uint64_t bits() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  int below(int n) { return static_cast<int>(bits() % static_cast<uint64_t>(n)); }
  double symmetric() { return static_cast<double>(static_cast<int64_t>(bits()) >> 11) * 0x1p-52; }  // in [-1, 1)
};

void test_scalars();
void test_fine_balls();
void test_packs();
void test_tiles();
void test_memory();
