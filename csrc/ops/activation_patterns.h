// activation_patterns: exact verdicts (T11) of relu feedforward networks that learn in one hidden layer only, m <= 8 samples.
//
// Is there theta_A with f(theta_A, frozen; x) = y? Every hidden unit from layer `layer` up is on or off in every sample; for one pattern of
// all of them this is a linear programme, and all patterns are searched, depth first (cpu/activation_patterns.cpp). All numbers are exact
// float64; an answer is up to rounding, as follows.
//   match 1    a solution with a margin: theta_out; pattern [m][units of layer `layer` and above]: what is on
//         0    every pattern that was dropped is refuted: it misses by more than 1e-9 of the largest target, bias or frozen part
//        -1    neither, or more than `most` programmes, or right sides that are off by more than that if numbers were rounded to `eps`
//   nothing 1  nothing is asked for (no target, no bias above, no frozen part): match 1, learnable weights 0, no pattern
// Cost: docs/exact.md.
#pragma once
#include "core/parallel.h"
#include "core/shape.h"

namespace sl {
struct ActivationPatternsArgs {
  const Shape* shape;
  int64_t batch;
  const double *theta, *x, *y;  // [batch][size], [batch][inputs], [batch][equations]
  const bool* mask;  // [batch][size]: what learns, in W and b of `layer` only
  int layer;  // 1 .. L - 1
  int64_t most;
  double eps;
  int8_t* match;  // [batch]
  bool* nothing;  // [batch]
  double* theta_out;  // [batch][size], written where match is 1
  bool* pattern;  // [batch][m][units], written where match is 1 and nothing 0
  int threads;
};
void activation_patterns(const ActivationPatternsArgs&, Control&);

// The programmes of single patterns are of this kind (method/feasibility.h): is there v >= margin with C v = e?
struct FeasibleArgs {
  const double *C, *e;  // [batch][rows][columns], [batch][rows]
  int64_t batch;
  int rows, columns;
  double margin;
  int8_t* status;  // [batch]: 1 yes, 0 no, -1 neither
  double* v;  // [batch][columns], written where status is 1
};
void feasible(const FeasibleArgs&, Control&);
}  // namespace sl
