// Multiply-add peak: independent chains (latency 4, two units: 8 are enough), no memory. See ops/peak.h.
#include "ops/peak.h"

#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kChains = 16;
#else
constexpr int kChains = 12;  // 16 registers: 12 chains, two constants
#endif

struct Work {
  int64_t rounds;
  double sink;
};

template <class T>
void chains(void* context, int, int64_t, Control&) {
  using S = Pack<T>;
  Work& work = *static_cast<Work*>(context);
  S a[kChains];
#pragma GCC unroll 16
  for (int k = 0; k < kChains; ++k) a[k] = constant<S>(T(k));
  S x = constant<S>(T(0.999)), y = constant<S>(T(1e-3));
  asm volatile("" : "+x"(x), "+x"(y));  // unknown to the compiler
  for (int64_t r = 0; r < work.rounds; ++r) {
#pragma GCC unroll 16
    for (int k = 0; k < kChains; ++k) a[k] = a[k] * x + y;
    asm volatile("" : "+x"(a[0]), "+x"(a[kChains / 2]));
  }
  S sum{};
#pragma GCC unroll 16
  for (int k = 0; k < kChains; ++k) sum += a[k];
  if (sum[0] == T(-1)) work.sink = static_cast<double>(sum[0]);  // never: keeps the chains alive
}

template <class T>
double run(int64_t rounds, int threads, Control& control) {
  Work work{rounds, 0};
  const int workers = worker_count(1 << 20, threads);
  parallel_for(workers, workers, control, chains<T>, &work);
  return 2.0 * kChains * kLanes<T> * static_cast<double>(rounds) * workers;
}

}  // namespace

double fma_rounds32(int64_t rounds, int threads, Control& c) { return run<float>(rounds, threads, c); }
double fma_rounds64(int64_t rounds, int threads, Control& c) { return run<double>(rounds, threads, c); }

}  // namespace SL_ISA
}  // namespace sl
