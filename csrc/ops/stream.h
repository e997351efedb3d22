// stream.h (ops): where a device operation runs. Opaque here: only csrc/cuda knows what a handle is.
//
// A Stream is made for one operation: it makes `device` current, hands out device workspace in stream order, and at the end of the
// scope gives the workspace back (also in stream order: nothing waits) and makes the previous device current again.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sl {
namespace cuda {

struct Stream {
  void* handle;  // cudaStream_t; null is the default stream
  int device;

  Stream(void* handle, int device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void* scratch(size_t bytes);                                     // device memory until the end of the operation; not zeroed
  template <class T> T* scratch(int64_t count) { return static_cast<T*>(scratch(sizeof(T) * static_cast<size_t>(count))); }
  void upload(void* device_to, const void* host_from, size_t bytes);    // the host memory may be reused on return
  void download(void* host_to, const void* device_from, size_t bytes);  // waits for the stream
  void clear(void* device_to, size_t bytes);
  void repeat(void* device_to, const void* device_from, size_t bytes, int64_t count);  // `count` copies one after the other; 0 mod 4 bytes
  void copy(void* device_to, const void* device_from, size_t bytes);
  void wait();

 private:
  int previous_;
  std::vector<void*> taken_;
};

// Memory that outlives an operation (arrays of the Python module).
void* allocate(size_t bytes, int device);
void release(void* memory, int device) noexcept;

struct Device {
  std::string name;
  int major, minor, multiprocessors;
  size_t total_bytes, free_bytes;
};
int device_count() noexcept;  // 0 where there is no driver or no GPU
std::string why_no_device();  // the driver's words
Device device_info(int device);
int multiprocessors(int device);
int device_of(const void* memory);  // -1: not device memory

}  // namespace cuda
}  // namespace sl
