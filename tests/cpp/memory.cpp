// Working memory and threads.
#include <atomic>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/scratch.h"

namespace {

void scratch() {
  for (size_t first : {size_t{0}, size_t{1}, size_t{1} << 20}) {
    sl::Scratch scratch(first);
    std::vector<std::pair<char*, size_t>> taken;
    for (size_t bytes : {1, 0, 63, 64, 65, 5000, 1, 20000, 3, 3000000, 7}) {
      char* p = static_cast<char*>(scratch.take(bytes));
      CHECK(p != nullptr && reinterpret_cast<uintptr_t>(p) % 64 == 0);
      for (size_t k = 0; k < bytes; ++k) CHECK(p[k] == 0);
      __builtin_memset(p, 0x5a, bytes);
      taken.emplace_back(p, bytes);
    }
    for (size_t i = 0; i < taken.size(); ++i)
      for (size_t j = 0; j < i; ++j) {
        const auto [a, m] = taken[i];
        const auto [b, n] = taken[j];
        CHECK(m == 0 || n == 0 || a + m <= b || b + n <= a);
      }
  }
  sl::Scratch scratch;
  bool thrown = false;
  try {
    scratch.take(~size_t{0});
  } catch (const std::bad_alloc&) { thrown = true; }
  CHECK(thrown);
}

struct Count {
  std::vector<std::atomic<int>> times;
  int64_t fails = -1, stops = -1;
};

void count(void* context, int, int64_t item, sl::Control& control) {
  Count& all = *static_cast<Count*>(context);
  all.times[static_cast<size_t>(item)].fetch_add(1);
  if (item == all.fails) throw std::invalid_argument("planted");
  if (item == all.stops) __atomic_store_n(&control.stop, 1, __ATOMIC_RELAXED);
}

void threads() {
  for (int workers : {1, 2, 5})
    for (int64_t items : {0, 1, 7, 1000}) {
      Count all{std::vector<std::atomic<int>>(static_cast<size_t>(items))};
      sl::Control control;
      sl::parallel_for(items, workers, control, count, &all);
      for (auto& each : all.times) CHECK(each.load() == 1);
    }
  for (int workers : {1, 4}) {
    Count all{std::vector<std::atomic<int>>(100)};
    all.fails = 40;
    sl::Control control;
    bool thrown = false;
    try {
      sl::parallel_for(100, workers, control, count, &all);
    } catch (const std::invalid_argument&) { thrown = true; }
    CHECK(thrown);
    Count stopped{std::vector<std::atomic<int>>(100)};
    stopped.stops = 0;
    sl::Control other;
    thrown = false;
    try {
      sl::parallel_for(100, workers, other, count, &stopped);
    } catch (const sl::Interrupted&) { thrown = true; }
    CHECK(thrown);
    for (auto& each : stopped.times) CHECK(each.load() <= 1);
  }
}

}  // namespace

void test_memory() {
  scratch();
  threads();
}
