// Streams, device memory and questions about devices. See ops/stream.h.
#include <map>
#include <mutex>

#include "cuda/launch.cuh"
#include "ops/cuda.h"
#include "ops/stream.h"

namespace sl {
namespace cuda {

namespace {
cudaStream_t native(void* handle) { return static_cast<cudaStream_t>(handle); }

struct On {  // makes a device current for a scope
  int before = 0;
  explicit On(int device) {
    SL_CUDA(cudaGetDevice(&before));
    if (before != device) SL_CUDA(cudaSetDevice(device));
  }
  ~On() { cudaSetDevice(before); }
};

// Our pool of a device, null where the device has no pools (some virtual GPUs): then memory comes from cudaMalloc, and frees wait.
cudaMemPool_t pool_of(int device) {
  static std::mutex mutex;
  static std::map<int, cudaMemPool_t> pools;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = pools.find(device);
  if (found != pools.end()) return found->second;
  int supported = 0;
  SL_CUDA(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, device));
  cudaMemPool_t pool = nullptr;
  if (supported) {
    cudaMemPoolProps about = {};
    about.allocType = cudaMemAllocationTypePinned;
    about.location.type = cudaMemLocationTypeDevice;
    about.location.id = device;
    SL_CUDA(cudaMemPoolCreate(&pool, &about));
    uint64_t kept = kKept;
    SL_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept));
  }
  return pools[device] = pool;
}
void* take(size_t bytes, int device, void* stream) {
  void* memory = nullptr;
  cudaMemPool_t pool = pool_of(device);
  const cudaError_t code =
      pool ? cudaMallocFromPoolAsync(&memory, bytes ? bytes : 1, pool, native(stream)) : cudaMalloc(&memory, bytes ? bytes : 1);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw OutOfMemory(std::to_string(bytes) + " bytes of device memory wanted, " + std::to_string(free_bytes(device)) + " are free");
  }
  check(code, "device memory");
  return memory;
}
void give(void* memory, int device, void* stream) {
  if (pool_of(device)) cudaFreeAsync(memory, native(stream));
  else cudaFree(memory);
}
}  // namespace

Stream::Stream(void* handle_, int device_) : handle(handle_), device(device_), previous_(device_) {
  SL_CUDA(cudaGetDevice(&previous_));
  if (previous_ != device) SL_CUDA(cudaSetDevice(device));
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  const cudaError_t code = cudaStreamIsCapturing(native(handle), &capture);
  if (code == cudaSuccess && capture == cudaStreamCaptureStatusNone) return;
  if (code != cudaSuccess) cudaGetLastError();
  if (previous_ != device) cudaSetDevice(previous_);
  if (code != cudaSuccess && code != cudaErrorStreamCaptureImplicit) check(code, "cudaStreamIsCapturing");
  throw Error("stream: a CUDA graph is being captured; calls of sublearn copy tables that live as long as the call and cannot be replayed");
}
Stream::~Stream() {
  for (void* memory : taken_) give(memory, device, handle);
  if (previous_ != device) cudaSetDevice(previous_);
}
void* Stream::scratch(size_t bytes) {
  taken_.reserve(taken_.size() + 1);
  taken_.push_back(take(bytes, device, handle));
  return taken_.back();
}
// From pageable memory the runtime copies the source before it returns, from pinned memory it does not.
void Stream::upload(void* to, const void* from, size_t bytes) {
  if (bytes) SL_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, native(handle)));
}
void Stream::download(void* to, const void* from, size_t bytes) {
  if (bytes) SL_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, native(handle)));
  wait();
}
void Stream::carry(void* to, const void* from, size_t bytes) {
  if (bytes) SL_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, native(handle)));
}
void Stream::clear(void* to, size_t bytes) {
  if (bytes) SL_CUDA(cudaMemsetAsync(to, 0, bytes, native(handle)));
}
void Stream::copy(void* to, const void* from, size_t bytes) {
  if (bytes) SL_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, native(handle)));
}
static __global__ void repeat_kernel(uint32_t* to, const uint32_t* from, int64_t words, int64_t all) {
  for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < all; k += static_cast<int64_t>(gridDim.x) * blockDim.x)
    to[k] = from[k % words];
}
void Stream::repeat(void* to, const void* from, size_t bytes, int64_t count) {
  const int64_t words = static_cast<int64_t>(bytes / 4), all = words * count, blocks = (all + 255) / 256;
  if (all)
    launch(repeat_kernel, dim3(static_cast<unsigned>(blocks < 65536 ? blocks : 65536)), dim3(256), 0, *this, static_cast<uint32_t*>(to),
           static_cast<const uint32_t*>(from), words, all);
}
static __global__ void gather_kernel(unsigned char* to, const unsigned char* from, int64_t row_bytes, const int* which, int64_t all) {
  for (int64_t k = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; k < all; k += int64_t{gridDim.x} * blockDim.x)
    to[k] = from[which[k / row_bytes] * row_bytes + k % row_bytes];
}
void Stream::gather(void* to, const void* from, size_t row_bytes, const int* which, int64_t count) {
  const int64_t all = static_cast<int64_t>(row_bytes) * count, blocks = (all + 255) / 256;
  if (all)
    launch(gather_kernel, dim3(static_cast<unsigned>(blocks < 65536 ? blocks : 65536)), dim3(256), 0, *this,
           static_cast<unsigned char*>(to), static_cast<const unsigned char*>(from), static_cast<int64_t>(row_bytes), which, all);
}
void Stream::wait() { SL_CUDA(cudaStreamSynchronize(native(handle))); }
void Stream::let_wait(void* other) {
  cudaEvent_t event;
  SL_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  cudaError_t code = cudaEventRecord(event, native(handle));
  if (code == cudaSuccess) code = cudaStreamWaitEvent(native(other), event, 0);
  cudaEventDestroy(event);  // given back when it has happened
  check(code, "cudaStreamWaitEvent");
}

