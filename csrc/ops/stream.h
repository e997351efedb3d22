// stream.h (ops): where a device operation runs and where its arrays live. Opaque here: only csrc/cuda knows what a handle is.
//
// A Stream is made for one operation: it makes `device` current, hands out device workspace in stream order, and at the end of the
// scope gives the workspace back (also in stream order: nothing waits) and makes the previous device current again.
// A Queue owns a stream for many operations; Memory and Pinned own memory of the device and of the host.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
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
  void carry(void* pinned_to, const void* device_from, size_t bytes);   // the same without waiting
  void clear(void* device_to, size_t bytes);
  void repeat(void* device_to, const void* device_from, size_t bytes, int64_t count);  // `count` copies one after the other; 0 mod 4 bytes
  void copy(void* device_to, const void* device_from, size_t bytes);
  // Rows `which` [count] (on the device) of an array, one after the other.
  void gather(void* device_to, const void* device_from, size_t row_bytes, const int* which, int64_t count);
  void wait();
  void let_wait(void* other);  // what another stream does from now on waits for what this one has been given so far

 private:
  int previous_;
  std::vector<void*> taken_;
};

// A stream of its own, in no order with the default stream.
class Queue {
 public:
  explicit Queue(int device);
  ~Queue();  // waits for what runs
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  void* handle() const { return handle_; }
  int device() const { return device_; }
  bool idle() const;  // an operation that failed is an Error here

 private:
  void* handle_ = nullptr;
  int device_;
};

// Device memory that outlives an operation. With a queue it is taken and given back in the queue's order, and nothing waits; without, its
// release waits for the device, whoever used it.
class Memory {
 public:
  Memory() = default;
  Memory(size_t bytes, int device, std::shared_ptr<const Queue> queue);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  int device_ = 0;
  std::shared_ptr<const Queue> queue_;
};

// Host memory that the queue's operations read and write while the host goes on.
class Pinned {
 public:
  Pinned(size_t bytes, std::shared_ptr<const Queue> queue);
  ~Pinned();  // waits for the queue
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  std::shared_ptr<const Queue> queue_;
};

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
