// primes.h: the primes below 2^32 by a test, and the two that everything over GF(p) is compiled for.
#pragma once
#include <cstdint>

namespace sl {

constexpr uint32_t kPrimes[2] = {2147483647u, 2147483629u};  // 2^31 - 1, 2^31 - 19

bool is_prime(uint64_t);  // false from 2^32 on

}  // namespace sl
