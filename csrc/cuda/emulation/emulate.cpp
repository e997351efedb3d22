// The fibers of the emulator. See emulate.h.
//
// With SL_RACES (kernels built with -fsanitize=thread, this file without) every fiber is a thread of ThreadSanitizer's, and what orders two
// threads on a GPU orders them here, and nothing else: barriers (__syncthreads, __syncwarp), atomics and the end of a kernel. Votes and
// shuffles make lanes wait for each other, but give no order to their other reads and writes.
#include "cuda/emulation/emulate.h"

#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"

#if defined(SL_RACES)
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace sl {
namespace emulate {
namespace {

// ---- what ThreadSanitizer is told -------------------------------------------------------------------------------------------

namespace races {
#if defined(SL_RACES)
constexpr unsigned kNoOrder = 1;  // a switch orders nothing
void* current() { return __tsan_get_current_fiber(); }
void* created() { return __tsan_create_fiber(0); }
void before_switch_to(void* fiber) { __tsan_switch_to_fiber(fiber, kNoOrder); }
void arrive(char* at) { __tsan_release(at); }
void leave(char* at) { __tsan_acquire(at); }
#else
void* current() { return nullptr; }
void* created() { return nullptr; }
void before_switch_to(void*) {}
void arrive(char*) {}
void leave(char*) {}
#endif
}  // namespace races

// ---- switching stacks -------------------------------------------------------------------------------------------------------

#if defined(__x86_64__)
struct Stack { void* at = nullptr; };
// Saves what a called function must keep, exchanges the stack pointers, restores. A few ns; swapcontext makes two system calls.
asm(R"(
.text
.p2align 4
.hidden sl_emulate_switch
.globl sl_emulate_switch
.type sl_emulate_switch, @function
sl_emulate_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size sl_emulate_switch, .-sl_emulate_switch
)");
extern "C" void sl_emulate_switch(void** from, void* to);
void change(Stack& from, Stack& to) { sl_emulate_switch(&from.at, to.at); }
void prepare(Stack& stack, char* memory, size_t bytes, void (*entry)()) {
  void** top = reinterpret_cast<void**>(memory + bytes - 64);  // 16-byte aligned; `entry` must see rsp = 8 mod 16
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int k = 0; k < 6; ++k) *--top = nullptr;
  stack.at = top;
}
#else
struct Stack { ucontext_t context; };
void change(Stack& from, Stack& to) { swapcontext(&from.context, &to.context); }
void prepare(Stack& stack, char* memory, size_t bytes, void (*entry)()) {
  getcontext(&stack.context);
  stack.context.uc_stack.ss_sp = memory;
  stack.context.uc_stack.ss_size = bytes;
  stack.context.uc_link = nullptr;
  makecontext(&stack.context, entry, 0);
}
#endif

constexpr size_t kStackBytes = size_t{1} << 20;  // touched as needed
constexpr int kMostThreads = 1024;
constexpr uint64_t kGuard = 0x5a17c0de5a17c0deull;

// ---- a block ------------------------------------------------------------------------------------------------------------------

struct WarpBarrier {
  unsigned mask, arrived;
  uint64_t passed;
  uint64_t shown[2][32];
  char order[2];  // a place per barrier, by turns: who is late at one must not be ordered after who has come to the next
};
struct Warp {
  std::vector<std::unique_ptr<WarpBarrier>> barriers;  // one per mask in use
  WarpBarrier& of(unsigned mask) {
    for (auto& b : barriers)
      if (b->mask == mask) return *b;
    barriers.emplace_back(new WarpBarrier{mask, 0, 0, {}, {}});
    return *barriers.back();
  }
};
struct Fiber {
  Thread thread;
  Stack stack;
  bool done = false;
  void* thread_of_races = nullptr;
  const uint64_t* waits_on = nullptr;  // runs again when this changes
  uint64_t value = 0;
};
struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Stack scheduler;
  void* scheduler_of_races = nullptr;
  char order[2] = {}, begin = 0, end = 0;
  std::vector<void*> threads_of_races;  // of the fibers of all blocks, one after the other: they are expensive
  Fiber* current = nullptr;
  char* stacks = nullptr;
  std::vector<uint64_t> shared;
  int alive = 0, arrived = 0, votes = 0, last_votes = 0, last_alive = 0;
  uint64_t passed = 0;
  std::string failure;
  void (*body)(void*) = nullptr;
  void* context = nullptr;

  ~Block() {
    if (stacks) munmap(stacks, kStackBytes * kMostThreads);
  }
};
thread_local Block* block = nullptr;

void pause() {
  races::before_switch_to(block->scheduler_of_races);
  change(block->current->stack, block->scheduler);
}
void resume(Fiber& f) {
  block->current = &f;
  races::before_switch_to(f.thread_of_races);
  change(block->scheduler, f.stack);
}
void wait(const uint64_t& counter, uint64_t value) {
  Fiber& f = *block->current;
  f.waits_on = &counter;
  f.value = value;
  pause();
  f.waits_on = nullptr;
}
[[noreturn]] void fail(const char* why) {
  if (block->failure.empty()) block->failure = why;
  for (;;) pause();
}
void pass_block_barrier() {
  block->last_votes = block->votes;
  block->last_alive = block->alive;
  block->arrived = block->votes = 0;
  ++block->passed;
}
void entry() {
  races::leave(&block->begin);
  block->body(block->context);
  Fiber& f = *block->current;
  f.done = true;
  races::arrive(&block->end);
  if (--block->alive > 0 && block->arrived == block->alive) pass_block_barrier();
  for (;;) pause();
}

std::string place(const Fiber& f) {
  return "thread " + std::to_string(f.thread.index.x) + "," + std::to_string(f.thread.index.y) + " of block " +
         std::to_string(f.thread.block.x);
}

bool can_run(const Fiber& f) { return !f.done && !(f.waits_on && *f.waits_on == f.value); }
int run_fiber(Block& b, Fiber& f) {  // the number of threads that have come to their end: 0 or 1
  resume(f);
  if (!b.failure.empty()) throw Error("emulated kernel: " + b.failure + ", " + place(f));
  return f.done;
}
void all_done(const Block& b) {
  for (const Fiber& f : b.fibers)
    if (!f.done) throw Error("emulated kernel: a barrier that not all threads reach, " + place(f));
}

// Every warp as far as it gets, its lanes in ascending order.
void run_in_order(Block& b) {
  for (int left = b.alive; left > 0;) {
    bool moved = false;
    for (size_t first = 0; first < b.fibers.size(); first += 32) {
      const size_t last = first + 32 < b.fibers.size() ? first + 32 : b.fibers.size();
      for (bool again = true; again;) {
        again = false;
        for (size_t k = first; k < last; ++k)
          if (can_run(b.fibers[k])) {
            left -= run_fiber(b, b.fibers[k]);
            again = moved = true;
          }
      }
    }
    if (!moved && left > 0) all_done(b);
  }
}
// Any thread that can run, drawn anew at every step.
void run_at_random(Block& b, uint64_t seed) {
  static thread_local uint64_t state = 0;
  if (state == 0) state = seed * 2654435761u + 88172645463325252ull;
  std::vector<size_t> ready;
  for (int left = b.alive; left > 0;) {
    ready.clear();
    for (size_t k = 0; k < b.fibers.size(); ++k)
      if (can_run(b.fibers[k])) ready.push_back(k);
    if (ready.empty()) return all_done(b);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    left -= run_fiber(b, b.fibers[ready[(state >> 11) % ready.size()]]);
  }
}
void run_block(Block& b) {
  static const char* const seed = std::getenv("SUBLEARN_EMULATED_ORDER");
  if (seed) run_at_random(b, std::strtoull(seed, nullptr, 10));
  else run_in_order(b);
}

}  // namespace

