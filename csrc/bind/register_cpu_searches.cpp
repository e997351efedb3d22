// Searches for solutions, the proof that one is near, and paths from one to another.
#include <complex>

#include "bind/cpu.h"
#include "ops/certify.h"
#include "ops/continuation.h"
#include "ops/newton.h"

namespace cpu_bindings {
namespace {

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
                   norm2 ? norm2->data() : nullptr,
                   s.first_gain};
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
  check(s.activation == sl::Activation::linear && s.plain(), "continuation: plain linear networks only");
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

}  // namespace

void register_searches(py::module_& m) {
  m.def("newton", &newton, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("y").noconvert(), "indices"_a,
        "start_scale"_a, "starts"_a, "max_iterations"_a, "tol"_a, "seed"_a, "task"_a, "trials"_a, "threads"_a = 0, "norm2"_a = py::none());
  m.def("certify", &certify, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("y").noconvert(), "indices"_a,
        "rows"_a, "y_radius"_a = py::none(), "teacher"_a = py::none(), "threads"_a = 0);
  m.def("continuation", &continuation, "shape"_a, py::arg("points").noconvert(), "teacher"_a, "indices"_a, "degrees"_a, "rows"_a, "mix"_a,
        "allocation"_a, "from_"_a, "to"_a, "group"_a, py::arg("start").noconvert(), "stop_at_real"_a = false, "aim"_a = 1e-4,
        "least_step"_a = 1e-10, "max_steps"_a = 2000, "sliced"_a = false, "threads"_a = 0);
}

}  // namespace cpu_bindings
