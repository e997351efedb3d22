// parallel.h: the only place that starts threads.
//
// parallel_for(items, threads, control, body, context) calls body(context, worker, item, control) for item = 0..items-1,
// each item once, handed out in ascending order. Worker 0 is the calling thread; it also polls the control between items, so that Ctrl-C
// reaches a long call: poll returns true to stop. A body that runs long calls control.should_stop() now and then.
// No OpenMP: two OpenMP runtimes in one process, or a fork, hang; std::thread does neither.
#pragma once
#include <cstdint>

namespace sl {

struct Control {
  bool (*poll)(void*) = nullptr;  // called on the calling thread only; true = stop
  void* poll_context = nullptr;
  int stop = 0;                   // accessed with atomic builtins
  bool stopped() const { return __atomic_load_n(&stop, __ATOMIC_RELAXED) != 0; }
  // For bodies: cheap on every worker; worker 0 also polls.
  bool should_stop(int worker);
};

using Body = void (*)(void* context, int worker, int64_t item, Control& control);

// Runs the items. Throws Interrupted if the control stopped the run. threads <= 0: see core/cores.h.
void parallel_for(int64_t items, int threads, Control& control, Body body, void* context);

// How many workers parallel_for will use at most.
int worker_count(int64_t items, int threads);

}  // namespace sl
