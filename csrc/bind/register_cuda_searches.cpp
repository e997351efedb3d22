// Searches for solutions, and paths from one to another.
#include <optional>

#include "bind/cuda.h"

namespace cuda_bindings {
namespace {

void newton(const sl::Shape& s, const Array& theta, const Array& x, const Array& y, const Array& indices, const std::vector<bool>& learns,
            const std::vector<double>& start_scale, int starts, int max_iterations, double tol, uint64_t seed, uint32_t task,
            const Array& trials, const Array* theta_out, const Array& loss, const Array& found, const Array& iterations, uintptr_t stream,
            const Array* open, const Array* norm2) {
  const int64_t batch = found.rows();
  const int budget = static_cast<int>(indices.shape.at(1));
  check(static_cast<int>(start_scale.size()) == s.size, "start_scale: wrong size");
  check(starts >= 1 && max_iterations >= 1, "starts and max_iterations must be at least 1");
  const auto flags = group_flags(s, learns);
  int64_t stride = 0, y_stride = 0;
  const int* places = batched<int>(indices, batch, budget, stride, "indices");
  const double* target = batched<double>(y, batch, s.equations, y_stride, "y");
  sl::NewtonArgs a{students<double>(s, theta, x, batch),
                   target,
                   y_stride,
                   places,
                   stride,
                   budget,
                   reinterpret_cast<const bool*>(flags.data()),
                   start_scale.data(),
                   starts,
                   max_iterations,
                   tol,
                   seed,
                   task,
                   numbers<uint32_t>(trials, {batch}, "trials"),
                   theta_out ? numbers<double>(*theta_out, {batch, s.size}, "theta_out") : nullptr,
                   numbers<double>(loss, {batch}, "loss"),
                   numbers<int32_t>(found, {batch}, "found"),
                   numbers<int64_t>(iterations, {1}, "iterations"),
                   0,
                   norm2 ? numbers<double>(*norm2, {batch}, "norm2") : nullptr,
                   s.first_gain};
  const int8_t* rows = opened(open, batch);
  run(found, stream, [&](sl::cuda::Stream& on) {
    if (a.theta_out) copy_theta(a.students, a.theta_out, on);
    sl::cuda::newton(a, on, rows);
  });
}

// rows [k] or mix [k, equations] on the host; all else, and the results, on the device. What the numbers in them may be is checked in
// Python.
void continuation(const sl::Shape& s, const Array& points, bool teacher, const Array& indices, const Array& degrees,
                  const std::optional<py::array_t<int, py::array::c_style>>& rows,
                  const std::optional<py::array_t<double, py::array::c_style>>& mix, const std::vector<bool>& learns,
                  const Array& allocation, const Array& from, const Array& to, const Array& group, const Array& start, bool stop_at_real,
                  double aim, double least_step, int max_steps, bool sliced, const Array& end, const Array& status, const Array& steps,
                  const Array& largest, const Array& correction, const Array& done, int64_t first, uintptr_t stream) {
  check(s.activation == sl::Activation::linear && s.plain(), "continuation: plain linear networks only");
  check(indices.shape.size() == 2 && indices.shape[1] >= 1, "indices: at least one learnable weight");
  const int64_t allocations = indices.shape[0], k = indices.shape[1], jobs = start.rows(), count = points.rows();
  check(rows.has_value() != mix.has_value() && (!sliced || rows), "either rows or mix; sliced: only with rows");
  check(!rows || rows->size() == k, "rows: wrong shape");
  check(!mix || mix->size() == k * s.equations, "mix: wrong shape");
  check(!teacher || !sliced, "sliced: not with a teacher");
  const auto flags = group_flags(s, learns);
  sl::ContinuationArgs a{&s,
                         teacher,
                         sliced,
                         nullptr,
                         count,
                         numbers<int>(indices, {allocations, k}, "indices"),
                         allocations,
                         static_cast<int>(k),
                         numbers<int>(degrees, {allocations, k}, "degrees"),
                         rows ? rows->data() : nullptr,
                         mix ? mix->data() : nullptr,
                         reinterpret_cast<const bool*>(flags.data()),
                         jobs,
                         numbers<int>(allocation, {jobs}, "allocation"),
                         numbers<int>(from, {jobs}, "from"),
                         numbers<int>(to, {jobs}, "to"),
                         numbers<int>(group, {jobs}, "group"),
                         numbers<double>(start, {jobs, k, 2}, "start"),
                         stop_at_real,
                         aim,
                         least_step,
                         max_steps,
                         numbers<double>(end, {jobs, k, 2}, "end"),
                         numbers<int8_t>(status, {jobs}, "status"),
                         numbers<int32_t>(steps, {jobs}, "steps"),
                         numbers<double>(largest, {jobs}, "largest"),
                         numbers<double>(correction, {jobs}, "correction"),
                         0};
  a.points = numbers<double>(points, {count, sl::point_width(a, s), 2}, "points");
  check(reinterpret_cast<uintptr_t>(a.points) % 16 == 0, "points: not aligned to 16 bytes");
  int64_t* firsts = numbers<int64_t>(done, {-1}, "done");
  run(end, stream, [&](sl::cuda::Stream& on) { sl::cuda::continuation(a, firsts, first, on); });
}

}  // namespace

void register_searches(py::module_& m) {
  m.def("newton", &newton, "shape"_a, "theta"_a, "x"_a, "y"_a, "indices"_a, "learns"_a, "start_scale"_a, "starts"_a, "max_iterations"_a,
        "tol"_a, "seed"_a, "task"_a, "trials"_a, "theta_out"_a, "loss"_a, "found"_a, "iterations"_a, "stream"_a = 0, "open"_a = nullptr,
        "norm2"_a = nullptr);
  m.def("continuation", &continuation, "shape"_a, "points"_a, "teacher"_a, "indices"_a, "degrees"_a, "rows"_a, "mix"_a, "learns"_a,
        "allocation"_a, "from_"_a, "to"_a, "group"_a, "start"_a, "stop_at_real"_a, "aim"_a, "least_step"_a, "max_steps"_a, "sliced"_a,
        "end"_a, "status"_a, "steps"_a, "largest"_a, "correction"_a, "done"_a, "first"_a, "stream"_a = 0);
}

}  // namespace cuda_bindings
