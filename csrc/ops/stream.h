// stream.h (ops): where a device operation runs and where its arrays live. Opaque here: only csrc/cuda knows what a handle is.
//
// A Stream is made for one operation: it makes `device` current, hands out device workspace in stream order, and at the end of the
// scope gives the workspace back (also in stream order: nothing waits) and makes the previous device current again.
// A Queue owns a stream for many operations; Memory and Pinned own memory of the device and of the host; a Mark is a point of a stream.
// Device memory comes from a pool of our own, one per device: what is given back stays mapped, up to kKept bytes, and the pools of other
// libraries keep their settings.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sl {
namespace cuda {

constexpr size_t kKept = size_t{4} << 30;  // bytes of unused memory a pool keeps from the driver

// An Error where a CUDA graph is being captured on the stream: the graph would hold addresses of tables that live only as long as a call.
struct Stream {
  void* handle;  // cudaStream_t; null is the default stream
  int device;

  Stream(void* handle, int device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void* scratch(size_t bytes);                                     // device memory until the end of the operation; not zeroed
  template <class T> T* scratch(int64_t count) { return static_cast<T*>(scratch(sizeof(T) * static_cast<size_t>(count))); }
  void upload(void* device_to, const void* host_from, size_t bytes);  // pageable memory may be reused on return; pinned after the stream
  void download(void* host_to, const void* device_from, size_t bytes);  // waits for the stream
  void carry(void* pinned_to, const void* device_from, size_t bytes);  // the same without waiting
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

// Device memory that outlives an operation. What must happen before it can be used by others:
//   of a queue       taken and given back in the queue's order; nothing waits
//   of a call        the same in the order of the call's stream, which must live as long
//   for any reader   taken in the order of `stream`; its release waits for the device, whoever used it
class Memory {
 public:
  Memory() = default;
  Memory(size_t bytes, int device, std::shared_ptr<const Queue> queue);
  Memory(size_t bytes, int device, void* stream, bool of_a_call);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  int device_ = 0;
  void* stream_ = nullptr;
  bool in_order_ = false;
  std::shared_ptr<const Queue> queue_;
};

// What a stream has been given up to now: passed() when all of it is done.
class Mark {
 public:
  Mark(void* stream, int device);
  ~Mark();
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;
  bool passed() const;  // true also where the device has failed: there is nothing to wait for

 private:
  void* event_ = nullptr;
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
size_t free_bytes(int device);  // what can be had, the unused part of our pool included
bool pinned_on_host(const void* memory);
int multiprocessors(int device);
int device_of(const void* memory);  // -1: not device memory

}  // namespace cuda
}  // namespace sl
