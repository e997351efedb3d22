// Streams, events and memory of the emulated device. See runtime.h.
#include "cuda/emulation/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cuda/emulation/emulate.h"

namespace {

struct Line;
using Point = std::pair<std::shared_ptr<Line>, uint64_t>;  // so many things of a stream are done
struct Work {
  std::function<void()> what;
  std::vector<Point> after;
};
struct Line {  // a stream
  bool blocking = false;  // in order with the default stream
  uint64_t done = 0;
  std::deque<Work> waiting;
  uint64_t given() const { return done + waiting.size(); }
};

struct Device {
  std::mutex mutex;  // of all that follows; held while deferred work runs
  std::map<cudaStream_t, std::shared_ptr<Line>> lines;
  std::string failure, told;  // of a kernel: to be told by the next call that waits, and what was told last
  std::deque<unsigned char*> given_back;  // kept for a while, so that who still reads it reads NaN
  size_t given_back_bytes = 0, in_use = 0;
  std::map<const char*, size_t> pinned;  // begin -> bytes
  std::map<const void*, size_t> shared_allowed;
  uintptr_t last_stream = 0x10000;
  uint64_t order = 0;  // state of the random order, 0: none
};
Device& device() {
  static Device* const d = [] {
    auto* made = new Device;  // never destroyed: arrays may go after it
    if (const char* seed = std::getenv("SUBLEARN_EMULATED_ORDER"))
      made->order = std::strtoull(seed, nullptr, 10) * 2654435761u + 88172645463325252ull;
    return made;
  }();
  return *d;
}
bool deferred() {
  static const bool yes = [] {
    const char* how = std::getenv("SUBLEARN_EMULATED_STREAMS");
    return how && std::string(how) == "deferred";
  }();
  return yes;
}
bool has_pools() {
  static const bool yes = [] {
    const char* how = std::getenv("SUBLEARN_EMULATED_POOLS");
    return !how || std::string(how) != "0";
  }();
  return yes;
}
using Lock = std::lock_guard<std::mutex>;

// ---- what waits; with the lock ------------------------------------------------------------------------------------------------

// Of a handle that we did not make (the tests' stand-ins for other libraries): a stream in no order with the default one, as torch's are.
std::shared_ptr<Line>& line_of(cudaStream_t stream) {
  if (stream == reinterpret_cast<cudaStream_t>(1)) stream = nullptr;  // cudaStreamLegacy
  auto& line = device().lines[stream];
  if (!line) {
    line = std::make_shared<Line>();
    line->blocking = stream == nullptr;
  }
  return line;
}
bool is_done(const Point& p) { return p.first->done >= p.second; }
bool can_run(const Line& line) {
  return !line.waiting.empty() && std::all_of(line.waiting.front().after.begin(), line.waiting.front().after.end(), is_done);
}
void run_first(Line& line) {
  try {
    line.waiting.front().what();
  } catch (const std::exception& error) {
    if (device().failure.empty()) device().failure = error.what();
  }
  line.waiting.pop_front();
  ++line.done;
}
uint64_t drawn() {
  uint64_t& state = device().order;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state >> 11;
}
std::vector<Line*> all_that_can_run() {
  std::vector<Line*> out;
  for (auto& each : device().lines)
    if (can_run(*each.second)) out.push_back(each.second.get());
  return out;
}
// One thing that brings `line` on: its first, or what that one waits for. With a random order, as often another that may run now.
void step(Line& line) {
  if (device().order && drawn() % 2) {
    const auto ready = all_that_can_run();
    return run_first(*ready[drawn() % ready.size()]);
  }
  Line* at = &line;
  while (!can_run(*at)) at = std::find_if_not(at->waiting.front().after.begin(), at->waiting.front().after.end(), is_done)->first.get();
  run_first(*at);
}
void run_until(const Point& p) {
  while (!is_done(p)) step(*p.first);
}
void run_all() {
  for (auto ready = all_that_can_run(); !ready.empty(); ready = all_that_can_run())
    run_first(*ready[device().order ? drawn() % ready.size() : 0]);
}
// Queues work behind what the stream has and, where the default stream is on one side and a blocking stream on the other, behind that.
Point give(cudaStream_t stream, std::function<void()> what, std::vector<Point> after = {}) {
  std::shared_ptr<Line> line = line_of(stream);
  const std::shared_ptr<Line> legacy = line_of(nullptr);
  if (line->blocking)
    for (auto& each : device().lines) {
      const std::shared_ptr<Line>& other = each.second;
      if (other != line && other->blocking && (line == legacy || other == legacy)) after.emplace_back(other, other->given());
    }
  after.erase(std::remove_if(after.begin(), after.end(), is_done), after.end());
  line->waiting.push_back({std::move(what), std::move(after)});
  return {line, line->given()};
}
cudaError_t tell() {
  if (device().failure.empty()) return cudaSuccess;
  device().told = std::exchange(device().failure, {});  // told once; a GPU would stay failed
  return cudaErrorLaunchFailure;
}
void put(cudaStream_t stream, std::function<void()> what) {
  if (!deferred()) return what();
  const Lock lock(device().mutex);
  give(stream, std::move(what));
}

// ---- memory -------------------------------------------------------------------------------------------------------------------

constexpr size_t kHead = 256;  // before each piece: what follows
struct Piece {
  size_t bytes;
  bool of_pool;
};
Piece& about(void* p) { return *reinterpret_cast<Piece*>(static_cast<unsigned char*>(p) - kHead); }
size_t capacity() {
  const char* given = std::getenv("SUBLEARN_EMULATED_MEMORY");
  return given ? std::strtoull(given, nullptr, 10) : size_t{1} << 30;
}
void poison(void* p) { std::memset(p, 0xff, about(p).bytes); }

cudaError_t take(void** out, size_t bytes, bool of_pool) {
  *out = nullptr;
  const Lock lock(device().mutex);
  if (device().in_use + bytes > capacity()) return cudaErrorMemoryAllocation;
  auto* piece = static_cast<unsigned char*>(std::aligned_alloc(256, kHead + (bytes + 255) / 256 * 256));
  if (!piece) return cudaErrorMemoryAllocation;
  device().in_use += bytes;
  *out = piece + kHead;
  about(*out) = {bytes, of_pool};
  poison(*out);
  return cudaSuccess;
}
void end(void* p) {  // with the lock, when its turn has come
  constexpr size_t kKeptBytes = size_t{64} << 20;
  unsigned char* piece = static_cast<unsigned char*>(p) - kHead;
  if (!deferred()) return std::free(piece);
  poison(p);
  device().given_back.push_back(piece);
  device().given_back_bytes += about(p).bytes;
  while (device().given_back_bytes > kKeptBytes) {
    unsigned char* oldest = device().given_back.front();
    device().given_back.pop_front();
    device().given_back_bytes -= about(oldest + kHead).bytes;
    std::free(oldest);
  }
}
bool is_pinned(const void* p) {  // with the lock
  const char* at = static_cast<const char*>(p);
  auto next = device().pinned.upper_bound(at);
  return next != device().pinned.begin() && at < std::prev(next)->first + std::prev(next)->second;
}

}  // namespace