Queue::Queue(int device) : device_(device) {
  const On on(device);
  cudaStream_t made;
  SL_CUDA(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
  handle_ = made;
}
Queue::~Queue() {
  cudaStreamSynchronize(native(handle_));  // memory given back in its order is the device's again
  cudaStreamDestroy(native(handle_));
}
bool Queue::idle() const {
  const cudaError_t code = cudaStreamQuery(native(handle_));
  if (code == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  check(code, "cudaStreamQuery");
  return true;
}

Memory::Memory(size_t bytes, int device, std::shared_ptr<const Queue> queue)
    : device_(device), stream_(queue->handle()), in_order_(true), queue_(std::move(queue)) {
  const On on(device);
  data_ = take(bytes, device, stream_);
}
Memory::Memory(size_t bytes, int device, void* stream, bool of_a_call) : device_(device), stream_(stream), in_order_(of_a_call) {
  const On on(device);
  data_ = take(bytes, device, stream_);
}
Memory::~Memory() {
  int before = 0;
  if (!data_ || cudaGetDevice(&before) != cudaSuccess) return;
  cudaSetDevice(device_);
  if (in_order_) {
    give(data_, device_, stream_);
  } else {
    cudaDeviceSynchronize();  // memory of a pool may be freed this way once nobody uses it, and the stream may be gone by now
    cudaFree(data_);
  }
  cudaSetDevice(before);
}

Mark::Mark(void* stream, int device) {
  const On on(device);
  cudaEvent_t made;
  SL_CUDA(cudaEventCreateWithFlags(&made, cudaEventDisableTiming));
  event_ = made;
  const cudaError_t code = cudaEventRecord(made, native(stream));
  if (code != cudaSuccess) cudaEventDestroy(made);
  check(code, "cudaEventRecord");
}
Mark::~Mark() { cudaEventDestroy(static_cast<cudaEvent_t>(event_)); }
bool Mark::passed() const {
  const cudaError_t code = cudaEventQuery(static_cast<cudaEvent_t>(event_));
  if (code != cudaSuccess) cudaGetLastError();
  return code != cudaErrorNotReady;
}

Pinned::Pinned(size_t bytes, std::shared_ptr<const Queue> queue) : queue_(std::move(queue)) {
  const On on(queue_->device());
  SL_CUDA(cudaMallocHost(&data_, bytes ? bytes : 1));
}
Pinned::~Pinned() {
  cudaStreamSynchronize(native(queue_->handle()));
  cudaFreeHost(data_);
}

int device_count() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}
std::string why_no_device() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaSuccess) return count ? "" : "no NVIDIA GPU found";
  cudaGetLastError();
  if (code == cudaErrorInsufficientDriver) return "no NVIDIA driver, or one too old for this build";
  return cudaGetErrorString(code);
}
Device device_info(int device) {
  cudaDeviceProp p;
  SL_CUDA(cudaGetDeviceProperties(&p, device));
  const On on(device);
  Device d{p.name, p.major, p.minor, p.multiProcessorCount, 0, 0};
  SL_CUDA(cudaMemGetInfo(&d.free_bytes, &d.total_bytes));
  d.free_bytes = free_bytes(device);
  return d;
}
size_t free_bytes(int device) {
  const On on(device);
  size_t free = 0, total = 0;
  SL_CUDA(cudaMemGetInfo(&free, &total));
  if (cudaMemPool_t pool = pool_of(device)) {
    uint64_t held = 0, used = 0;
    SL_CUDA(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &held));
    SL_CUDA(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
    free += held > used ? static_cast<size_t>(held - used) : 0;
  }
  return free;
}
bool pinned_on_host(const void* memory) {
  cudaPointerAttributes a;
  if (cudaPointerGetAttributes(&a, memory) == cudaSuccess) return a.type == cudaMemoryTypeHost;
  cudaGetLastError();
  return false;
}
StripTuning& strip_tuning() {
  static StripTuning tuning;
  return tuning;
}
int multiprocessors(int device) {
  int count = 0;
  SL_CUDA(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}
int device_of(const void* memory) {
  cudaPointerAttributes a;
  if (cudaPointerGetAttributes(&a, memory) != cudaSuccess) {
    cudaGetLastError();
    return -1;
  }
  return a.type == cudaMemoryTypeDevice || a.type == cudaMemoryTypeManaged ? a.device : -1;
}

}  // namespace cuda
}  // namespace sl
