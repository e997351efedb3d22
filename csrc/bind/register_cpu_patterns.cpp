// Searches over the activation patterns of relu networks.
#include "bind/cpu.h"
#include "ops/activation_patterns.h"

namespace cpu_bindings {
namespace {

py::tuple activation_patterns(const sl::Shape& s, const Array<double>& theta, const Array<double>& x, const Array<double>& y,
                              const Array<bool>& masks, int layer, int64_t most, double eps, int threads) {
  check(s.kind == sl::Kind::feedforward && s.activation == sl::Activation::relu, "activation_patterns: relu feedforward networks only");
  check(s.plain(), "activation_patterns: no gains");
  check(s.samples <= 8, "activation_patterns: at most 8 samples");
  check(layer >= 1 && layer < s.layers, "layer: expected a hidden layer");
  const int64_t batch = theta.shape(0);
  auto whole = [&](const py::array& a, int64_t width, const char* name) {
    check(a.ndim() == 2 && a.shape(0) == batch && a.shape(1) == width, std::string(name) + ": wrong shape");
  };
  whole(theta, s.size, "theta");
  whole(x, s.inputs_size, "x");
  whole(y, s.equations, "y");
  whole(masks, s.size, "masks");
  int64_t units = 0;
  for (int l = layer; l < s.layers; ++l) units += s.widths[l];
  Array<int8_t> match(batch);
  Array<bool> nothing(batch), pattern({batch, static_cast<int64_t>(s.samples), units});
  Array<double> theta_out({batch, static_cast<int64_t>(s.size)});
  std::copy_n(theta.data(), batch * s.size, theta_out.mutable_data());
  std::fill_n(pattern.mutable_data(), pattern.size(), false);
  sl::ActivationPatternsArgs a{&s,
                               batch,
                               theta.data(),
                               x.data(),
                               y.data(),
                               masks.data(),
                               layer,
                               most,
                               eps,
                               match.mutable_data(),
                               nothing.mutable_data(),
                               theta_out.mutable_data(),
                               pattern.mutable_data(),
                               threads};
  run([&](sl::Control& c) { sl::activation_patterns(a, c); });
  return py::make_tuple(match, nothing, theta_out, pattern);
}

py::tuple feasible(const Array<double>& C, const Array<double>& e, double margin) {
  check(C.ndim() == 3 && e.ndim() == 2 && e.shape(0) == C.shape(0) && e.shape(1) == C.shape(1), "expected C [batch, r, k], e [batch, r]");
  Array<int8_t> status(C.shape(0));
  Array<double> v({C.shape(0), C.shape(2)});
  std::fill_n(v.mutable_data(), v.size(), 0.0);
  sl::FeasibleArgs a{
      C.data(),        e.data(), C.shape(0), static_cast<int>(C.shape(1)), static_cast<int>(C.shape(2)), margin, status.mutable_data(),
      v.mutable_data()};
  run([&](sl::Control& c) { sl::feasible(a, c); });
  return py::make_tuple(status, v);
}

}  // namespace

void register_patterns(py::module_& m) {
  m.def("feasible", &feasible, "C"_a, "e"_a, "margin"_a = 0.0);
  m.def("activation_patterns", &activation_patterns, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(),
        py::arg("y").noconvert(), "masks"_a, "layer"_a, "most"_a, "eps"_a, "threads"_a = 0);
}

}  // namespace cpu_bindings
