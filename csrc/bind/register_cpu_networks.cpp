// Shapes of networks, their outputs and their Jacobians.
#include <complex>
#include <memory>

#include "bind/cpu.h"
#include "core/primes.h"
#include "ops/jacobian.h"
#include "ops/outputs.h"

namespace cpu_bindings {
namespace {

std::unique_ptr<sl::Shape> make_shape(const std::string& kind, const std::vector<int>& sizes, const std::string& activation,
                                      const std::vector<bool>& biases, const std::vector<bool>& gains, double leak, bool start) {
  sl::Activation act;
  if (activation == "linear") act = sl::Activation::linear;
  else if (activation == "relu") act = sl::Activation::relu;
  else if (activation == "tanh") act = sl::Activation::tanh;
  else throw py::value_error("activation: expected linear, relu or tanh, got " + activation);
  for (int v : sizes) check(v >= 1, "sizes: every size must be at least 1");
  if (kind == "recurrent") {
    check(sizes.size() == 5 && biases.size() == 2 && gains.size() <= 1, "recurrent: expected 5 sizes, 2 biases and at most 1 gain");
    sl::Shape::Extras extras;
    extras.gain = !gains.empty() && gains[0];
    extras.start = start;
    extras.leak = leak;
    extras.sequences = sizes[4];
    return std::make_unique<sl::Shape>(sl::Shape::recurrent(sizes[0], sizes[1], sizes[2], sizes[3], act, biases[0], biases[1], extras));
  }
  check(kind == "feedforward", "kind: expected recurrent or feedforward, got " + kind);
  const int layers = static_cast<int>(sizes.size()) - 2;
  check(layers >= 1 && layers <= sl::kMaxLayers && static_cast<int>(biases.size()) == layers,
        "feedforward: expected 1 to 16 layers, one bias flag each");
  check(gains.size() < static_cast<size_t>(layers) || gains.empty(), "feedforward: expected at most one gain flag for each hidden layer");
  bool has[sl::kMaxLayers], gained[sl::kMaxLayers] = {};
  for (int k = 0; k < layers; ++k) has[k] = biases[k];
  for (size_t k = 0; k < gains.size(); ++k) gained[k] = gains[k];
  return std::make_unique<sl::Shape>(sl::Shape::feedforward(sizes[0], layers, sizes.data() + 1, act, has, gained));
}

template <class T>
Array<T> outputs(const sl::Shape& s, const Array<T>& theta, const Array<T>& x, int threads) {
  const int64_t batch = std::max(theta.shape(0), x.shape(0));
  Array<T> out({batch, static_cast<int64_t>(s.equations)});
  sl::OutputsArgs<T> a{students(s, theta, x, batch), out.mutable_data(), threads};
  run([&](sl::Control& c) { sl::outputs(a, c); });
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

// theta, x: residues in [0, p).
int64_t check_residues(const sl::Shape& s, const Array<int64_t>& theta, const Array<int64_t>& x, uint32_t p) {
  check(theta.ndim() == 2 && theta.shape(1) == s.size, "theta: expected [batch, size]");
  const int64_t batch = theta.shape(0);
  check(x.ndim() == 2 && x.shape(0) == batch && x.shape(1) == s.inputs_size, "x: expected [batch, inputs_size]");
  for (const auto* a : {&theta, &x})
    for (py::ssize_t k = 0; k < a->size(); ++k)
      check(a->data()[k] >= 0 && a->data()[k] < static_cast<int64_t>(p), "entries must lie in [0, p)");
  return batch;
}

Array<int64_t> outputs_mod(const sl::Shape& s, const Array<int64_t>& theta, const Array<int64_t>& x, int threads) {
  check(s.activation == sl::Activation::linear, "outputs_mod: linear networks only");
  const int64_t batch = check_residues(s, theta, x, sl::kPrimes[0]);
  Array<int64_t> out({batch, static_cast<int64_t>(s.equations)});
  sl::OutputsModArgs a{&s, batch, theta.data(), x.data(), out.mutable_data(), threads};
  run([&](sl::Control& c) { sl::outputs_mod(a, c); });
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

Array<int64_t> jacobian_mod(const sl::Shape& s, const Array<int64_t>& theta, const Array<int64_t>& x, uint64_t hidden_seed, uint32_t p,
                            int threads) {
  check(p == sl::kPrimes[0] || p == sl::kPrimes[1], "p: expected one of PRIMES");
  check(s.activation != sl::Activation::relu, "jacobian_mod: relu has no Jacobian over GF(p)");
  const int64_t batch = check_residues(s, theta, x, p);
  Array<int64_t> out({batch, static_cast<int64_t>(s.equations), static_cast<int64_t>(s.size)});
  sl::JacobianModArgs args{&s, batch, theta.data(), x.data(), hidden_seed, p, out.mutable_data(), threads};
  run([&](sl::Control& c) { sl::jacobian_mod(args, c); });
  return out;
}

}  // namespace

void register_networks(py::module_& m) {
  py::class_<sl::Shape>(m, "Shape")
      .def(py::init(&make_shape), "kind"_a, "sizes"_a, "activation"_a, "biases"_a, "gains"_a = std::vector<bool>(), "leak"_a = 1.0,
           "start"_a = false)
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
  m.def("outputs_mod", &outputs_mod, "shape"_a, "theta"_a, "x"_a, "threads"_a = 0);
  m.def("jacobian", &jacobian<float>, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), "indices"_a, "threads"_a = 0);
  m.def("jacobian", &jacobian<double>, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), "indices"_a, "threads"_a = 0);
  m.def("jacobian_mod", &jacobian_mod, "shape"_a, "theta"_a, "x"_a, "hidden_seed"_a, "p"_a, "threads"_a = 0);
}

}  // namespace cpu_bindings
