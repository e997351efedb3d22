// Descent on numpy arrays.
#include "bind/cpu.h"
#include "ops/descend.h"

namespace cpu_bindings {
namespace {

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

}  // namespace

void register_fit(py::module_& m) {
  m.def("fit", &fit<float>, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("y").noconvert(), "indices"_a,
        "steps"_a, "optimizer"_a, "lr"_a, "tol"_a, "threads"_a = 0);
  m.def("fit", &fit<double>, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("y").noconvert(), "indices"_a,
        "steps"_a, "optimizer"_a, "lr"_a, "tol"_a, "threads"_a = 0);
}

}  // namespace cpu_bindings
