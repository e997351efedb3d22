// Ranks of numpy arrays.
#include "bind/cpu.h"
#include "core/primes.h"
#include "ops/rank_modp.h"
#include "ops/rank_real.h"
#include "ops/reduce_modp.h"

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

// table, held and row_of are changed in place.
int64_t reduce_mod(Array<int64_t> table, Array<int64_t> held, Array<int64_t> row_of, const Array<int64_t>& order, uint64_t p,
                   int64_t most) {
  check(table.ndim() == 2, "table: expected [rows, n]");
  const int64_t rows = table.shape(0), n = table.shape(1);
  check(p < (uint64_t{1} << 31) && sl::is_prime(p), "p: expected a prime below 2**31, got " + std::to_string(p));
  check(held.ndim() == 1 && held.shape(0) == rows, "held: expected [rows]");
  check(row_of.ndim() == 1 && row_of.shape(0) == n, "row_of: expected [n]");
  check(order.ndim() == 1, "order: expected one axis");
  bool inside = true;
  for (py::ssize_t k = 0; k < order.size(); ++k) inside &= order.data()[k] >= 0 && order.data()[k] < n;
  check(inside, "order: outside the table");
  sl::ReduceModpArgs args{table.mutable_data(), rows,         n,    held.mutable_data(),     row_of.mutable_data(),
                          order.data(),         order.size(), most, static_cast<uint32_t>(p)};
  int64_t found = 0;
  run([&](sl::Control& c) { found = sl::reduce_modp(args, c); });
  return found;
}

}  // namespace

void register_ranks(py::module_& m) {
  m.def("rank_real", &rank_real<float>, py::arg("a").noconvert(), "rtol"_a, "threads"_a = 0);
  m.def("rank_real", &rank_real<double>, py::arg("a").noconvert(), "rtol"_a, "threads"_a = 0);
  m.def("rank_mod", &rank_mod, "a"_a, "p"_a, "threads"_a = 0);
  m.def("reduce_mod", &reduce_mod, py::arg("table").noconvert(), py::arg("held").noconvert(), py::arg("row_of").noconvert(), "order"_a,
        "p"_a, "most"_a);
  m.def("is_prime", &sl::is_prime, "n"_a);
}

}  // namespace cpu_bindings
