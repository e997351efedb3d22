// cuda.h (bind): what the files of _cuda share. Arguments and results are device arrays; an operation runs on the stream of the caller,
// without the GIL. Nothing waits for the device except `Array.numpy` and `Queue.wait`.
#pragma once
#include <pybind11/stl.h>

#include <memory>

#include "bind/arguments.h"
#include "ops/cuda.h"

namespace cuda_bindings {
using namespace bindings;

// A row-major array on a device: memory of its own, or a view that keeps `keep` alive.
struct Array {
  void* data = nullptr;
  std::vector<int64_t> shape;
  py::dtype dtype;
  int device = 0;
  int64_t stream = -1;  // on which a call wrote it, -1: none did
  int64_t read_on = -1;  // the stream that reads memory lent to us, -1: the memory is not lent
  std::unique_ptr<sl::cuda::Memory> own;
  py::object keep;

  Array(std::vector<int64_t> shape, py::dtype dtype, int device, std::shared_ptr<sl::cuda::Queue> queue = nullptr);
  // In the order of a call's stream. of_a_call: given back in that order too, while the call's stream lives.
  Array(std::vector<int64_t> shape, py::dtype dtype, int device, uintptr_t of_stream, bool of_a_call);
  Array(void* data, std::vector<int64_t> shape, py::dtype dtype, int device, py::object keep);
  Array(const Array&) = delete;
  ~Array();
  // The same memory as another array, written on the same stream.
  static std::shared_ptr<Array> part(const std::shared_ptr<Array>& whole, void* data, std::vector<int64_t> shape);
  int64_t count() const {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return n;
  }
  size_t bytes() const { return static_cast<size_t>(count()) * static_cast<size_t>(dtype.itemsize()); }
  int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
};
using Ref = std::shared_ptr<Array>;

// The numbers of an array of this type, after a check of its shape (-1: any).
template <class T> T* numbers(const Array& a, const std::vector<int64_t>& shape, const char* name) {
  check(a.dtype.is(py::dtype::of<T>()) || a.dtype.equal(py::dtype::of<T>()), std::string(name) + ": wrong dtype");
  bool same = a.shape.size() == shape.size();
  for (size_t k = 0; same && k < shape.size(); ++k) same = shape[k] == -1 || a.shape[k] == shape[k];
  check(same, std::string(name) + ": wrong shape");
  return static_cast<T*>(a.data);
}
template <class T> bool holds(const Array& a) { return a.dtype.equal(py::dtype::of<T>()); }

// Rows [batch][width] or one row for all: the pointer, and its stride.
template <class T> const T* batched(const Array& a, int64_t batch, int64_t width, int64_t& stride, const char* name) {
  check(a.rows() == batch || a.rows() == 1, std::string(name) + ": wrong batch");
  stride = a.rows() == 1 ? 0 : width;
  return numbers<T>(a, {-1, width}, name);
}

template <class T> sl::Students<T> students(const sl::Shape& s, const Array& theta, const Array& x, int64_t batch) {
  sl::Students<T> in;
  in.shape = &s;
  in.batch = batch;
  in.theta = batched<T>(theta, batch, s.size, in.theta_stride, "theta");
  in.x = batched<T>(x, batch, s.inputs_size, in.x_stride, "x");
  return in;
}

inline const int8_t* opened(const Array* open, int64_t batch) { return open ? numbers<int8_t>(*open, {batch}, "open") : nullptr; }

inline std::vector<char> group_flags(const sl::Shape& s, const std::vector<bool>& learns) {
  check(static_cast<int>(learns.size()) == s.groups, "learns: one flag per group");
  std::vector<char> out(sl::kMaxGroups, 0);
  for (int g = 0; g < s.groups; ++g) out[static_cast<size_t>(g)] = learns[static_cast<size_t>(g)];
  return out;
}

template <class F> void run(const Array& on, uintptr_t handle, F&& operation) {
  const int device = on.device;
  WithoutGil unlocked;
  sl::cuda::Stream stream(reinterpret_cast<void*>(handle), device);
  operation(stream);
}

template <class T> void copy_theta(const sl::Students<T>& in, T* out, sl::cuda::Stream& on) {
  const size_t bytes = sizeof(T) * static_cast<size_t>(in.shape->size);
  if (out == in.theta) return;
  if (in.theta_stride) on.copy(out, in.theta, bytes * static_cast<size_t>(in.batch));
  else on.repeat(out, in.theta, bytes, in.batch);
}

// One per family of functions.
void register_arrays(py::module_&);
void register_devices(py::module_&);
void register_ranks(py::module_&);
void register_projection(py::module_&);
void register_networks(py::module_&);
void register_fit(py::module_&);
void register_searches(py::module_&);
void register_screen(py::module_&);
void register_draws(py::module_&);

}  // namespace cuda_bindings
