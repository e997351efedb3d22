// Unit tests of scalars, packs, tiles and memory, compiled once per instruction set; exit code 77: this processor lacks it.
#include "check.h"

int main() {
#if defined(__AVX512F__)
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) return 77;
#elif defined(__AVX2__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 77;
#endif
  test_scalars();
  test_fine_balls();
  test_packs();
  test_tiles();
  test_memory();
  if (failures()) std::printf("%d checks failed\n", failures());
  return failures() ? 1 : 0;
}
