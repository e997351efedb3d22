// Multiply-add peak: 16 independent chains per thread (latency 4, two units: 8 are enough), no memory. See ops/peak.h.
#include "ops/peak.h"

#include "core/pack.h"

namespace sl {
namespace SL_ISA {
namespace {

struct Work {
  int64_t rounds;
  double sink;
};

template <class T>
void chains(void* context, int, int64_t, Control&) {
  using S = Pack<T>;
  Work& work = *static_cast<Work*>(context);
  S a[16];
#pragma GCC unroll 16
  for (int k = 0; k < 16; ++k) a[k] = constant<S>(T(k));
  S x = constant<S>(T(0.999)), y = constant<S>(T(1e-3));
  asm volatile("" : "+x"(x), "+x"(y));  // unknown to the compiler
  for (int64_t r = 0; r < work.rounds; ++r) {
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) a[k] = a[k] * x + y;
    asm volatile("" : "+x"(a[0]), "+x"(a[8]));
  }
  S sum{};
#pragma GCC unroll 16
  for (int k = 0; k < 16; ++k) sum += a[k];
  if (sum[0] == T(-1)) work.sink = static_cast<double>(sum[0]);  // never: keeps the chains alive
}

template <class T>
double run(int64_t rounds, int threads, Control& control) {
  Work work{rounds, 0};
  const int workers = worker_count(1 << 20, threads);
  parallel_for(workers, workers, control, chains<T>, &work);
  return 2.0 * 16 * kLanes<T> * static_cast<double>(rounds) * workers;
}

}  // namespace

double fma_rounds32(int64_t rounds, int threads, Control& c) { return run<float>(rounds, threads, c); }
double fma_rounds64(int64_t rounds, int threads, Control& c) { return run<double>(rounds, threads, c); }

}  // namespace SL_ISA
}  // namespace sl
