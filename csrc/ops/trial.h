// trial: draws trials first .. first + count - 1 (D3): teacher, student, inputs, mask. Bit-equal everywhere.
//   Laws: weight N(0, gain^2 / fan_in), bias N(0, gain^2), gain of a unit 1, inputs N(0, 1). Shared groups: the student copies the teacher.
//   A mask recipe: start from `fixed`; each piece picks `pick` of its lists and `each` members of every picked list, all without
//   replacement, by partial Fisher-Yates shuffles fed from the mask stream.
#pragma once
#include <cstdint>

#include "core/parallel.h"
#include "core/shape.h"

namespace sl {
struct RecipePiece {
  const int64_t* members;  // flat positions, list after list
  const int64_t* offsets;  // [lists + 1]
  int64_t lists, pick, each;
};
struct Recipe {
  const bool* fixed;  // [size]
  const RecipePiece* pieces;
  int64_t count;
};
struct TrialArgs {
  const Shape* shape;
  uint64_t seed;
  uint32_t task;
  uint32_t first;
  int64_t count;
  const bool* shared;  // [groups]
  const double* gains;  // [groups]
  Recipe recipe;
  double *teacher, *student, *x;  // [count][size], [count][size], [count][inputs_size]
  bool* mask;  // [count][size]
  int threads;
};
void draw_trials(const TrialArgs&, Control&);
void draw_mask(int size, uint64_t seed, uint32_t task, uint32_t trial, const Recipe&, bool* mask);
}  // namespace sl
