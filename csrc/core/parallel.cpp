#include "core/parallel.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "core/cores.h"
#include "core/error.h"

namespace sl {

bool Control::should_stop(int worker) {
  if (worker == 0 && poll && poll(poll_context)) __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  return stopped();
}

int worker_count(int64_t items, int threads) {
  int64_t n = threads > 0 ? threads : default_threads();
  if (n > items) n = items;
  return n < 1 ? 1 : static_cast<int>(n);
}

void parallel_for(int64_t items, int threads, Control& control, Body body, void* context) {
  const int workers = worker_count(items, threads);
  int64_t next = 0;
  std::exception_ptr failure;
  std::mutex failure_mutex;
  auto work = [&](int worker) {
    try {
      for (;;) {
        if (control.should_stop(worker)) return;
        const int64_t item = __atomic_fetch_add(&next, int64_t{1}, __ATOMIC_RELAXED);
        if (item >= items) return;
        body(context, worker, item, control);
      }
    } catch (...) {
      __atomic_store_n(&control.stop, 1, __ATOMIC_RELAXED);
      std::lock_guard<std::mutex> lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::mutex finished_mutex;
  std::condition_variable all_finished;
  size_t finished = 0;
  auto other = [&](int worker) {
    work(worker);
    std::lock_guard<std::mutex> lock(finished_mutex);
    ++finished;
    all_finished.notify_one();
  };
  std::vector<std::thread> others;
  others.reserve(static_cast<size_t>(workers - 1));
  for (int w = 1; w < workers; ++w) {
    try {
      others.emplace_back(other, w);
    } catch (const std::system_error&) {
      break;  // fewer threads than asked for: the work still gets done
    }
  }
  work(0);
  // The calling thread has no items left; it keeps polling until the others are done, so that Ctrl-C still reaches them.
  {
    std::unique_lock<std::mutex> lock(finished_mutex);
    while (finished < others.size()) {
      all_finished.wait_for(lock, std::chrono::milliseconds(20));
      lock.unlock();
      control.should_stop(0);
      lock.lock();
    }
  }
  for (auto& t : others) t.join();
  if (failure) std::rethrow_exception(failure);
  if (control.stopped()) throw Interrupted();
}

}  // namespace sl
