// Descent on numpy arrays.
#include "bind/cpu.h"
#include "ops/descend.h"

namespace cpu_bindings {
namespace {

// What calls before left: learnable weights [batch][budget], first and second moments (or None), steps and status [batch].
template <class T> using Left = std::tuple<Array<T>, std::optional<Array<T>>, std::optional<Array<T>>, Array<int64_t>, Array<int8_t>>;

// A copy of what calls before left, or zeros.
template <class T> Array<T> carried(const Array<T>* before, const std::vector<int64_t>& shape, const char* name) {
  Array<T> now(shape);
  if (before) {
    check(std::equal(shape.begin(), shape.end(), before->shape(), before->shape() + before->ndim()), std::string(name) + ": wrong shape");
    std::copy_n(before->data(), before->size(), now.mutable_data());
  } else {
    std::fill_n(now.mutable_data(), now.size(), T(0));
  }
  return now;
}

// compact: no theta in the result. keep: learnable weights and moments in the result, as `left` takes them.
template <class T>
py::dict fit(const sl::Shape& s, const Array<T>& theta, const Array<T>& x, const Array<T>& y, const Array<int>& indices, int64_t steps,
             int optimizer, double lr, double tol, int threads, int loss, int schedule, int64_t horizon, int64_t begun,
             const std::optional<Left<T>>& left, bool compact, bool keep, int batch_size, uint64_t seed, int washout) {
  const int64_t batch = std::max({theta.shape(0), x.shape(0), y.shape(0), indices.shape(0)});
  const Indices in = indices_of(s, indices, batch, true);
  const std::vector<char> learns = groups_of(s, in, batch);
  const sl::Students<T> batch_in = students(s, theta, x, batch);
  const std::vector<int64_t> each = {batch}, slots = {batch, in.budget};
  Array<T> losses(each), theta_out({compact ? 0 : batch, static_cast<int64_t>(s.size)});
  if (!compact)
    for (int64_t b = 0; b < batch; ++b)
      std::copy_n(batch_in.theta + b * batch_in.theta_stride, s.size, theta_out.mutable_data() + b * s.size);
  Array<int64_t> done = carried<int64_t>(left ? &std::get<3>(*left) : nullptr, each, "steps");
  Array<int8_t> status = carried<int8_t>(left ? &std::get<4>(*left) : nullptr, each, "status");
  sl::DescendMore<T> more;
  more.loss = static_cast<sl::Loss>(loss);
  more.schedule = static_cast<sl::Schedule>(schedule);
  more.horizon = horizon;
  more.begun = begun;
  more.resumed = left.has_value();
  check(batch_size == 0 || (batch_size > 0 && batch_size <= s.samples && tol < 0 && begun >= 0),
        "batch_size: expected at most the samples of the network, and no tol");
  more.batch_size = batch_size;
  more.seed = seed;
  check(washout == 0 || (s.kind == sl::Kind::recurrent && washout > 0 && washout < s.steps),
        "washout: expected fewer steps than there are");
  more.washout = washout;
  keep |= batch_size > 0;
  py::dict out("loss"_a = losses, "steps"_a = done, "status"_a = status);
  auto kept = [&](const char* name, const Array<T>* before) {
    Array<T> now = carried<T>(before, slots, name);
    out[name] = now;
    return now.mutable_data();
  };
  if (keep || compact || left) more.learned = kept("learned", left ? &std::get<0>(*left) : nullptr);
  if (keep || left) {
    auto moments = [&](const std::optional<Array<T>>& before) { return before ? &*before : nullptr; };
    const auto kind = static_cast<sl::Optimizer>(optimizer);
    if (kind != sl::Optimizer::sgd) more.first = kept("first", left ? moments(std::get<1>(*left)) : nullptr);
    if (kind == sl::Optimizer::adam) more.second = kept("second", left ? moments(std::get<2>(*left)) : nullptr);
  }
  if (!compact) out["theta"] = theta_out;
  sl::DescendArgs<T> a{batch_in,
                       y.data(),
                       target_stride(s, y, batch),
                       in.data,
                       in.stride,
                       in.budget,
                       reinterpret_cast<const bool*>(learns.data()),
                       static_cast<sl::Optimizer>(optimizer),
                       steps,
                       lr,
                       tol,
                       compact ? nullptr : theta_out.mutable_data(),
                       losses.mutable_data(),
                       done.mutable_data(),
                       status.mutable_data(),
                       threads,
                       more};
  run([&](sl::Control& c) { sl::descend(a, c); });
  return out;
}

template <class T> void register_fit_of(py::module_& m) {
  m.def("fit", &fit<T>, "shape"_a, py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("y").noconvert(), "indices"_a, "steps"_a,
        "optimizer"_a, "lr"_a, "tol"_a, "threads"_a = 0, "loss"_a = 0, "schedule"_a = 0, "horizon"_a = 0, "begun"_a = 0,
        "left"_a = py::none(), "compact"_a = false, "keep"_a = false, "batch_size"_a = 0, "seed"_a = 0, "washout"_a = 0);
}

}  // namespace

void register_fit(py::module_& m) {
  register_fit_of<float>(m);
  register_fit_of<double>(m);
}

}  // namespace cpu_bindings
