// Outputs, linear systems and matches in double-double balls. A ball array is a tuple (hi, lo, rad) of arrays of one shape; None for zeros.
#include <array>

#include "bind/cpu.h"
#include "ops/enclosed.h"
#include "ops/pattern_proof.h"
#include "ops/substitution.h"

namespace cpu_bindings {
namespace {

using Numbers = Array<double>;
using Balls = std::array<std::optional<Numbers>, 3>;

// Pointers into balls of the given shape.
sl::EnclosedNumbers numbers(const Balls& balls, const std::vector<int64_t>& shape, const char* name) {
  const double* at[3] = {};
  check(balls[0].has_value(), std::string(name) + ": hi is missing");
  for (int part = 0; part < 3; ++part) {
    if (!balls[part]) continue;
    const Numbers& a = *balls[part];
    check(std::vector<int64_t>(a.shape(), a.shape() + a.ndim()) == shape, std::string(name) + ": wrong shape");
    at[part] = a.data();
  }
  return {at[0], at[1], at[2]};
}

struct Filled {  // balls to be written
  Numbers hi, lo, rad;
  explicit Filled(const std::vector<int64_t>& shape) : hi(shape), lo(shape), rad(shape) {}
  Filled(const std::vector<int64_t>& shape, const sl::EnclosedNumbers& from) : Filled(shape) {
    std::copy_n(from.hi, hi.size(), hi.mutable_data());
    for (auto [to, source] : {std::pair{&lo, from.lo}, std::pair{&rad, from.rad}}) {
      if (source) std::copy_n(source, to->size(), to->mutable_data());
      else std::fill_n(to->mutable_data(), to->size(), 0.0);
    }
  }
  py::tuple tuple() const { return py::make_tuple(hi, lo, rad); }
};

void check_x(const sl::Shape& s, const Numbers& x, int64_t batch) {
  check(x.ndim() == 2 && x.shape(0) == batch && x.shape(1) == s.inputs_size, "x: wrong shape");
}
template <class T> const T* matrix(const std::optional<Array<T>>& a, int64_t rows, int64_t columns, const char* name) {
  check(a && a->ndim() == 2 && a->shape(0) == rows && a->shape(1) == columns, std::string(name) + ": wrong shape");
  return a->data();
}

py::tuple enclosed_outputs(const sl::Shape& s, const Balls& theta, const Numbers& x, const std::optional<Balls>& y, int threads) {
  const int64_t batch = x.shape(0), equations = s.equations;
  check_x(s, x, batch);
  Filled out({batch, equations});
  sl::EnclosedOutputsArgs a{&s,
                            batch,
                            numbers(theta, {batch, static_cast<int64_t>(s.size)}, "theta"),
                            x.data(),
                            y ? numbers(*y, {batch, equations}, "y") : sl::EnclosedNumbers{},
                            out.hi.mutable_data(),
                            out.lo.mutable_data(),
                            out.rad.mutable_data(),
                            threads};
  run([&](sl::Control& c) { sl::enclosed_outputs(a, c); });
  return out.tuple();
}

py::tuple enclosed_systems(const Balls& A, const Balls& right, const Balls& values, const Array<bool>& allowed, int threads) {
  check(A[0] && A[0]->ndim() == 3, "A: expected [batch, m, k]");
  const int64_t batch = A[0]->shape(0), m = A[0]->shape(1), k = A[0]->shape(2);
  check(m >= 1, "A: at least one equation");
  check(allowed.ndim() == 2 && allowed.shape(0) == batch && allowed.shape(1) == k, "allowed: wrong shape");
  Filled w({batch, k}, numbers(values, {batch, k}, "values"));
  Array<bool> proven(batch);
  sl::EnclosedSystemsArgs a{
      batch,          static_cast<int>(m), static_cast<int>(k), numbers(A, {batch, m, k}, "A"), numbers(right, {batch, m}, "right"),
      allowed.data(), w.hi.mutable_data(), w.lo.mutable_data(), w.rad.mutable_data(),           proven.mutable_data(),
      threads};
  run([&](sl::Control& c) { sl::enclosed_systems(a, c); });
  return py::make_tuple(w.tuple(), proven);
}

Array<int> pick_columns(const Numbers& A, const Array<bool>& allowed, int count, int threads) {
  check(A.ndim() == 3, "A: expected [batch, m, k]");
  const int64_t batch = A.shape(0), m = A.shape(1), k = A.shape(2);
  check(allowed.ndim() == 2 && allowed.shape(0) == batch && allowed.shape(1) == k, "allowed: wrong shape");
  check(count >= 0, "count: must not be negative");
  Array<int> chosen({batch, static_cast<int64_t>(count)});
  sl::PickColumnsArgs a{batch, static_cast<int>(m), static_cast<int>(k), count, A.data(), allowed.data(), chosen.mutable_data(), threads};
  run([&](sl::Control& c) { sl::pick_columns(a, c); });
  return chosen;
}

// What the four forms share: theta, in and out, and the marks.
struct Call {
  Filled theta;
  Array<bool> proven, refused, near;
  Numbers first_gap;
  sl::SubstitutionArgs a{};
  Call(const sl::Shape& s, sl::SubstitutionForm form, const Balls& from, const Numbers& x, const Balls& y, int threads)
      : theta({x.shape(0), static_cast<int64_t>(s.size)}, numbers(from, {x.shape(0), static_cast<int64_t>(s.size)}, "theta")),
        proven(x.shape(0)), refused(x.shape(0)), near(x.shape(0)), first_gap({x.shape(0), static_cast<int64_t>(s.outputs)}) {
    check(form == sl::SubstitutionForm::affine || s.plain(), "substitution: plain networks only");
    check_x(s, x, x.shape(0));
    const sl::EnclosedNumbers target = numbers(y, {x.shape(0), static_cast<int64_t>(s.equations)}, "y");
    a.shape = &s;
    a.batch = x.shape(0);
    a.form = form;
    a.x = x.data();
    a.y_hi = target.hi, a.y_lo = target.lo, a.y_rad = target.rad;
    a.theta_hi = theta.hi.mutable_data(), a.theta_lo = theta.lo.mutable_data(), a.theta_rad = theta.rad.mutable_data();
    a.proven = proven.mutable_data(), a.refused = refused.mutable_data(), a.near = near.mutable_data();
    a.threads = threads;
  }
  void solve() {
    run([&](sl::Control& c) { sl::substitution(a, c); });
  }
};

py::tuple substitute_rows(const sl::Shape& s, const Balls& theta, const Numbers& x, const Balls& y, const Array<bool>& use,
                          bool first_given, const std::optional<Numbers>& rounding, double own_rounding, int threads) {
  check(s.kind == sl::Kind::recurrent, "substitute_rows: recurrent networks only");
  check(s.outputs <= s.hidden && s.steps > first_given, "substitute_rows: no equations, or more outputs than units");
  Call call(s, sl::SubstitutionForm::rows, theta, x, y, threads);
  call.a.first_given = first_given;
  call.a.use = matrix<bool>(use, call.a.batch, s.size, "use");
  if (s.activation != sl::Activation::linear) call.a.rounding = matrix(rounding, call.a.batch, s.equations, "rounding");
  call.a.own_rounding = own_rounding;
  std::fill_n(call.first_gap.mutable_data(), call.first_gap.size(), 0.0);
  call.a.first_gap = call.first_gap.mutable_data();
  call.solve();
  return py::make_tuple(call.theta.tuple(), call.proven, call.refused, call.near, call.first_gap);
}

py::tuple substitute_column(const sl::Shape& s, const Balls& theta, const Numbers& x, const Balls& y, const Array<bool>& use,
                            const Array<int>& unit, bool first_given, int threads) {
  check(s.kind == sl::Kind::recurrent && s.activation == sl::Activation::linear, "substitute_column: linear recurrent networks only");
  check(s.steps > first_given, "substitute_column: no equations");
  Call call(s, sl::SubstitutionForm::column, theta, x, y, threads);
  check(unit.ndim() == 1 && unit.shape(0) == call.a.batch, "unit: wrong shape");
  for (py::ssize_t b = 0; b < unit.size(); ++b) check(unit.data()[b] >= 0 && unit.data()[b] < s.hidden, "unit: outside the network");
  call.a.first_given = first_given;
  call.a.use = matrix<bool>(use, call.a.batch, s.size, "use");
  call.a.unit = unit.data();
  std::fill_n(call.first_gap.mutable_data(), call.first_gap.size(), 0.0);
  call.a.first_gap = call.first_gap.mutable_data();
  call.solve();
  return py::make_tuple(call.theta.tuple(), call.proven, call.first_gap);
}

py::tuple substitute_affine(const sl::Shape& s, const Balls& theta, const Numbers& x, const Balls& y, const Array<int>& place,
                            const Array<int>& rows, int threads) {
  Call call(s, sl::SubstitutionForm::affine, theta, x, y, threads);
  check(place.ndim() == 2 && place.shape(1) >= 1, "place: expected [batch, count]");
  call.a.count = static_cast<int>(place.shape(1));
  call.a.place = matrix<int>(place, call.a.batch, call.a.count, "place");
  call.a.rows = matrix<int>(rows, call.a.batch, call.a.count, "rows");
  for (py::ssize_t k = 0; k < place.size(); ++k) {
    check(place.data()[k] >= 0 && place.data()[k] < s.size, "place: outside the network");
    check(rows.data()[k] >= 0 && rows.data()[k] < s.equations, "rows: outside the equations");
  }
  call.solve();
  return py::make_tuple(call.theta.tuple(), call.proven);
}

py::tuple substitute_last_rows(const sl::Shape& s, const Balls& theta, const Numbers& x, const Balls& y, const Array<bool>& use,
                               const Array<bool>& held, int count, int threads) {
  const bool deep = s.kind == sl::Kind::feedforward;
  Call call(s, sl::SubstitutionForm::last_rows, theta, x, y, threads);
  check(held.ndim() == 1 && held.shape(0) == (deep ? s.widths[s.layers] : s.outputs), "held: wrong shape");
  check(count >= 1 && count <= (deep ? s.samples : s.steps), "count: more than there are samples or steps");
  call.a.use = matrix<bool>(use, call.a.batch, s.size, "use");
  call.a.held = held.data();
  call.a.count = count;
  call.solve();
  return py::make_tuple(call.theta.tuple(), call.proven);
}

// (theta, proven). pattern: None where the last layer learns, or for `nothing`.
py::tuple pattern_proof(const sl::Shape& s, int layer, const Numbers& theta, const Numbers& x, const Numbers& y, const Array<bool>& learns,
                        const std::optional<Array<bool>>& pattern, bool nothing, int threads) {
  check(s.kind == sl::Kind::feedforward && s.activation == sl::Activation::relu && s.plain(),
        "pattern_proof: plain feedforward relu networks only");
  check(layer >= 1 && layer <= s.layers, "layer: outside the network");
  const int64_t batch = theta.shape(0);
  check(theta.ndim() == 2 && theta.shape(1) == s.size, "theta: wrong shape");
  check_x(s, x, batch);
  check(y.ndim() == 2 && y.shape(0) == batch && y.shape(1) == s.equations, "y: wrong shape");
  int total = 0;
  for (int l = layer; l < s.layers; ++l) total += s.widths[l];
  if (!nothing && layer < s.layers)
    check(pattern && pattern->ndim() == 3 && pattern->shape(0) == batch && pattern->shape(1) == s.samples && pattern->shape(2) == total,
          "pattern: expected [batch, samples, units]");
  Filled out({batch, static_cast<int64_t>(s.size)}, {theta.data(), nullptr, nullptr});
  Array<bool> proven(batch);
  sl::PatternProofArgs a{&s,
                         batch,
                         layer,
                         out.hi.mutable_data(),
                         x.data(),
                         y.data(),
                         matrix<bool>(learns, batch, s.size, "learns"),
                         pattern ? pattern->data() : nullptr,
                         nothing,
                         proven.mutable_data(),
                         threads};
  run([&](sl::Control& c) { sl::pattern_proof(a, c); });
  return py::make_tuple(out.hi, proven);
}

}  // namespace

void register_enclosures(py::module_& m) {
  m.def("enclosed_outputs", &enclosed_outputs, "shape"_a, "theta"_a, "x"_a, "y"_a = py::none(), "threads"_a = 0);
  m.def("enclosed_systems", &enclosed_systems, "A"_a, "right"_a, "values"_a, "allowed"_a, "threads"_a = 0);
  m.def("pattern_proof", &pattern_proof, "shape"_a, "layer"_a, "theta"_a, "x"_a, "y"_a, "learns"_a, "pattern"_a = py::none(),
        "nothing"_a = false, "threads"_a = 0);
  m.def("pick_columns", &pick_columns, "A"_a, "allowed"_a, "count"_a, "threads"_a = 0);
  m.def("substitute_rows", &substitute_rows, "shape"_a, "theta"_a, "x"_a, "y"_a, "use"_a, "first_given"_a, "rounding"_a = py::none(),
        "own_rounding"_a = 0.0, "threads"_a = 0);
  m.def("substitute_column", &substitute_column, "shape"_a, "theta"_a, "x"_a, "y"_a, "use"_a, "unit"_a, "first_given"_a, "threads"_a = 0);
  m.def("substitute_affine", &substitute_affine, "shape"_a, "theta"_a, "x"_a, "y"_a, "place"_a, "rows"_a, "threads"_a = 0);
  m.def("substitute_last_rows", &substitute_last_rows, "shape"_a, "theta"_a, "x"_a, "y"_a, "use"_a, "held"_a, "count"_a, "threads"_a = 0);
}

}  // namespace cpu_bindings
