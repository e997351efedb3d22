// The Python module sublearn._cpu: the only file that sees pybind11. Converts, releases the GIL, calls. Arguments are
// checked in Python before they come here; what is checked again here is only what memory safety needs.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <complex>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/cores.h"
#include "core/error.h"
#include "core/random.h"
#include "math/modp.h"
#include "ops/certify.h"
#include "ops/continuation.h"
#include "ops/descend.h"
#include "ops/jacobian.h"
#include "ops/newton.h"
#include "ops/outputs.h"
#include "ops/peak.h"
#include "ops/rank_modp.h"
#include "ops/rank_real.h"
#include "ops/trial.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace {

template <class T> using Array = py::array_t<T, py::array::c_style>;

// Polls for Ctrl-C at most every 20 ms while a kernel runs without the GIL.
struct Interrupt {
  std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();
  static bool poll(void* self) {
    auto& me = *static_cast<Interrupt*>(self);
    const auto now = std::chrono::steady_clock::now();
    if (now - me.last < std::chrono::milliseconds(20)) return false;
    me.last = now;
    py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
  }
};

template <class F> void run(F&& kernel) {
  Interrupt interrupt;
  sl::Control control;
  control.poll = Interrupt::poll;
  control.poll_context = &interrupt;
  try {
    py::gil_scoped_release release;
    kernel(control);
  } catch (const sl::Interrupted&) {
    if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
    throw py::error_already_set();
  }
}