struct CUevent_st {
  Point when;
  unsigned asked = 0;
};

namespace sl {
namespace emulate {
Pretence& pretence() {
  static Pretence p;
  return p;
}
cudaError_t launch(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::function<void()> body) {
  {
    const Lock lock(device().mutex);
    const auto allowed = device().shared_allowed.find(kernel);
    if (shared_bytes > (allowed == device().shared_allowed.end() ? kSharedUnlessAllowed : allowed->second)) return cudaErrorInvalidValue;
  }
  put(stream, [=, held = std::move(body)]() mutable {
    run(grid, block, shared_bytes, [](void* f) { (*static_cast<std::function<void()>*>(f))(); }, &held);
  });
  return cudaSuccess;
}
}  // namespace emulate
}  // namespace sl

// ---- devices ------------------------------------------------------------------------------------------------------------------

cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorNotSupported: return "operation not supported";
    case cudaErrorLaunchFailure: return device().told.c_str();
    default: return "emulated error";
  }
}
const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorNotSupported: return "cudaErrorNotSupported";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    default: return "cudaErrorInvalidDevice";
  }
}
cudaError_t cudaGetDevice(int* d) {
  *d = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int d) { return d == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetDeviceCount(int* n) {
  *n = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int d) {
  *p = {"emulated on the CPU", 0, 0, 2, sl::emulate::kMostShared};
  return cudaSetDevice(d);
}
cudaError_t cudaDeviceGetAttribute(int* out, cudaDeviceAttr a, int d) {
  switch (a) {
    case cudaDevAttrMultiProcessorCount: *out = 2; break;
    case cudaDevAttrMemoryPoolsSupported: *out = has_pools(); break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *out = static_cast<int>(sl::emulate::kMostShared); break;
  }
  return cudaSetDevice(d);
}
cudaError_t cudaDeviceSynchronize() {
  const Lock lock(device().mutex);
  run_all();
  return tell();
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void*) {
  out->sharedSizeBytes = 0;
  return cudaSuccess;
}
// The least that a kernel was ever allowed holds: another host thread might just have allowed it again.
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute what, int value) {
  if (what != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<size_t>(value) > sl::emulate::kMostShared) return cudaErrorInvalidValue;
  const Lock lock(device().mutex);
  const auto at = device().shared_allowed.emplace(kernel, value).first;
  at->second = std::min(at->second, static_cast<size_t>(value));
  return cudaSuccess;
}

