#include "core/primes.h"

#include <initializer_list>

namespace sl {

// Miller-Rabin; the bases 2, 7, 61 decide every n < 4 759 123 141.
bool is_prime(uint64_t n) {
  if (n < 2 || n >> 32) return false;
  for (uint64_t q : {2, 3, 5, 7, 61})
    if (n % q == 0) return n == q;
  const int twos = __builtin_ctzll(n - 1);
  for (uint64_t base : {2, 7, 61}) {
    uint64_t x = 1;
    for (int bit = 31; bit >= twos; --bit) {
      x = x * x % n;
      if ((n - 1) >> bit & 1) x = x * base % n;
    }
    bool passes = x == 1;
    for (int k = 0; k < twos && !passes; ++k, x = x * x % n) passes = x == n - 1;
    if (!passes) return false;
  }
  return true;
}

}  // namespace sl
