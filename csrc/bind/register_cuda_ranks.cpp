// Ranks of device arrays.
#include <algorithm>

#include "bind/cuda.h"
#include "core/primes.h"

namespace cuda_bindings {
namespace {

template <class T> void rank_real_of(const Array& a, double rtol, const Array& rank, const Array& certified, const Array& finite,
                                     uintptr_t stream) {
  const T* data = numbers<T>(a, {-1, -1, -1}, "a");
  const int64_t batch = a.shape[0];
  sl::RankRealArgs<T> args{data,
                           batch,
                           static_cast<int>(a.shape[1]),
                           static_cast<int>(a.shape[2]),
                           rtol,
                           numbers<int64_t>(rank, {batch}, "rank"),
                           numbers<int8_t>(certified, {batch}, "certified"),
                           numbers<int8_t>(finite, {batch}, "finite"),
                           0};
  run(a, stream, [&](sl::cuda::Stream& s) { sl::cuda::rank_real(args, s); });
}

void rank_real(const Array& a, double rtol, const Array& rank, const Array& certified, const Array& finite, uintptr_t stream) {
  if (holds<float>(a)) rank_real_of<float>(a, rtol, rank, certified, finite, stream);
  else rank_real_of<double>(a, rtol, rank, certified, finite, stream);
}

py::tuple rank_questions(const Array& certified, const Array& finite, uintptr_t stream) {
  const int64_t batch = certified.rows();
  const int8_t *sure = numbers<int8_t>(certified, {batch}, "certified"), *whole = numbers<int8_t>(finite, {batch}, "finite");
  sl::cuda::RankQuestions found;
  run(certified, stream, [&](sl::cuda::Stream& s) { found = sl::cuda::rank_questions(sure, whole, batch, s); });
  py::array_t<int> unsure(static_cast<py::ssize_t>(found.unproven.size()));
  std::copy(found.unproven.begin(), found.unproven.end(), unsure.mutable_data());
  return py::make_tuple(unsure, found.first_not_finite);
}

void rank_mod(const Array& a, uint64_t p, const Array& rank, uintptr_t stream) {
  check(p < (uint64_t{1} << 31) && sl::is_prime(p), "p: expected a prime below 2**31");
  const int64_t* data = numbers<int64_t>(a, {-1, -1, -1}, "a");
  sl::RankModpArgs args{data,
                        a.shape[0],
                        static_cast<int>(a.shape[1]),
                        static_cast<int>(a.shape[2]),
                        static_cast<uint32_t>(p),
                        numbers<int64_t>(rank, {a.shape[0]}, "rank"),
                        0};
  run(a, stream, [&](sl::cuda::Stream& s) { sl::cuda::rank_modp(args, s); });
}

}  // namespace

void register_ranks(py::module_& m) {
  m.def("rank_real", &rank_real, "a"_a, "rtol"_a, "rank"_a, "certified"_a, "finite"_a, "stream"_a = 0);
  m.def("rank_questions", &rank_questions, "certified"_a, "finite"_a, "stream"_a = 0,
        "(numbers of the matrices whose rank is not proven, number of the first with nan or inf or -1), as numpy and int.");
  m.def("rank_mod", &rank_mod, "a"_a, "p"_a, "rank"_a, "stream"_a = 0);
}

}  // namespace cuda_bindings