// ---- memory: 1 GiB, or SUBLEARN_EMULATED_MEMORY bytes. Fresh memory is all ones: NaN as a number, -1 as an integer. ----------------

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  const Lock lock(device().mutex);
  *total = capacity();
  *free_bytes = *total - std::min(device().in_use, *total);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* p) {  // the tests' device arrays may be numpy's
  const Lock lock(device().mutex);
  *out = {is_pinned(p) && !sl::emulate::pretence().pageable ? cudaMemoryTypeHost : cudaMemoryTypeDevice, 0};
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** out, size_t bytes) { return take(out, bytes, false); }
// Waits for the device, but not for memory of a pool: who frees that this way says that nobody uses it any more.
cudaError_t cudaFree(void* p) {
  if (!p) return cudaSuccess;
  const Lock lock(device().mutex);
  if (!about(p).of_pool) run_all();
  device().in_use -= about(p).bytes;
  end(p);
  return cudaSuccess;
}
cudaError_t cudaMemPoolCreate(cudaMemPool_t* out, const cudaMemPoolProps*) {
  static int one;  // nothing is behind it but its address
  *out = reinterpret_cast<cudaMemPool_t>(&one);
  return has_pools() ? cudaSuccess : cudaErrorNotSupported;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* out) {
  *static_cast<uint64_t*>(out) = 0;
  return cudaSuccess;
}
// The memory is the caller's when the stream comes to it: what others wrote before is lost. Its bytes count from the call on, and until
// the call that gives it back: what a stream takes later may be the same memory.
cudaError_t cudaMallocFromPoolAsync(void** out, size_t bytes, cudaMemPool_t, cudaStream_t stream) {
  if (!has_pools()) return cudaErrorNotSupported;
  const cudaError_t code = take(out, bytes, true);
  if (code == cudaSuccess && deferred()) put(stream, [p = *out] { poison(p); });
  return code;
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  if (!has_pools()) return cudaErrorNotSupported;
  if (!p) return cudaSuccess;
  const Lock lock(device().mutex);
  device().in_use -= about(p).bytes;
  if (deferred()) give(stream, [p] { end(p); });
  else end(p);
  return cudaSuccess;
}
// From pageable memory the source is copied at the call, to pageable memory the call waits; pinned memory is read and written late.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (!deferred()) {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
  }
  const Lock lock(device().mutex);
  if (kind == cudaMemcpyHostToDevice && !is_pinned(from)) {
    const char* begin = static_cast<const char*>(from);
    give(stream, [to, staged = std::vector<char>(begin, begin + bytes)] { std::memcpy(to, staged.data(), staged.size()); });
    return cudaSuccess;
  }
  const Point done = give(stream, [=] { std::memcpy(to, from, bytes); });
  if (kind != cudaMemcpyDeviceToHost || is_pinned(to)) return cudaSuccess;
  run_until(done);
  return tell();
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  put(stream, [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** out, size_t bytes) {
  *out = std::malloc(bytes);
  if (!*out) return cudaErrorMemoryAllocation;
  const Lock lock(device().mutex);
  device().pinned[static_cast<const char*>(*out)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  {
    const Lock lock(device().mutex);
    device().pinned.erase(static_cast<const char*>(p));
  }
  std::free(p);
  return cudaSuccess;
}

// ---- streams and events -------------------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned flags) {
  const Lock lock(device().mutex);
  *out = reinterpret_cast<cudaStream_t>(device().last_stream += 16);  // never used again
  line_of(*out)->blocking = !(flags & cudaStreamNonBlocking);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(device().mutex);
  const auto line = device().lines.find(stream);
  if (line == device().lines.end()) return cudaErrorInvalidValue;
  run_until({line->second, line->second->given()});  // CUDA returns at once; nothing can tell, as others may run meanwhile here too
  device().lines.erase(line);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(device().mutex);
  const std::shared_ptr<Line> line = line_of(stream);
  run_until({line, line->given()});
  return tell();
}
// Questions are answered first; then one thing may run, so that who asks in a loop comes to an end.
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Lock lock(device().mutex);
  Line& line = *line_of(stream);
  if (line.waiting.empty()) return tell();
  step(line);
  return cudaErrorNotReady;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* out) {
  *out = sl::emulate::pretence().capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(device().mutex);
  if (event->when.first && !is_done(event->when)) give(stream, [] {}, {event->when});
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned) {
  *out = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (!deferred()) return cudaSuccess;
  const Lock lock(device().mutex);
  event->when = give(stream, [] {});
  event->asked = 0;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const sl::emulate::Pretence& pretence = sl::emulate::pretence();
  if (pretence.busy) return cudaErrorNotReady;
  const Lock lock(device().mutex);
  if (pretence.passed || !event->when.first || is_done(event->when)) return cudaSuccess;
  if (++event->asked % 16 == 0) step(*event->when.first);  // few questions move nothing: the library asks in passing
  return cudaErrorNotReady;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