const Thread& self() { return block->current->thread; }
void* shared_memory() { return block->shared.data(); }
void yield() { pause(); }
unsigned lane() { return static_cast<unsigned>(block->current - block->fibers.data()) % 32; }

int block_vote(bool flag, int* alive) {
  Block& b = *block;
  b.votes += flag;
  const uint64_t before = b.passed;
  races::arrive(&b.order[before % 2]);
  if (++b.arrived == b.alive) pass_block_barrier();
  else wait(b.passed, before);
  races::leave(&b.order[before % 2]);
  if (alive) *alive = b.last_alive;
  return b.last_votes;
}

namespace {
const uint64_t* exchange(unsigned mask, uint64_t mine, bool barrier) {
  Block& b = *block;
  const size_t number = static_cast<size_t>(b.current - b.fibers.data()), warp = number / 32, lanes = b.fibers.size() - warp * 32;
  if (lanes < 32) mask &= (1u << lanes) - 1;  // the last warp may be short
  const unsigned l = number % 32;
  if (!(mask >> l & 1)) fail("a lane outside its own mask");
  WarpBarrier& w = b.warps[warp].of(mask);
  const uint64_t before = w.passed;
  uint64_t* shown = w.shown[before % 2];
  shown[l] = mine;
  w.arrived |= 1u << l;
  if (barrier) races::arrive(&w.order[before % 2]);
  if (w.arrived == mask) {
    w.arrived = 0;
    ++w.passed;
  } else {
    wait(w.passed, before);
  }
  if (barrier) races::leave(&w.order[before % 2]);
  return shown;
}
}  // namespace

