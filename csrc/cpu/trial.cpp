// Trials and masks from counter-based random numbers; see ops/trial.h. Compiled once, without fused multiply-add.
#include "ops/trial.h"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "core/draws.h"

namespace sl {

void draw_mask(int size, uint64_t seed, uint32_t task, uint32_t trial, const Recipe& recipe, bool* mask) {
  std::memcpy(mask, recipe.fixed, static_cast<size_t>(size));
  draws::Words words(Philox(seed, kMask, trial, task));
  std::vector<int64_t> lists, members;
  for (int64_t q = 0; q < recipe.count; ++q) {
    const RecipePiece& piece = recipe.pieces[q];
    lists.resize(static_cast<size_t>(piece.lists));
    for (int64_t i = 0; i < piece.lists; ++i) lists[i] = i;
    for (int64_t i = 0; i < piece.pick; ++i) std::swap(lists[i], lists[i + words.below(static_cast<uint32_t>(piece.lists - i))]);
    for (int64_t c = 0; c < piece.pick; ++c) {
      const int64_t begin = piece.offsets[lists[c]], count = piece.offsets[lists[c] + 1] - begin;
      members.assign(piece.members + begin, piece.members + begin + count);
      for (int64_t i = 0; i < piece.each; ++i) {
        std::swap(members[i], members[i + words.below(static_cast<uint32_t>(count - i))]);
        mask[members[i]] = true;
      }
    }
  }
}

namespace {
void draw_one(void* context, int, int64_t k, Control&) {
  const TrialArgs& a = *static_cast<const TrialArgs*>(context);
  const Shape& s = *a.shape;
  const uint32_t trial = a.first + static_cast<uint32_t>(k);
  double* teacher = a.teacher + k * s.size;
  double* student = a.student + k * s.size;
  normals(Philox(a.seed, kTeacher, trial, a.task), 0, s.size, teacher);
  normals(Philox(a.seed, kStudent, trial, a.task), 0, s.size, student);
  normals(Philox(a.seed, kInputs, trial, a.task), 0, s.inputs_size, a.x + k * s.inputs_size);
  for (int g = 0; g < s.groups; ++g) {
    if (s.group_fan_in[g] == kFanInOfGain) {
      for (int i = s.group_begin[g]; i < s.group_begin[g + 1]; ++i) teacher[i] = student[i] = 1;
      continue;
    }
    const double scale = s.group_fan_in[g] > 0 ? a.gains[g] / std::sqrt(static_cast<double>(s.group_fan_in[g])) : a.gains[g];
    for (int i = s.group_begin[g]; i < s.group_begin[g + 1]; ++i) {
      teacher[i] *= scale;
      student[i] = a.shared[g] ? teacher[i] : student[i] * scale;
    }
  }
  draw_mask(s.size, a.seed, a.task, trial, a.recipe, a.mask + k * s.size);
}
}  // namespace

void draw_trials(const TrialArgs& args, Control& control) {
  parallel_for(args.count, args.threads, control, draw_one, const_cast<TrialArgs*>(&args));
}

}  // namespace sl
