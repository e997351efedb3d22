// Compiled without fused multiply-add: the draws are the same bits everywhere. The bodies are in core/draws.h.
#include "core/random.h"

#include "core/draws.h"

namespace sl {

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) { draws::philox(counter, key, out); }

double normal(const Philox& g, uint64_t k) { return draws::normal(g, k); }

void normals(const Philox& g, uint64_t first, uint64_t count, double* out) {
  const uint64_t end = first + count;
  for (uint64_t k = first; k < end;) {
    double pair[2];
    draws::normal_pair(g, static_cast<uint32_t>(k / 2), pair);
    if (k & 1) {
      out[k - first] = pair[1];
      k += 1;
    } else {
      out[k - first] = pair[0];
      if (k + 1 < end) out[k + 1 - first] = pair[1];
      k += 2;
    }
  }
}

}  // namespace sl
