// pattern_proof: relu matches of feedforward networks (T11) near numerical ones, proven in double-double balls (method/pattern_proof.h).
//   Layer k = 1 .. L learns, no other; theta [batch][size] near a solution goes out with the proven one in layer k, where proven [batch].
//   on [batch][m][total]: the pattern, which units of the hidden layers k .. L - 1 are on in each of m samples; null where k = L.
//   nothing: another question. Is every product of a frozen weight of layer k with what it reads exactly zero, and so is the target? (Sums
//   are not looked at: in floating point they vanish where they should not.) theta stays.
// Cost of a trial: a square system of o equations for each sample, at the best pivots.
#pragma once
#include "core/parallel.h"
#include "core/shape.h"
#include "ops/isa.h"

namespace sl {

struct PatternProofArgs {
  const Shape* shape;
  int64_t batch;
  int layer;
  double* theta;       // [batch][size], in and out
  const double* x;     // [batch][inputs_size]
  const double* y;     // [batch][equations]
  const bool* learns;  // [batch][size]
  const bool* on;
  bool nothing;
  bool* proven;
  int threads;
};

SL_PER_ISA(void pattern_proof(const PatternProofArgs&, Control&);)
}  // namespace sl