void warp_barrier(unsigned mask) { exchange(mask, 0, true); }
uint64_t shown_by(unsigned mask, uint64_t mine, unsigned from) { return exchange(mask, mine, false)[from]; }
unsigned ballot(unsigned mask, bool flag) {
  const uint64_t* all = exchange(mask, flag, false);
  unsigned bits = 0;
  for (unsigned l = 0; l < 32; ++l)
    if ((mask >> l & 1) && all[l]) bits |= 1u << l;
  return bits;
}
unsigned joined(unsigned mask, unsigned mine, unsigned (*join)(unsigned, unsigned)) {
  const uint64_t* all = exchange(mask, mine, false);
  unsigned out = mine;
  for (unsigned l = 0; l < 32; ++l)
    if (mask >> l & 1) out = join(out, static_cast<unsigned>(all[l]));
  return out;
}

void run(dim3 grid, dim3 threads, size_t shared_bytes, void (*body)(void*), void* context) {
  const size_t count = size_t{threads.x} * threads.y * threads.z;
  require(count >= 1 && count <= kMostThreads, "emulated kernel: a block has 1 to 1024 threads");
  require(shared_bytes <= 227 * 1024, "emulated kernel: more than 227 KB of shared memory");
  static thread_local Block local;
  Block& b = local;
  if (!b.stacks) {
    void* memory = mmap(nullptr, kStackBytes * kMostThreads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    b.stacks = static_cast<char*>(memory);
  }
  block = &b;
  b.scheduler_of_races = races::current();
  b.body = body;
  b.context = context;
  const size_t words = (shared_bytes + 7) / 8;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        b.fibers.assign(count, Fiber{});
        b.warps.clear();
        b.warps.resize((count + 31) / 32);
        b.shared.assign(words + 8, ~uint64_t{0});
        for (size_t k = words; k < words + 8; ++k) b.shared[k] = kGuard;
        b.alive = static_cast<int>(count);
        b.arrived = b.votes = 0;
        b.failure.clear();
        for (size_t k = 0; k < count; ++k) {
          Fiber& f = b.fibers[k];
          const unsigned i = static_cast<unsigned>(k);
          f.thread = {{i % threads.x, i / threads.x % threads.y, i / (threads.x * threads.y)}, {x, y, z}, threads, grid};
          if (k == b.threads_of_races.size()) b.threads_of_races.push_back(races::created());
          f.thread_of_races = b.threads_of_races[k];
          prepare(f.stack, b.stacks + k * kStackBytes, kStackBytes, entry);
        }
        races::arrive(&b.begin);
        run_block(b);
        races::leave(&b.end);
        for (size_t k = words; k < words + 8; ++k) require(b.shared[k] == kGuard, "emulated kernel: a write past the end of shared memory");
      }
}

}  // namespace emulate
}  // namespace sl
