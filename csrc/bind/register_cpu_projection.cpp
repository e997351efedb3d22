// Projections on columns of numpy arrays, and the choice of such columns.
#include "bind/cpu.h"
#include "ops/choose_columns.h"
#include "ops/project.h"

namespace cpu_bindings {
namespace {

// The batch of arguments that have one row for every member, or one for all; and the stride of one of them.
int64_t batch_of(std::initializer_list<int64_t> rows) {
  int64_t batch = 1;
  for (const int64_t count : rows) batch = count > batch ? count : batch;
  for (const int64_t count : rows) check(count == batch || count == 1, "batch: wrong number of rows");
  return batch;
}
template <class A> int64_t stride_of(const A& a, int64_t batch) { return a.shape(0) == 1 && batch != 1 ? 0 : a.size() / a.shape(0); }
void inside(const Array<int>& numbers, int64_t p, const char* name) {
  bool good = true;
  for (py::ssize_t k = 0; k < numbers.size(); ++k) good &= numbers.data()[k] >= -1 && numbers.data()[k] < p;
  check(good, std::string(name) + ": outside the matrix");
}

template <class T>
py::dict project(const Array<T>& a, const Array<T>& g, const Array<int>& columns, double rtol, int threads) {
  check(a.ndim() == 3 && g.ndim() == 2 && columns.ndim() == 2 && g.shape(1) == a.shape(1), "a, g, columns: wrong shape");
  const int64_t batch = batch_of({a.shape(0), g.shape(0), columns.shape(0)});
  inside(columns, a.shape(2), "columns");
  check(a.shape(2) > 0, "a: expected columns");
  Array<T> residual(batch), share(batch), coefficients({batch, static_cast<int64_t>(columns.shape(1))});
  Array<int64_t> rank(batch);
  Array<int8_t> finite(batch);
  sl::ProjectArgs<T> args{a.data(),
                          stride_of(a, batch),
                          batch,
                          static_cast<int>(a.shape(1)),
                          static_cast<int>(a.shape(2)),
                          columns.data(),
                          stride_of(columns, batch),
                          static_cast<int>(columns.shape(1)),
                          g.data(),
                          stride_of(g, batch),
                          rtol,
                          residual.mutable_data(),
                          share.mutable_data(),
                          rank.mutable_data(),
                          coefficients.mutable_data(),
                          finite.mutable_data(),
                          threads};
  run([&](sl::Control& c) { sl::project(args, c); });
  return py::dict("residual"_a = residual, "share"_a = share, "rank"_a = rank, "coefficients"_a = coefficients, "finite"_a = finite);
}

template <class T>
py::dict choose_columns(const Array<T>& a, const Array<T>& g, const std::optional<Array<bool>>& candidates, const Array<int>& given,
                        int budget, int rule, double guard, int threads) {
  check(a.ndim() == 3 && g.ndim() == 2 && given.ndim() == 2 && g.shape(1) == a.shape(1), "a, g, given: wrong shape");
  check(!candidates || (candidates->ndim() == 2 && candidates->shape(1) == a.shape(2)), "candidates: wrong shape");
  check(budget >= 0 && rule >= 0 && rule <= 2, "budget, rule: out of range");
  const int64_t batch = batch_of({a.shape(0), g.shape(0), given.shape(0), candidates ? candidates->shape(0) : 1});
  inside(given, a.shape(2), "given");
  Array<int64_t> indices({batch, static_cast<int64_t>(budget)});
  Array<T> residuals({batch, static_cast<int64_t>(budget)});
  Array<int8_t> finite(batch);
  sl::ChooseColumnsArgs<T> args{a.data(),
                                stride_of(a, batch),
                                batch,
                                static_cast<int>(a.shape(1)),
                                static_cast<int>(a.shape(2)),
                                g.data(),
                                stride_of(g, batch),
                                candidates ? candidates->data() : nullptr,
                                candidates ? stride_of(*candidates, batch) : 0,
                                given.data(),
                                stride_of(given, batch),
                                static_cast<int>(given.shape(1)),
                                budget,
                                static_cast<sl::ColumnRule>(rule),
                                guard,
                                indices.mutable_data(),
                                residuals.mutable_data(),
                                finite.mutable_data(),
                                threads};
  run([&](sl::Control& c) { sl::choose_columns(args, c); });
  return py::dict("indices"_a = indices, "residuals"_a = residuals, "finite"_a = finite);
}

template <class T> void register_for(py::module_& m) {
  m.def("project", &project<T>, py::arg("a").noconvert(), py::arg("g").noconvert(), "columns"_a, "rtol"_a, "threads"_a = 0);
  m.def("choose_columns", &choose_columns<T>, py::arg("a").noconvert(), py::arg("g").noconvert(), py::arg("candidates").none(true),
        "given"_a, "budget"_a, "rule"_a, "guard"_a, "threads"_a = 0);
}

}  // namespace

void register_projection(py::module_& m) {
  register_for<float>(m);
  register_for<double>(m);
}

}  // namespace cpu_bindings
