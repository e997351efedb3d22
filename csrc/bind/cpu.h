// cpu.h (bind): what the files of _cpu share. Arguments come as numpy arrays; a kernel runs without the GIL, and Ctrl-C ends it.
#pragma once
#include <pybind11/stl.h>

#include <chrono>
#include <optional>

#include "bind/arguments.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/students.h"

namespace cpu_bindings {
using namespace bindings;

template <class T> using Array = py::array_t<T, py::array::c_style>;

// Polls for Ctrl-C at most every 20 ms while a kernel runs without the GIL.
struct Interrupt {
  WithoutGil* unlocked = nullptr;
  std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();
  static bool poll(void* self) {
    auto& me = *static_cast<Interrupt*>(self);
    const auto now = std::chrono::steady_clock::now();
    if (now - me.last < std::chrono::milliseconds(20)) return false;
    me.last = now;
    return me.unlocked->signalled();
  }
};

template <class F> void run(F&& kernel) {
  Interrupt interrupt;
  sl::Control control;
  control.poll = Interrupt::poll;
  control.poll_context = &interrupt;
  try {
    WithoutGil unlocked;
    interrupt.unlocked = &unlocked;
    kernel(control);
  } catch (const sl::Interrupted&) {
    if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
    throw py::error_already_set();
  }
}

// The batch axis of theta and x: [batch][...] or [...] shared by all.
template <class T>
sl::Students<T> students(const sl::Shape& s, const Array<T>& theta, const Array<T>& x, int64_t batch) {
  auto stride = [&](const Array<T>& a, int64_t width, const char* name) -> int64_t {
    check(a.ndim() == 2 && a.shape(1) == width && (a.shape(0) == batch || a.shape(0) == 1), std::string(name) + ": wrong shape");
    return a.shape(0) == 1 ? 0 : width;
  };
  sl::Students<T> in;
  in.shape = &s;
  in.batch = batch;
  in.theta = theta.data();
  in.theta_stride = stride(theta, s.size, "theta");
  in.x = x.data();
  in.x_stride = stride(x, s.inputs_size, "x");
  return in;
}

struct Indices {
  const int* data;
  int64_t stride;
  int budget;
};
inline Indices indices_of(const sl::Shape& s, const Array<int>& a, int64_t batch, bool padding) {
  check(a.ndim() == 2 && (a.shape(0) == batch || a.shape(0) == 1), "indices: wrong shape");
  const int* p = a.data();
  const int most = padding ? s.size : s.size - 1;
  bool inside = true;
  const py::ssize_t entries = a.size();
  for (py::ssize_t k = 0; k < entries; ++k) inside &= p[k] >= 0 && p[k] <= most;
  check(inside, "indices: outside the network");
  return {p, a.shape(0) == 1 ? 0 : static_cast<int64_t>(a.shape(1)), static_cast<int>(a.shape(1))};
}
template <class T> int64_t target_stride(const sl::Shape& s, const Array<T>& y, int64_t batch) {
  check(y.ndim() == 2 && y.shape(1) == s.equations && (y.shape(0) == batch || y.shape(0) == 1), "y: wrong shape");
  return y.shape(0) == 1 ? 0 : s.equations;
}
// Which groups hold a learnable weight of some student.
inline std::vector<char> groups_of(const sl::Shape& s, const Indices& in, int64_t batch) {
  std::vector<char> learns(sl::kMaxGroups, 0);
  const int64_t count = (in.stride ? batch : 1) * in.budget;
  for (int64_t k = 0; k < count; ++k)
    for (int g = 0; g < s.groups; ++g)
      if (in.data[k] >= s.group_begin[g] && in.data[k] < s.group_begin[g + 1]) learns[g] = 1;
  return learns;
}

// One per family of functions.
void register_networks(py::module_&);
void register_fit(py::module_&);
void register_searches(py::module_&);
void register_enclosures(py::module_&);
void register_ranks(py::module_&);
void register_projection(py::module_&);
void register_patterns(py::module_&);
void register_draws(py::module_&);
void register_machine(py::module_&);

}  // namespace cpu_bindings
