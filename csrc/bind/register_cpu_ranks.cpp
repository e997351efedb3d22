// Ranks of numpy arrays.
#include "bind/cpu.h"
#include "core/primes.h"
#include "ops/rank_modp.h"
#include "ops/rank_real.h"

namespace cpu_bindings {
namespace {

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

}  // namespace

void register_ranks(py::module_& m) {
  m.def("rank_real", &rank_real<float>, py::arg("a").noconvert(), "rtol"_a, "threads"_a = 0);
  m.def("rank_real", &rank_real<double>, py::arg("a").noconvert(), "rtol"_a, "threads"_a = 0);
  m.def("rank_mod", &rank_mod, "a"_a, "p"_a, "threads"_a = 0);
  m.def("is_prime", &sl::is_prime, "n"_a);
}

}  // namespace cpu_bindings
