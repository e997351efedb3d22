// What is said of trials before and after a search.
#include "bind/cuda.h"
#include "core/primes.h"

namespace cuda_bindings {
namespace {

void screen(const Array& mask, const Array& jacobian, const std::vector<uint32_t>& p, int required, const Array& inside,
            const Array& outside, int64_t at_once, const Array& indices, const Array& classes, uintptr_t stream) {
  const int64_t batch = classes.rows(), points = static_cast<int64_t>(p.size()), families = inside.rows();
  check(mask.shape.size() == 2 && jacobian.shape.size() == 3 && indices.shape.size() == 2, "screen: wrong shapes");
  const int64_t size = mask.shape[1];
  for (const uint32_t prime : p) check(prime < (uint32_t{1} << 31) && sl::is_prime(prime), "p: expected primes below 2**31");
  sl::ScreenArgs a{batch,
                   static_cast<int>(size),
                   static_cast<int>(jacobian.shape[1]),
                   static_cast<int>(indices.shape[1]),
                   numbers<bool>(mask, {batch, size}, "mask"),
                   required,
                   static_cast<int>(points),
                   numbers<int64_t>(jacobian, {points, -1, size}, "jacobian"),
                   p.data(),
                   static_cast<int>(families),
                   numbers<int>(inside, {families, size}, "inside"),
                   numbers<int>(outside, {families, size}, "outside"),
                   at_once,
                   numbers<int>(indices, {batch, -1}, "indices"),
                   numbers<int8_t>(classes, {batch}, "classes")};
  run(classes, stream, [&](sl::cuda::Stream& on) { sl::cuda::screen(a, on); });
}

void found_by_loss(const Array& loss, const Array& y, double tol, const Array* open, const Array& found, uintptr_t stream) {
  const int64_t batch = found.rows();
  check(y.shape.size() == 2, "y: wrong shape");
  sl::FoundByLossArgs a{batch, static_cast<int>(y.shape[1]), numbers<double>(loss, {batch}, "loss"),   numbers<double>(y, {batch, -1}, "y"),
                        tol,   opened(open, batch),          numbers<int32_t>(found, {batch}, "found")};
  run(found, stream, [&](sl::cuda::Stream& on) { sl::cuda::found_by_loss(a, on); });
}

}  // namespace

void register_screen(py::module_& m) {
  m.def("screen", &screen, "mask"_a, "jacobian"_a, "p"_a, "required"_a, "inside"_a, "outside"_a, "at_once"_a, "indices"_a, "classes"_a,
        "stream"_a = 0);
  m.def("found_by_loss", &found_by_loss, "loss"_a, "y"_a, "tol"_a, "open"_a, "found"_a, "stream"_a = 0);
  m.attr("NO") = sl::kNo;
  m.attr("SEARCHED") = sl::kSearched;
  m.attr("AFFINE") = sl::kAffine;
  m.attr("NOT_ALLOWED") = sl::kNotAllowed;
}

}  // namespace cuda_bindings
