// Trials, masks and the random numbers they come from.
#include "bind/cpu.h"
#include "core/random.h"
#include "ops/trial.h"

namespace cpu_bindings {
namespace {

py::dict draw(const sl::Shape& s, uint64_t seed, uint32_t task, uint32_t first, int64_t count, const Array<bool>& shared,
              const Array<double>& gains, const py::tuple& recipe, int threads) {
  check(count >= 0 && count + int64_t{first} <= (int64_t{1} << 32), "trial numbers must stay below 2**32");
  check(shared.size() == s.groups && gains.size() == s.groups, "shared, gains: one entry per group");
  OwnedRecipe owned(recipe, s.size);
  const int64_t size = s.size, inputs = s.inputs_size;
  Array<double> teacher({count, size}), student({count, size}), x({count, inputs});
  Array<bool> mask({count, size});
  sl::TrialArgs a{&s,
                  seed,
                  task,
                  first,
                  count,
                  shared.data(),
                  gains.data(),
                  owned.view(),
                  teacher.mutable_data(),
                  student.mutable_data(),
                  x.mutable_data(),
                  mask.mutable_data(),
                  threads};
  run([&](sl::Control& c) { sl::draw_trials(a, c); });
  return py::dict("teacher"_a = teacher, "student"_a = student, "x"_a = x, "mask"_a = mask);
}

Array<bool> draw_masks(int size, uint64_t seed, uint32_t task, uint32_t first, int64_t count, const py::tuple& recipe) {
  OwnedRecipe owned(recipe, size);
  Array<bool> masks({count, static_cast<int64_t>(size)});
  bool* out = masks.mutable_data();
  for (int64_t k = 0; k < count; ++k) sl::draw_mask(size, seed, task, first + static_cast<uint32_t>(k), owned.view(), out + k * size);
  return masks;
}

}  // namespace

void register_draws(py::module_& m) {
  m.def("draw", &draw, "shape"_a, "seed"_a, "task"_a, "first"_a, "count"_a, "shared"_a, "gains"_a, "recipe"_a, "threads"_a = 0);
  m.def("draw_masks", &draw_masks, "size"_a, "seed"_a, "task"_a, "first"_a, "count"_a, "recipe"_a);
  m.def("philox", [](std::vector<uint32_t> counter, std::vector<uint32_t> key) {
    check(counter.size() == 4 && key.size() == 2, "philox: four counter words and two key words");
    std::vector<uint32_t> out(4);
    sl::philox4x32(counter.data(), key.data(), out.data());
    return out;
  }, "counter"_a, "key"_a);
  m.def("normals", [](uint64_t seed, uint32_t stream, uint32_t trial, uint32_t task, uint64_t first, int64_t count) {
    Array<double> out(count);
    sl::normals(sl::Philox(seed, stream, trial, task), first, static_cast<uint64_t>(count), out.mutable_data());
    return out;
  }, "seed"_a, "stream"_a, "trial"_a, "task"_a, "first"_a, "count"_a);
}

}  // namespace cpu_bindings
