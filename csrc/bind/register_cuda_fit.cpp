// Descent on device arrays.
#include "bind/cuda.h"

namespace cuda_bindings {
namespace {

template <class T>
void fit_of(const sl::Shape& s, const Array& theta, const Array& x, const Array& y, const Array& indices, const std::vector<char>& learns,
            int64_t steps, int optimizer, double lr, double tol, const Array* theta_out, const Array& loss, const Array& done,
            const Array& status, const Array* open, uintptr_t stream) {
  const int64_t batch = loss.rows();
  const int budget = static_cast<int>(indices.shape.at(1));
  int64_t stride = 0, y_stride = 0;
  const int* places = batched<int>(indices, batch, budget, stride, "indices");
  const T* target = batched<T>(y, batch, s.equations, y_stride, "y");
  sl::DescendArgs<T> a{students<T>(s, theta, x, batch),
                       target,
                       y_stride,
                       places,
                       stride,
                       budget,
                       reinterpret_cast<const bool*>(learns.data()),
                       static_cast<sl::Optimizer>(optimizer),
                       steps,
                       lr,
                       tol,
                       theta_out ? numbers<T>(*theta_out, {batch, s.size}, "theta_out") : nullptr,
                       numbers<T>(loss, {batch}, "loss"),
                       numbers<int64_t>(done, {batch}, "steps"),
                       numbers<int8_t>(status, {batch}, "status"),
                       0};
  const int8_t* rows = opened(open, batch);
  run(loss, stream, [&](sl::cuda::Stream& on) {
    if (a.theta_out) copy_theta(a.students, a.theta_out, on);
    sl::cuda::descend(a, on, rows);
  });
}

void fit(const sl::Shape& s, const Array& theta, const Array& x, const Array& y, const Array& indices, const std::vector<bool>& learns,
         int64_t steps, int optimizer, double lr, double tol, const Array* theta_out, const Array& loss, const Array& done,
         const Array& status, uintptr_t stream, const Array* open) {
  const auto flags = group_flags(s, learns);
  const auto of = holds<float>(theta) ? &fit_of<float> : &fit_of<double>;
  of(s, theta, x, y, indices, flags, steps, optimizer, lr, tol, theta_out, loss, done, status, open, stream);
}

}  // namespace

void register_fit(py::module_& m) {
  m.def("fit", &fit, "shape"_a, "theta"_a, "x"_a, "y"_a, "indices"_a, "learns"_a, "steps"_a, "optimizer"_a, "lr"_a, "tol"_a, "theta_out"_a,
        "loss"_a, "steps_out"_a, "status"_a, "stream"_a = 0, "open"_a = nullptr);
}

}  // namespace cuda_bindings
