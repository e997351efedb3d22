// Projections on columns of device arrays, and the choice of such columns.
#include "bind/cuda.h"

namespace cuda_bindings {
namespace {

// Rows of a [batch or 1][..]: the stride of a member of the batch.
int64_t stride_of(const Array& a, int64_t batch) {
  check(a.rows() == batch || a.rows() == 1, "batch: wrong number of rows");
  return a.rows() == 1 ? 0 : a.count() / a.rows();
}

template <class T>
void project_of(const Array& a, const Array& g, const Array& columns, double rtol, const Array& residual, const Array& share,
                const Array& rank, const Array& coefficients, const Array& finite, uintptr_t stream) {
  const int64_t batch = residual.rows(), m = a.shape.at(1), k = columns.shape.at(1);
  sl::ProjectArgs<T> args{numbers<T>(a, {-1, -1, -1}, "a"),
                          stride_of(a, batch),
                          batch,
                          static_cast<int>(m),
                          static_cast<int>(a.shape[2]),
                          numbers<int>(columns, {-1, k}, "columns"),
                          stride_of(columns, batch),
                          static_cast<int>(k),
                          numbers<T>(g, {-1, m}, "g"),
                          stride_of(g, batch),
                          rtol,
                          numbers<T>(residual, {batch}, "residual"),
                          numbers<T>(share, {batch}, "share"),
                          numbers<int64_t>(rank, {batch}, "rank"),
                          numbers<T>(coefficients, {batch, k}, "coefficients"),
                          numbers<int8_t>(finite, {batch}, "finite"),
                          0};
  run(a, stream, [&](sl::cuda::Stream& s) { sl::cuda::project(args, s); });
}

void project(const Array& a, const Array& g, const Array& columns, double rtol, const Array& residual, const Array& share,
             const Array& rank, const Array& coefficients, const Array& finite, uintptr_t stream) {
  if (holds<float>(a)) project_of<float>(a, g, columns, rtol, residual, share, rank, coefficients, finite, stream);
  else project_of<double>(a, g, columns, rtol, residual, share, rank, coefficients, finite, stream);
}

template <class T>
void choose_columns_of(const Array& a, const Array& g, const Array* candidates, const Array& given, int rule, double guard,
                       const Array& indices, const Array& residuals, const Array& finite, uintptr_t stream) {
  const int64_t batch = indices.rows(), m = a.shape.at(1), p = a.shape.at(2), budget = indices.shape.at(1), count = given.shape.at(1);
  check(rule >= 0 && rule <= 2, "rule: out of range");
  sl::ChooseColumnsArgs<T> args{numbers<T>(a, {-1, -1, -1}, "a"),
                                stride_of(a, batch),
                                batch,
                                static_cast<int>(m),
                                static_cast<int>(p),
                                numbers<T>(g, {-1, m}, "g"),
                                stride_of(g, batch),
                                candidates ? numbers<bool>(*candidates, {-1, p}, "candidates") : nullptr,
                                candidates ? stride_of(*candidates, batch) : 0,
                                numbers<int>(given, {-1, count}, "given"),
                                stride_of(given, batch),
                                static_cast<int>(count),
                                static_cast<int>(budget),
                                static_cast<sl::ColumnRule>(rule),
                                guard,
                                numbers<int64_t>(indices, {batch, budget}, "indices"),
                                numbers<T>(residuals, {batch, budget}, "residuals"),
                                numbers<int8_t>(finite, {batch}, "finite"),
                                0};
  run(a, stream, [&](sl::cuda::Stream& s) { sl::cuda::choose_columns(args, s); });
}

void choose_columns(const Array& a, const Array& g, const Array* candidates, const Array& given, int rule, double guard,
                    const Array& indices, const Array& residuals, const Array& finite, uintptr_t stream) {
  if (holds<float>(a)) choose_columns_of<float>(a, g, candidates, given, rule, guard, indices, residuals, finite, stream);
  else choose_columns_of<double>(a, g, candidates, given, rule, guard, indices, residuals, finite, stream);
}

}  // namespace

void register_projection(py::module_& m) {
  m.def("project", &project, "a"_a, "g"_a, "columns"_a, "rtol"_a, "residual"_a, "share"_a, "rank"_a, "coefficients"_a, "finite"_a,
        "stream"_a = 0);
  m.def("choose_columns", &choose_columns, "a"_a, "g"_a, py::arg("candidates").none(true), "given"_a, "rule"_a, "guard"_a, "indices"_a,
        "residuals"_a, "finite"_a, "stream"_a = 0);
}

}  // namespace cuda_bindings
