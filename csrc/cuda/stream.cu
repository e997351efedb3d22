// Streams, device memory and questions about devices. See ops/stream.h.
#include "ops/stream.h"

#include "cuda/launch.cuh"
#include "ops/cuda.h"

namespace sl {
namespace cuda {

static cudaStream_t native(void* handle) { return static_cast<cudaStream_t>(handle); }

Stream::Stream(void* handle_, int device_) : handle(handle_), device(device_), previous_(device_) {
  SL_CUDA(cudaGetDevice(&previous_));
  if (previous_ != device) SL_CUDA(cudaSetDevice(device));
}
Stream::~Stream() {
  for (void* memory : taken_) cudaFreeAsync(memory, native(handle));
  if (previous_ != device) cudaSetDevice(previous_);
}
void* Stream::scratch(size_t bytes) {
  void* memory = nullptr;
  taken_.reserve(taken_.size() + 1);
  SL_CUDA(cudaMallocAsync(&memory, bytes ? bytes : 1, native(handle)));
  taken_.push_back(memory);
  return memory;
}
// From pageable memory the runtime copies the source before it returns.
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

namespace {
struct On {  // makes a device current for a scope
  int before = 0;
  explicit On(int device) {
    SL_CUDA(cudaGetDevice(&before));
    SL_CUDA(cudaSetDevice(device));
  }
  ~On() { cudaSetDevice(before); }
};
}  // namespace

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

Memory::Memory(size_t bytes, int device, std::shared_ptr<const Queue> queue) : device_(device), queue_(std::move(queue)) {
  const On on(device);
  if (queue_) SL_CUDA(cudaMallocAsync(&data_, bytes ? bytes : 1, native(queue_->handle())));
  else SL_CUDA(cudaMalloc(&data_, bytes ? bytes : 1));
}
Memory::~Memory() {
  int before = 0;
  if (!data_ || cudaGetDevice(&before) != cudaSuccess) return;
  cudaSetDevice(device_);
  if (queue_) cudaFreeAsync(data_, native(queue_->handle()));
  else cudaFree(data_);
  cudaSetDevice(before);
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
  return d;
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
