// Queues and device arrays: made, moved, shared with other libraries.
#include <chrono>
#include <string>
#include <thread>

#include "bind/cuda.h"
#include "bind/dlpack.h"

namespace cuda_bindings {
namespace {

// Memory of other libraries that came by DLPack. Its owner may hand it to others as soon as we let go of it, in an order of its own, so it
// is kept until all that our stream had been given when its last array went is done. Looked through when arrays come and go.
struct Lent {
  std::unique_ptr<sl::cuda::Mark> mark;
  py::object owner;
};
std::vector<Lent>& lent() {
  static auto* const all = new std::vector<Lent>;  // never destroyed: the interpreter may be gone by then
  return *all;
}
void give_back() {  // with the GIL
  std::vector<Lent> done, still;
  for (Lent& one : lent()) (one.mark->passed() ? done : still).push_back(std::move(one));
  lent() = std::move(still);  // the owners of `done` go now, and may call Python
}

}  // namespace

Array::Array(std::vector<int64_t> shape_, py::dtype dtype_, int device_, std::shared_ptr<sl::cuda::Queue> queue)
    : shape(std::move(shape_)), dtype(std::move(dtype_)), device(device_) {
  check(!queue || queue->device() == device, "queue: of another device");
  const size_t n = bytes();
  WithoutGil unlocked;
  if (queue) {
    own = std::make_unique<sl::cuda::Memory>(n, device, std::move(queue));
  } else {
    own = std::make_unique<sl::cuda::Memory>(n, device, nullptr, false);
    sl::cuda::Stream(nullptr, device).wait();  // any stream may use it
  }
  data = own->data();
}

Array::Array(std::vector<int64_t> shape_, py::dtype dtype_, int device_, uintptr_t of_stream, bool of_a_call)
    : shape(std::move(shape_)), dtype(std::move(dtype_)), device(device_), stream(static_cast<int64_t>(of_stream)) {
  const size_t n = bytes();
  WithoutGil unlocked;
  own = std::make_unique<sl::cuda::Memory>(n, device, reinterpret_cast<void*>(of_stream), of_a_call);
  data = own->data();
}

Array::Array(void* data_, std::vector<int64_t> shape_, py::dtype dtype_, int device_, py::object keep_)
    : data(data_), shape(std::move(shape_)), dtype(std::move(dtype_)), device(device_), keep(std::move(keep_)) {}

Array::~Array() {
  if (read_on < 0) return;
  try {
    lent().push_back({std::make_unique<sl::cuda::Mark>(reinterpret_cast<void*>(read_on), device), std::move(keep)});
    give_back();
  } catch (const std::exception&) {  // a stream that is gone, or a device that has failed: nothing reads any more
  }
}

std::shared_ptr<Array> Array::part(const std::shared_ptr<Array>& whole, void* data, std::vector<int64_t> shape) {
  auto out = std::make_shared<Array>(data, std::move(shape), whole->dtype, whole->device, py::cast(whole));
  out->stream = whole->stream;
  return out;
}

namespace {

// What `stream` does with an array comes after what the array's own stream has written.
void let_wait_for(const Array& a, sl::cuda::Stream& stream) {
  void* const writer = reinterpret_cast<void*>(a.stream);
  if (a.stream >= 0 && writer != stream.handle) sl::cuda::Stream(writer, a.device).let_wait(stream.handle);
}

// Waits in short sleeps, so that Ctrl-C is heard.
void wait(const sl::cuda::Queue& queue) {
  for (int sleeps = 0; !queue.idle(); ++sleeps) {
    if (sleeps % 64 == 63 && PyErr_CheckSignals() != 0) throw py::error_already_set();
    WithoutGil unlocked;
    std::this_thread::sleep_for(std::chrono::microseconds(sleeps < 64 ? 20 : 500));
  }
}

// A numpy array in pinned memory.
py::array pinned(const std::vector<int64_t>& shape, const py::dtype& dtype, std::shared_ptr<sl::cuda::Queue> queue) {
  size_t bytes = static_cast<size_t>(dtype.itemsize());
  for (int64_t s : shape) bytes *= static_cast<size_t>(s);
  auto memory = std::make_unique<sl::cuda::Pinned>(bytes, std::move(queue));
  void* data = memory->data();
  py::capsule owner(memory.release(), [](void* p) {
    WithoutGil unlocked;
    delete static_cast<sl::cuda::Pinned*>(p);
  });
  return py::array(dtype, shape, data, owner);
}

py::dict interface(const Ref& a) {
  py::list shape;
  for (int64_t s : a->shape) shape.append(s);
  // 1 stands for the default stream
  const py::object stream = a->stream < 0 ? py::object(py::none()) : py::int_(a->stream ? a->stream : 1);
  return py::dict("shape"_a = py::tuple(shape), "typestr"_a = a->dtype.attr("str"),
                  "data"_a = py::make_tuple(reinterpret_cast<uintptr_t>(a->data), false), "version"_a = 3, "strides"_a = py::none(),
                  "stream"_a = stream);
}

// stream: as in the array API: None or 1 the default stream, -1 no waiting, else a handle.
py::capsule to_dlpack(const Ref& a, const py::object& stream, const py::object&, const py::object& device, const py::object& copy) {
  const auto here = py::make_tuple(dlpack::kCuda, a->device);
  if (!device.is_none() && !device.equal(here)) throw py::buffer_error("dl_device: this array stays on its GPU");
  if (!copy.is_none() && copy.cast<bool>()) throw py::buffer_error("copy: this array is exported without a copy");
  const int64_t reader = stream.is_none() ? 0 : stream.cast<int64_t>();
  if (a->stream >= 0 && reader != -1 && (reader == 1 ? 0 : reader) != a->stream) {
    WithoutGil unlocked;
    sl::cuda::Stream(reinterpret_cast<void*>(a->stream), a->device).let_wait(reinterpret_cast<void*>(reader == 1 ? 0 : reader));
  }
  return dlpack::export_array(a->data, a->device, a->shape, a->dtype.kind(), static_cast<size_t>(a->dtype.itemsize()), a);
}

// stream: the one that will read it.
Ref from_dlpack(const std::string& name, const py::object& capsule, uintptr_t stream) {
  give_back();
  const dlpack::Import in = dlpack::import(capsule);
  const dlpack::Tensor& t = in.tensor;
  check(t.device_type == dlpack::kCuda || t.device_type == dlpack::kCudaManaged,
        name + ": its DLPack capsule holds memory of device type " + std::to_string(t.device_type) + ", not of a CUDA device");
  const std::string dtype = dlpack::dtype_of(t);
  if (dtype.empty())
    throw py::type_error(name + ": expected a dtype that numpy has, got DLPack code " + std::to_string(t.code) + " of " +
                         std::to_string(t.bits) + " bits, " + std::to_string(t.lanes) + " lanes");
  const std::vector<int64_t> shape(t.shape, t.shape + t.ndim);
  const std::vector<int64_t> strides(t.strides, t.strides + (t.strides ? t.ndim : 0));
  check(dlpack::row_major(t), name + ": expected a C-contiguous device array, got strides " +
                                  py::str(py::cast(strides)).cast<std::string>() + " of a DLPack array");
  auto out = std::make_shared<Array>(static_cast<char*>(t.data) + t.byte_offset, shape, py::dtype(dtype), t.device, in.owner);
  out->read_on = static_cast<int64_t>(stream);
  return out;
}

}  // namespace

void register_arrays(py::module_& m) {
  py::class_<sl::cuda::Queue, std::shared_ptr<sl::cuda::Queue>>(m, "Queue", "A stream of its own, in no order with the default stream.")
      .def(py::init<int>(), "device"_a = 0)
      .def_property_readonly("stream", [](const sl::cuda::Queue& q) {
    return reinterpret_cast<uintptr_t>(q.handle());
  }).def("wait", &wait);
  py::class_<Array, Ref>(m, "Array",
                         "A row-major array in the memory of a GPU; cupy, torch and jax read it by __cuda_array_interface__ or "
                         "__dlpack__.")
      .def(py::init<std::vector<int64_t>, py::dtype, int, std::shared_ptr<sl::cuda::Queue>>(), "shape"_a, "dtype"_a, "device"_a = 0,
           "queue"_a = std::shared_ptr<sl::cuda::Queue>())
      .def(py::init<std::vector<int64_t>, py::dtype, int, uintptr_t, bool>(), "shape"_a, "dtype"_a, "device"_a, "stream"_a, "of_a_call"_a)
      .def_static("view",
                  [](uintptr_t data, std::vector<int64_t> shape, py::dtype dtype, int device, py::object keep) {
    return std::make_shared<Array>(reinterpret_cast<void*>(data), std::move(shape), std::move(dtype), device, std::move(keep));
  }, "data"_a, "shape"_a, "dtype"_a, "device"_a, "keep"_a)
      .def_property_readonly("shape", [](const Array& a) { return py::tuple(py::cast(a.shape)); })
      .def_property_readonly("ndim", [](const Array& a) { return a.shape.size(); })
      .def_readonly("dtype", &Array::dtype)
      .def_readonly("device", &Array::device)
      .def_property_readonly("data", [](const Array& a) { return reinterpret_cast<uintptr_t>(a.data); })
      .def_property_readonly("nbytes", &Array::bytes)
      .def_readwrite("stream", &Array::stream)
      .def_property_readonly("__cuda_array_interface__", &interface)
      .def("__dlpack__", &to_dlpack, py::kw_only(), "stream"_a = py::none(), "max_version"_a = py::none(), "dl_device"_a = py::none(),
           "copy"_a = py::none())
      .def("__dlpack_device__", [](const Array& a) { return py::make_tuple(dlpack::kCuda, a.device); })
      .def_static("from_dlpack", &from_dlpack, "name"_a, "capsule"_a, "stream"_a = 0)
      .def("reshape",
           [](const Ref& a, std::vector<int64_t> shape) {
    auto out = Array::part(a, a->data, std::move(shape));
    check(out->count() == a->count(), "reshape: another number of entries");
    return out;
  }, "shape"_a)
      .def("rows",
           [](const Ref& a, int64_t from, int64_t to) {  // a view of rows from .. to - 1
    check(!a->shape.empty() && 0 <= from && from <= to && to <= a->shape[0], "rows: outside the array");
    std::vector<int64_t> shape = a->shape;
    const size_t row = a->shape[0] ? a->bytes() / static_cast<size_t>(a->shape[0]) : 0;
    shape[0] = to - from;
    return Array::part(a, static_cast<char*>(a->data) + row * static_cast<size_t>(from), std::move(shape));
  }, "from_"_a, "to"_a)
      .def("upload",
           [](const Array& a, const py::array& from, uintptr_t stream) {
    check(static_cast<size_t>(from.nbytes()) == a.bytes() && (from.flags() & py::array::c_style), "upload: another size or order");
    const void* source = from.data();
    run(a, stream, [&](sl::cuda::Stream& s) {
      s.upload(a.data, source, a.bytes());
      if (sl::cuda::pinned_on_host(source)) s.wait();  // the caller may write to it again
    });
  }, "from_"_a, "stream"_a = 0)
      .def("carry",
           [](const Array& a, py::array to, uintptr_t stream) {  // into a pinned array, without waiting
    check(static_cast<size_t>(to.nbytes()) >= a.bytes() && (to.flags() & py::array::c_style), "carry: too small, or another order");
    void* host = to.mutable_data();
    run(a, stream, [&](sl::cuda::Stream& s) { s.carry(host, a.data, a.bytes()); });
  }, "to"_a, "stream"_a = 0)
      .def("take",
           [](const Array& a, const py::array_t<int, py::array::c_style>& rows, uintptr_t stream) {  // some rows, as numpy
    check(!a.shape.empty() && rows.ndim() == 1, "take: wrong shape");
    for (py::ssize_t k = 0; k < rows.size(); ++k) check(rows.data()[k] >= 0 && rows.data()[k] < a.shape[0], "take: no such row");
    std::vector<int64_t> shape = a.shape;
    shape[0] = rows.size();
    py::array out(a.dtype, shape);
    void* host = out.mutable_data();
    const int* from = rows.data();
    const int64_t count = rows.size();
    const size_t bytes = a.shape[0] ? a.bytes() / static_cast<size_t>(a.shape[0]) : 0;
    run(a, stream, [&](sl::cuda::Stream& s) {
      int* which = s.scratch<int>(count);
      s.upload(which, from, sizeof(int) * static_cast<size_t>(count));
      void* together = s.scratch(bytes * static_cast<size_t>(count));
      s.gather(together, a.data, bytes, which, count);
      s.download(host, together, bytes * static_cast<size_t>(count));
    });
    return out;
  }, "rows"_a, "stream"_a = 0)
      .def("numpy", [](const Array& a, uintptr_t stream) {
    py::array out(a.dtype, a.shape);
    void* to = out.mutable_data();
    run(a, stream, [&](sl::cuda::Stream& s) {
      let_wait_for(a, s);
      s.download(to, a.data, a.bytes());
    });
    return out;
  }, "stream"_a = 0);

  m.def("pinned", &pinned, "shape"_a, "dtype"_a, "queue"_a);
}

}  // namespace cuda_bindings