void check(bool ok, const std::string& what) {
  if (!ok) throw py::value_error(what);
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
Indices indices_of(const sl::Shape& s, const Array<int>& a, int64_t batch, bool padding) {
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
std::vector<char> groups_of(const sl::Shape& s, const Indices& in, int64_t batch) {
  std::vector<char> learns(sl::kMaxGroups, 0);
  const int64_t count = (in.stride ? batch : 1) * in.budget;
  for (int64_t k = 0; k < count; ++k)
    for (int g = 0; g < s.groups; ++g)
      if (in.data[k] >= s.group_begin[g] && in.data[k] < s.group_begin[g + 1]) learns[g] = 1;
  return learns;
}

// Holds the arrays of a recipe alive while C++ points into them.
struct OwnedRecipe {
  Array<bool> fixed;
  std::vector<Array<int64_t>> arrays;
  std::vector<sl::RecipePiece> pieces;
  OwnedRecipe(const py::tuple& recipe, int size) {
    fixed = recipe[0].cast<Array<bool>>();
    check(fixed.size() == size, "recipe: fixed has the wrong size");
    for (auto item : recipe[1].cast<py::sequence>()) {
      auto piece = item.cast<py::tuple>();
      arrays.push_back(piece[0].cast<Array<int64_t>>());
      arrays.push_back(piece[1].cast<Array<int64_t>>());
      const auto &members = arrays[arrays.size() - 2], &offsets = arrays.back();
      sl::RecipePiece p{members.data(), offsets.data(), offsets.size() - 1, piece[2].cast<int64_t>(), piece[3].cast<int64_t>()};
      check(p.lists >= 0 && p.pick >= 0 && p.pick <= p.lists && p.each >= 0, "recipe: picks more lists than there are");
      for (py::ssize_t k = 0; k < members.size(); ++k)
        check(members.data()[k] >= 0 && members.data()[k] < size, "recipe: member outside the network");
      for (int64_t k = 0; k < p.lists; ++k)
        check(p.offsets[k] >= 0 && p.offsets[k + 1] - p.offsets[k] >= p.each && p.offsets[k + 1] <= members.size(),
              "recipe: picks more members than a list has");
      pieces.push_back(p);
    }
  }
  sl::Recipe view() const { return {fixed.data(), pieces.data(), static_cast<int64_t>(pieces.size())}; }
};

template <class T>
Array<T> outputs(const sl::Shape& s, const Array<T>& theta, const Array<T>& x, int threads) {
  const int64_t batch = std::max(theta.shape(0), x.shape(0));
  Array<T> out({batch, static_cast<int64_t>(s.equations)});
  sl::OutputsArgs<T> a{students(s, theta, x, batch), out.mutable_data(), threads};
  run([&](sl::Control& c) { sl::outputs(a, c); });
  return out;
}

template <class T>
Array<T> jacobian(const sl::Shape& s, const Array<T>& theta, const Array<T>& x, const Array<int>& indices, int threads) {
  const int64_t batch = std::max({theta.shape(0), x.shape(0), indices.shape(0)});
  const Indices in = indices_of(s, indices, batch, false);
  Array<T> out({batch, static_cast<int64_t>(s.equations), static_cast<int64_t>(in.budget)});
  sl::JacobianArgs<T> a{students(s, theta, x, batch), in.data, in.stride, in.budget, out.mutable_data(), threads};
  run([&](sl::Control& c) { sl::jacobian(a, c); });
  return out;
}

template <class T>
py::dict fit(const sl::Shape& s, const Array<T>& theta, const Array<T>& x, const Array<T>& y, const Array<int>& indices, int64_t steps,
             int optimizer, double lr, double tol, int threads) {
  const int64_t batch = std::max({theta.shape(0), x.shape(0), y.shape(0), indices.shape(0)});
  const Indices in = indices_of(s, indices, batch, true);
  const std::vector<char> learns = groups_of(s, in, batch);
  Array<T> theta_out({batch, static_cast<int64_t>(s.size)}), loss(batch);
  Array<int64_t> done(batch);
  Array<int8_t> status(batch);
  const sl::Students<T> batch_in = students(s, theta, x, batch);
  for (int64_t b = 0; b < batch; ++b)
    std::copy_n(batch_in.theta + b * batch_in.theta_stride, s.size, theta_out.mutable_data() + b * s.size);
  sl::DescendArgs<T> a{batch_in,
                       y.data(),
                       target_stride(s, y, batch),
                       in.data,
                       in.stride,
                       in.budget,
                       reinterpret_cast<const bool*>(learns.data()),
                       static_cast<sl::Optimizer>(optimizer),
                       steps,
                       lr,
                       tol,
                       theta_out.mutable_data(),
                       loss.mutable_data(),
                       done.mutable_data(),
                       status.mutable_data(),
                       threads};
  run([&](sl::Control& c) { sl::descend(a, c); });
  return py::dict("theta"_a = theta_out, "loss"_a = loss, "steps"_a = done, "status"_a = status);
}

py::dict newton(const sl::Shape& s, const Array<double>& theta, const Array<double>& x, const Array<double>& y, const Array<int>& indices,
                const Array<double>& start_scale, int starts, int max_iterations, double tol, uint64_t seed, uint32_t task,
                const Array<uint32_t>& trials, int threads, const std::optional<Array<double>>& norm2) {
  const int64_t batch = trials.size();
  const Indices in = indices_of(s, indices, batch, false);
  check(!norm2 || norm2->size() == batch, "norm2: one entry per student");
  const std::vector<char> learns = groups_of(s, in, batch);
  check(start_scale.size() == s.size, "start_scale: wrong size");
  check(starts >= 1 && max_iterations >= 1, "starts and max_iterations must be at least 1");
  Array<double> theta_out({batch, static_cast<int64_t>(s.size)}), loss(batch);
  Array<int32_t> found(batch);
  int64_t iterations = 0;
  const sl::Students<double> batch_in = students(s, theta, x, batch);
  for (int64_t b = 0; b < batch; ++b)
    std::copy_n(batch_in.theta + b * batch_in.theta_stride, s.size, theta_out.mutable_data() + b * s.size);
  sl::NewtonArgs a{batch_in,
                   y.data(),
                   target_stride(s, y, batch),
                   in.data,
                   in.stride,
                   in.budget,
                   reinterpret_cast<const bool*>(learns.data()),
                   start_scale.data(),
                   starts,
                   max_iterations,
                   tol,
                   seed,
                   task,
                   trials.data(),
                   theta_out.mutable_data(),
                   loss.mutable_data(),
                   found.mutable_data(),
                   &iterations,
                   threads,
                   norm2 ? norm2->data() : nullptr};
  run([&](sl::Control& c) { sl::newton(a, c); });
  return py::dict("theta"_a = theta_out, "loss"_a = loss, "found"_a = found, "iterations"_a = iterations);
}

py::tuple certify(const sl::Shape& s, const Array<double>& theta, const Array<double>& x, const Array<double>& y, const Array<int>& indices,
                  const Array<int>& rows, const std::optional<Array<double>>& y_radius, const std::optional<Array<double>>& teacher,
                  int threads) {
  check(s.activation == sl::Activation::linear, "certify: linear networks only");
  const int64_t batch = theta.shape(0);
  const Indices in = indices_of(s, indices, batch, false);
  check(target_stride(s, y, batch) != 0 || batch == 1, "y: wrong shape");
  check(rows.ndim() == 1 && rows.shape(0) == in.budget, "rows: wrong shape");
  for (py::ssize_t e = 0; e < rows.size(); ++e) check(rows.data()[e] >= 0 && rows.data()[e] < s.equations, "rows: outside the equations");
  Array<double> polished({batch, static_cast<int64_t>(in.budget)}), radius(batch);
  check(!y_radius || (y_radius->ndim() == 2 && y_radius->shape(0) == batch && y_radius->shape(1) == s.equations), "y_radius: wrong shape");
  check(!teacher || (teacher->ndim() == 2 && teacher->shape(0) == batch && teacher->shape(1) == s.size), "teacher: wrong shape");
  sl::CertifyArgs a{students(s, theta, x, batch),
                    y.data(),
                    y_radius ? y_radius->data() : nullptr,
                    teacher ? teacher->data() : nullptr,
                    in.data,
                    in.stride,
                    rows.data(),
                    in.budget,
                    polished.mutable_data(),
                    radius.mutable_data(),
                    threads};
  run([&](sl::Control& c) { sl::certify(a, c); });
  return py::make_tuple(polished, radius);
}

py::dict continuation(const sl::Shape& s, const Array<std::complex<double>>& points, bool teacher, const Array<int>& indices,
                      const Array<int>& degrees, const std::optional<Array<int>>& rows, const std::optional<Array<double>>& mix,
                      const Array<int>& allocation, const Array<int>& from, const Array<int>& to, const Array<int>& group,
                      const Array<std::complex<double>>& start, bool stop_at_real, double aim, double least_step, int max_steps,
                      bool sliced, int threads) {
  check(s.activation == sl::Activation::linear, "continuation: linear networks only");
  const Indices in = indices_of(s, indices, indices.shape(0), false);
  const int k = in.budget;
  const int64_t width = s.size + s.inputs_size + (teacher ? s.size : s.equations) + (sliced ? s.equations + k : 0);
  const int64_t jobs = start.shape(0), count = points.shape(0);
  check(!sliced || rows, "sliced: only with rows");
  check(k >= 1, "indices: at least one learnable weight");
  check(points.ndim() == 2 && points.shape(1) == width, "points: wrong shape");
  check(start.ndim() == 2 && start.shape(1) == k, "start: wrong shape");
  check(degrees.ndim() == 2 && degrees.shape(0) == indices.shape(0) && degrees.shape(1) == k, "degrees: wrong shape");
  check(rows.has_value() != mix.has_value(), "either rows or mix");
  if (rows) {
    check(rows->ndim() == 1 && rows->shape(0) == k, "rows: wrong shape");
    for (int e = 0; e < k; ++e) check(rows->data()[e] >= 0 && rows->data()[e] < s.equations, "rows: outside the equations");
  }
  if (mix) check(mix->ndim() == 2 && mix->shape(0) == k && mix->shape(1) == s.equations, "mix: wrong shape");
  auto numbers = [&](const Array<int>& a, int64_t most, const char* name) {
    check(a.ndim() == 1 && a.shape(0) == jobs, std::string(name) + ": wrong shape");
    for (int64_t j = 0; j < jobs; ++j) check(a.data()[j] >= 0 && a.data()[j] < most, std::string(name) + ": out of range");
    return a.data();
  };
  const std::vector<char> learns = groups_of(s, {in.data, in.budget, in.budget}, indices.shape(0));
  Array<std::complex<double>> end({jobs, static_cast<int64_t>(k)});
  Array<int8_t> status(jobs);
  Array<int32_t> steps(jobs);
  Array<double> largest(jobs), correction(jobs);
  sl::ContinuationArgs a{&s,
                         teacher,
                         sliced,
                         reinterpret_cast<const double*>(points.data()),
                         count,
                         in.data,
                         indices.shape(0),
                         k,
                         degrees.data(),
                         rows ? rows->data() : nullptr,
                         mix ? mix->data() : nullptr,
                         reinterpret_cast<const bool*>(learns.data()),
                         jobs,
                         numbers(allocation, indices.shape(0), "allocation"),
                         numbers(from, count, "from"),
                         numbers(to, count, "to"),
                         numbers(group, jobs, "group"),
                         reinterpret_cast<const double*>(start.data()),
                         stop_at_real,
                         aim,
                         least_step,
                         max_steps,
                         reinterpret_cast<double*>(end.mutable_data()),
                         status.mutable_data(),
                         steps.mutable_data(),
                         largest.mutable_data(),
                         correction.mutable_data(),
                         threads};
  run([&](sl::Control& c) { sl::continuation(a, c); });
  return py::dict("end"_a = end, "status"_a = status, "steps"_a = steps, "largest"_a = largest, "correction"_a = correction);
}

template <class T>
py::tuple rank_real(const Array<T>& a, double rtol, int threads) {
  check(a.ndim() == 3, "a: expected [batch, m, n]");
  const int64_t batch = a.shape(0);
  Array<int64_t> rank(batch);
  Array<int8_t> certified(batch), finite(batch);
  sl::RankRealArgs<T> args{a.data(),
                           batch,
                           static_cast<int>(a.shape(1)),
                           static_cast<int>(a.shape(2)),
                           rtol,
                           rank.mutable_data(),
                           certified.mutable_data(),
                           finite.mutable_data(),
                           threads};
  run([&](sl::Control& c) { sl::rank_real(args, c); });
  return py::make_tuple(rank, certified, finite);
}

Array<int64_t> rank_mod(const Array<int64_t>& a, uint64_t p, int threads) {
  check(a.ndim() == 3, "a: expected [batch, m, n]");
  check(p < (uint64_t{1} << 31) && sl::is_prime(p), "p: expected a prime below 2**31, got " + std::to_string(p));
  Array<int64_t> rank(a.shape(0));
  int outside = 0;
  sl::RankModpArgs args{
      a.data(), a.shape(0), static_cast<int>(a.shape(1)), static_cast<int>(a.shape(2)), static_cast<uint32_t>(p), rank.mutable_data(),
      threads,  &outside};
  run([&](sl::Control& c) { sl::rank_modp(args, c); });
  check(!outside, "a: entries must lie in [0, p)");
  return rank;
}

Array<int64_t> jacobian_mod(const sl::Shape& s, const Array<int64_t>& theta, const Array<int64_t>& x, uint64_t hidden_seed, uint32_t p,
                            int threads) {
  check(theta.ndim() == 2 && theta.shape(1) == s.size, "theta: expected [batch, size]");
  const int64_t batch = theta.shape(0);
  check(x.ndim() == 2 && x.shape(0) == batch && x.shape(1) == s.inputs_size, "x: expected [batch, inputs_size]");
  check(p == sl::kPrimes[0] || p == sl::kPrimes[1], "p: expected one of PRIMES");
  check(s.activation != sl::Activation::relu, "jacobian_mod: relu has no Jacobian over GF(p)");
  for (const auto* a : {&theta, &x})
    for (py::ssize_t k = 0; k < a->size(); ++k)
      check(a->data()[k] >= 0 && a->data()[k] < static_cast<int64_t>(p), "entries must lie in [0, p)");
  Array<int64_t> out({batch, static_cast<int64_t>(s.equations), static_cast<int64_t>(s.size)});
  sl::JacobianModArgs args{&s, batch, theta.data(), x.data(), hidden_seed, p, out.mutable_data(), threads};
  run([&](sl::Control& c) { sl::jacobian_mod(args, c); });
  return out;
}

Array<std::complex<double>> outputs_complex(const sl::Shape& s, const Array<std::complex<double>>& theta, const Array<double>& x,
                                            int threads) {
  const int64_t batch = theta.shape(0);
  check(theta.ndim() == 2 && theta.shape(1) == s.size && x.ndim() == 2 && x.shape(0) == batch && x.shape(1) == s.inputs_size,
        "theta, x: wrong shape");
  Array<std::complex<double>> out({batch, static_cast<int64_t>(s.equations)});
  sl::OutputsComplexArgs a{
      &s, batch, reinterpret_cast<const double*>(theta.data()), x.data(), reinterpret_cast<double*>(out.mutable_data()), threads};
  run([&](sl::Control& c) { sl::outputs_complex(a, c); });
  return out;
}

py::dict draw(const sl::Shape& s, uint64_t seed, uint32_t task, uint32_t first, int64_t count, const Array<bool>& shared,
              const Array<double>& gains, const py::tuple& recipe, int threads) {
  check(count >= 0 && count + int64_t{first} <= (int64_t{1} << 32), "trial numbers must stay below 2**32");
  check(shared.size() == s.groups && gains.size() == s.groups, "shared, gains: one entry per group");
  OwnedRecipe owned(recipe, s.size);
  const int64_t size = s.size, inputs = s.inputs_size;
  Array<double> teacher({count, size}), student({count, size}), x({count, inputs});
  Array<bool> mask({count, size});
  sl::TrialArgs a{&s,
                  seed,
                  task,
                  first,
                  count,
                  shared.data(),
                  gains.data(),
                  owned.view(),
                  teacher.mutable_data(),
                  student.mutable_data(),
                  x.mutable_data(),
                  mask.mutable_data(),
                  threads};
  run([&](sl::Control& c) { sl::draw_trials(a, c); });
  return py::dict("teacher"_a = teacher, "student"_a = student, "x"_a = x, "mask"_a = mask);
}

Array<bool> draw_mask(int size, uint64_t seed, uint32_t task, uint32_t trial, const py::tuple& recipe) {
  OwnedRecipe owned(recipe, size);
  Array<bool> mask(size);
  sl::draw_mask(size, seed, task, trial, owned.view(), mask.mutable_data());
  return mask;
}

std::unique_ptr<sl::Shape> make_shape(const std::string& kind, const std::vector<int>& sizes, const std::string& activation,
                                      const std::vector<bool>& biases) {
  sl::Activation act;
  if (activation == "linear") act = sl::Activation::linear;
  else if (activation == "relu") act = sl::Activation::relu;
  else if (activation == "tanh") act = sl::Activation::tanh;
  else throw py::value_error("activation: expected linear, relu or tanh, got " + activation);
  for (int v : sizes) check(v >= 1, "sizes: every size must be at least 1");
  if (kind == "recurrent") {
    check(sizes.size() == 4 && biases.size() == 2, "recurrent: expected 4 sizes and 2 biases");
    return std::make_unique<sl::Shape>(sl::Shape::recurrent(sizes[0], sizes[1], sizes[2], sizes[3], act, biases[0], biases[1]));
  }
  check(kind == "feedforward", "kind: expected recurrent or feedforward, got " + kind);
  const int layers = static_cast<int>(sizes.size()) - 2;
  check(layers >= 1 && layers <= sl::kMaxLayers && static_cast<int>(biases.size()) == layers,
        "feedforward: expected 1 to 16 layers, one bias flag each");
  bool has[sl::kMaxLayers];
  for (int k = 0; k < layers; ++k) has[k] = biases[k];
  return std::make_unique<sl::Shape>(sl::Shape::feedforward(sizes[0], layers, sizes.data() + 1, act, has));
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
  if (!sl::isa_available(sl::Isa::base))  // asked before any kernel can run: it would end the process by SIGILL
    throw py::import_error(
        "sublearn needs a processor with SSE4.2 and POPCNT (x86-64-v2), and this one lacks them; a virtual machine may hide "
        "them: give it the processor model of its host");
  m.doc() = "Compiled CPU kernels of sublearn. Arguments are checked by the Python layer.";
  py::class_<sl::Shape>(m, "Shape")
      .def(py::init(&make_shape), "kind"_a, "sizes"_a, "activation"_a, "biases"_a)
      .def_readonly("size", &sl::Shape::size)
      .def_readonly("equations", &sl::Shape::equations)
      .def_property_readonly("group_begin", [](const sl::Shape& s) {
    return std::vector<int>(s.group_begin, s.group_begin + s.groups + 1);
  }).def_readonly("inputs_size", &sl::Shape::inputs_size);
  m.attr("PRIMES") = py::make_tuple(sl::kPrimes[0], sl::kPrimes[1]);

  // noconvert: a wrong dtype or order is an error, never a silent copy.
  m.def("outputs", &outputs<float>, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), "threads"_a = 0);
  m.def("outputs", &outputs<double>, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), "threads"_a = 0);
  m.def("outputs_complex", &outputs_complex, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), "threads"_a = 0);
  m.def("jacobian", &jacobian<float>, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), "indices"_a, "threads"_a = 0);
  m.def("jacobian", &jacobian<double>, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), "indices"_a, "threads"_a = 0);
  m.def("jacobian_mod", &jacobian_mod, "shape"_a, "theta"_a, "x"_a, "hidden_seed"_a, "p"_a, "threads"_a = 0);
  m.def("fit", &fit<float>, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("y").noconvert(), "indices"_a,
        "steps"_a, "optimizer"_a, "lr"_a, "tol"_a, "threads"_a = 0);
  m.def("fit", &fit<double>, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("y").noconvert(), "indices"_a,
        "steps"_a, "optimizer"_a, "lr"_a, "tol"_a, "threads"_a = 0);
  m.def("newton", &newton, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("y").noconvert(), "indices"_a,
        "start_scale"_a, "starts"_a, "max_iterations"_a, "tol"_a, "seed"_a, "task"_a, "trials"_a, "threads"_a = 0, "norm2"_a = py::none());
  m.def("certify", &certify, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("y").noconvert(), "indices"_a,
        "rows"_a, "y_radius"_a = py::none(), "teacher"_a = py::none(), "threads"_a = 0);
  m.def("continuation", &continuation, "shape"_a, py::arg("points").noconvert(), "teacher"_a, "indices"_a, "degrees"_a, "rows"_a, "mix"_a,
        "allocation"_a, "from_"_a, "to"_a, "group"_a, py::arg("start").noconvert(), "stop_at_real"_a = false, "aim"_a = 1e-4,
        "least_step"_a = 1e-10, "max_steps"_a = 2000, "sliced"_a = false, "threads"_a = 0);
  m.def("rank_real", &rank_real<float>, py::arg("a").noconvert(), "rtol"_a, "threads"_a = 0);
  m.def("rank_real", &rank_real<double>, py::arg("a").noconvert(), "rtol"_a, "threads"_a = 0);
  m.def("rank_mod", &rank_mod, "a"_a, "p"_a, "threads"_a = 0);
  m.def("is_prime", &sl::is_prime, "n"_a);
  m.def("draw", &draw, "shape"_a, "seed"_a, "task"_a, "first"_a, "count"_a, "shared"_a, "gains"_a, "recipe"_a, "threads"_a = 0);
  m.def("draw_mask", &draw_mask, "size"_a, "seed"_a, "task"_a, "trial"_a, "recipe"_a);
  m.def("philox", [](std::vector<uint32_t> counter, std::vector<uint32_t> key) {
    check(counter.size() == 4 && key.size() == 2, "philox: four counter words and two key words");
    std::vector<uint32_t> out(4);
    sl::philox4x32(counter.data(), key.data(), out.data());
    return out;
  }, "counter"_a, "key"_a);
  m.def("normals", [](uint64_t seed, uint32_t stream, uint32_t trial, uint32_t task, uint64_t first, int64_t count) {
    Array<double> out(count);
    sl::normals(sl::Philox(seed, stream, trial, task), first, static_cast<uint64_t>(count), out.mutable_data());
    return out;
  }, "seed"_a, "stream"_a, "trial"_a, "task"_a, "first"_a, "count"_a);

  m.def("fma_peak", [](int bits, int threads) {
    check(bits == 32 || bits == 64, "bits: expected 32 or 64");
    double best = 0;
    for (int repeat = 0; repeat < 5; ++repeat) {
      const auto began = std::chrono::steady_clock::now();
      double done = 0;
      run([&](sl::Control& c) { done = bits == 32 ? sl::fma_rounds32(4'000'000, threads, c) : sl::fma_rounds64(4'000'000, threads, c); });
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
      best = std::max(best, done / took.count() / 1e9);
    }
    return best;
  }, "bits"_a, "threads"_a = 0, "Best of five: GFLOP/s of independent multiply-adds in the chosen instruction set.");
  m.def("isa", [] { return sl::isa_name(sl::isa_chosen()); });
  m.def("isas",
        [](bool compiled) {
    std::vector<std::string> names;
    for (auto isa : {sl::Isa::base, sl::Isa::avx2, sl::Isa::avx512})
      if (compiled ? sl::isa_available(isa) : sl::isa_supported(isa)) names.push_back(sl::isa_name(isa));
    return names;
  }, "compiled"_a = true,
        "Instruction sets that this machine runs, slowest first: those that are compiled in, or all that sublearn knows.");
  m.def("set_isa", [](const std::string& name) {
    for (auto isa : {sl::Isa::base, sl::Isa::avx2, sl::Isa::avx512})
      if (name == sl::isa_name(isa)) return sl::set_isa(isa);
    throw py::value_error("isa: expected base, avx2 or avx512, got " + name);
  }, "name"_a);
  m.def("threads_available", [] { return sl::default_threads(); });
  m.def("quota_cores", [](const std::string& cgroup, const std::string& mountinfo) {
    return sl::quota_cores(cgroup.c_str(), mountinfo.c_str());
  }, "cgroup"_a, "mountinfo"_a, "Cores that the CPU quota of a process allows, inf without one, by two files as in /proc/self; for tests.");
}
