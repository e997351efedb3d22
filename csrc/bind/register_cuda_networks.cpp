// Outputs and Jacobians of networks.
#include <algorithm>

#include "bind/cuda.h"
#include "core/primes.h"

namespace cuda_bindings {
namespace {

template <class T> void outputs_of(const sl::Shape& s, const Array& theta, const Array& x, const Array& out, uintptr_t stream) {
  const int64_t batch = out.rows();
  sl::OutputsArgs<T> a{students<T>(s, theta, x, batch), numbers<T>(out, {batch, s.equations}, "out"), 0};
  run(out, stream, [&](sl::cuda::Stream& on) { sl::cuda::outputs(a, on); });
}

void outputs(const sl::Shape& s, const Array& theta, const Array& x, const Array& out, uintptr_t stream) {
  if (holds<float>(theta)) outputs_of<float>(s, theta, x, out, stream);
  else outputs_of<double>(s, theta, x, out, stream);
}

template <class T> void jacobian_of(const sl::Shape& s, const Array& theta, const Array& x, const Array& indices, const Array& out,
                                    uintptr_t stream) {
  const int64_t batch = out.rows();
  const int budget = static_cast<int>(indices.shape.at(1));
  int64_t stride = 0;
  const int* places = batched<int>(indices, batch, budget, stride, "indices");
  sl::JacobianArgs<T> a{students<T>(s, theta, x, batch), places, stride, budget, numbers<T>(out, {batch, s.equations, budget}, "out"), 0};
  run(out, stream, [&](sl::cuda::Stream& on) { sl::cuda::jacobian(a, on); });
}

void jacobian(const sl::Shape& s, const Array& theta, const Array& x, const Array& indices, const Array& out, uintptr_t stream) {
  if (holds<float>(theta)) jacobian_of<float>(s, theta, x, indices, out, stream);
  else jacobian_of<double>(s, theta, x, indices, out, stream);
}

void jacobian_mod(const sl::Shape& s, const Array& theta, const Array& x, uint64_t hidden_seed, uint32_t p, const Array& out,
                  uintptr_t stream) {
  const int64_t batch = out.rows();
  check(p == sl::kPrimes[0] || p == sl::kPrimes[1], "p: expected one of PRIMES");
  check(s.activation != sl::Activation::relu, "jacobian_mod: relu has no Jacobian over GF(p)");
  sl::JacobianModArgs a{
      &s,          batch, numbers<int64_t>(theta, {batch, s.size}, "theta"),          numbers<int64_t>(x, {batch, s.inputs_size}, "x"),
      hidden_seed, p,     numbers<int64_t>(out, {batch, s.equations, s.size}, "out"), 0};
  run(out, stream, [&](sl::cuda::Stream& on) { sl::cuda::jacobian_mod(a, on); });
}

// Which groups of the network hold a learnable weight of some student; places at shape.size fill up short rows.
std::vector<bool> groups_used(const sl::Shape& s, const py::array_t<int, py::array::c_style>& indices) {
  const unsigned size = static_cast<unsigned>(s.size);
  std::vector<char> used(size_t{size} + 2, 0);  // the last: anything outside the network
  const int* at = indices.data();
  for (py::ssize_t k = 0, count = indices.size(); k < count; ++k) used[std::min(static_cast<unsigned>(at[k]), size + 1)] = 1;
  check(!used[size + 1], "indices: outside the network");
  std::vector<bool> out;
  for (int g = 0; g < s.groups; ++g)
    out.push_back(std::find(used.begin() + s.group_begin[g], used.begin() + s.group_begin[g + 1], 1) !=
                  used.begin() + s.group_begin[g + 1]);
  return out;
}

}  // namespace

void register_networks(py::module_& m) {
  m.def("outputs", &outputs, "shape"_a, "theta"_a, "x"_a, "out"_a, "stream"_a = 0);
  m.def("jacobian", &jacobian, "shape"_a, "theta"_a, "x"_a, "indices"_a, "out"_a, "stream"_a = 0);
  m.def("jacobian_mod", &jacobian_mod, "shape"_a, "theta"_a, "x"_a, "hidden_seed"_a, "p"_a, "out"_a, "stream"_a = 0);
  m.def("groups_used", &groups_used, "shape"_a, "indices"_a);
}

}  // namespace cuda_bindings
