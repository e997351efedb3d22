// Trials and their masks.
#include "bind/cuda.h"

namespace cuda_bindings {
namespace {

void draw(const sl::Shape& s, uint64_t seed, uint32_t task, uint32_t first, const std::vector<bool>& shared,
          const std::vector<double>& gains, const py::tuple& recipe, const Array& teacher, const Array& student, const Array& x,
          const Array* mask, uintptr_t stream) {
  const int64_t count = teacher.rows();
  check(count + int64_t{first} <= (int64_t{1} << 32), "trial numbers must stay below 2**32");
  check(static_cast<int>(gains.size()) == s.groups, "gains: one entry per group");
  const auto flags = group_flags(s, shared);
  const OwnedRecipe owned(recipe, s.size);
  sl::TrialArgs a{&s,
                  seed,
                  task,
                  first,
                  count,
                  reinterpret_cast<const bool*>(flags.data()),
                  gains.data(),
                  owned.view(),
                  numbers<double>(teacher, {count, s.size}, "teacher"),
                  numbers<double>(student, {count, s.size}, "student"),
                  numbers<double>(x, {count, s.inputs_size}, "x"),
                  mask ? numbers<bool>(*mask, {count, s.size}, "mask") : nullptr,
                  0};
  run(teacher, stream, [&](sl::cuda::Stream& on) { sl::cuda::draw_trials(a, on); });
}

}  // namespace

void register_draws(py::module_& m) {
  m.def("draw", &draw, "shape"_a, "seed"_a, "task"_a, "first"_a, "shared"_a, "gains"_a, "recipe"_a, "teacher"_a, "student"_a, "x"_a,
        "mask"_a, "stream"_a = 0);
}

}  // namespace cuda_bindings
