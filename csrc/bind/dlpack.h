// dlpack.h (bind): device arrays in and out as DLPack capsules. The structures are the C interface of DLPack 1.0 and of the unversioned
// one before it (dmlc.github.io/dlpack); neither numpy nor pybind11 ships its header, and a package only for these few lines would be
// needed by every build. A capsule has one consumer, who renames it and calls the deleter when the array is done with.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace dlpack {
namespace py = pybind11;

constexpr int32_t kCuda = 2, kCudaManaged = 13;
enum Code : uint8_t { kInt = 0, kUint = 1, kFloat = 2, kBool = 6 };

struct Tensor {
  void* data;
  int32_t device_type, device;
  int32_t ndim;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t* shape;
  int64_t* strides;  // in entries; null: row-major
  uint64_t byte_offset;
};
struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};
struct Versioned {
  uint32_t major, minor;
  void* context;
  void (*deleter)(Versioned*);
  uint64_t flags;
  Tensor tensor;
};

// What a capsule holds: the tensor, and an object whose end is the tensor's.
struct Import {
  Tensor tensor;
  py::capsule owner;
};
template <class M> Import take(PyObject* capsule, const char* name, const char* used) {
  M* held = static_cast<M*>(PyCapsule_GetPointer(capsule, name));
  if (!held || PyCapsule_SetName(capsule, used) != 0) throw py::error_already_set();
  return {held->tensor, py::capsule(held, [](void* p) {
    M* m = static_cast<M*>(p);
    if (m->deleter) m->deleter(m);
  })};
}
inline Import import(const py::object& capsule) {
  PyObject* c = capsule.ptr();
  if (PyCapsule_IsValid(c, "dltensor")) return take<Managed>(c, "dltensor", "used_dltensor");
  if (PyCapsule_IsValid(c, "dltensor_versioned")) {
    const auto* held = static_cast<Versioned*>(PyCapsule_GetPointer(c, "dltensor_versioned"));
    if (held->major != 1) throw py::type_error("DLPack of another version than 1");
    return take<Versioned>(c, "dltensor_versioned", "used_dltensor_versioned");
  }
  throw py::type_error("expected a DLPack capsule that nobody has used yet");
}

inline std::string dtype_of(const Tensor& t) {  // numpy's name, "" where it has none
  if (t.lanes != 1) return "";
  const std::string bits = std::to_string(t.bits);
  const bool whole = t.bits == 8 || t.bits == 16 || t.bits == 32 || t.bits == 64;
  switch (t.code) {
    case kInt: return whole ? "int" + bits : "";
    case kUint: return whole ? "uint" + bits : "";
    case kFloat: return whole && t.bits != 8 ? "float" + bits : "";
    case kBool: return t.bits == 8 ? "bool" : "";
    default: return "";
  }
}
inline bool row_major(const Tensor& t) {
  int64_t step = 1;
  for (int k = 0; k < t.ndim; ++k)
    if (t.shape[k] == 0) return true;
  for (int k = t.ndim - 1; k >= 0 && t.strides; --k) {
    if (t.shape[k] != 1 && t.strides[k] != step) return false;
    step *= t.shape[k];
  }
  return true;
}

// A capsule for a row-major array that lives as long as `owner`.
template <class Owner>
py::capsule export_array(void* data, int device, const std::vector<int64_t>& shape, char kind, size_t item_bytes,
                         std::shared_ptr<Owner> owner) {
  struct Held {
    Managed managed;
    std::vector<int64_t> shape, strides;
    std::shared_ptr<Owner> owner;
  };
  auto held = std::make_unique<Held>();
  held->shape = shape;
  held->strides.assign(shape.size(), 1);
  for (size_t k = shape.size(); k-- > 1;) held->strides[k - 1] = held->strides[k] * shape[k];
  held->owner = std::move(owner);
  const uint8_t code = kind == 'f' ? kFloat : kind == 'u' ? kUint : kind == 'b' ? kBool : kInt;
  held->managed.tensor = {data,
                          kCuda,
                          device,
                          static_cast<int32_t>(shape.size()),
                          code,
                          static_cast<uint8_t>(8 * item_bytes),
                          1,
                          held->shape.data(),
                          held->strides.data(),
                          0};
  held->managed.context = held.get();
  held->managed.deleter = [](Managed* m) {
    py::gil_scoped_acquire gil;  // the owner may hold Python objects
    delete static_cast<Held*>(m->context);
  };
  PyObject* capsule = PyCapsule_New(&held->managed, "dltensor", [](PyObject* c) {
    if (!PyCapsule_IsValid(c, "dltensor")) return;  // consumed
    Managed* m = static_cast<Managed*>(PyCapsule_GetPointer(c, "dltensor"));
    m->deleter(m);
  });
  if (!capsule) throw py::error_already_set();
  held.release();
  return py::reinterpret_steal<py::capsule>(capsule);
}

}  // namespace dlpack
