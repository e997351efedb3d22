// Proofs of relu matches, one trial at a time. See ops/pattern_proof.h, method/pattern_proof.h.
#include "method/pattern_proof.h"

#include "ops/pattern_proof.h"

namespace sl {
namespace SL_ISA {
namespace {

void pattern_proof_one(void* context, int, int64_t b, Control&) {
  const PatternProofArgs& a = *static_cast<const PatternProofArgs*>(context);
  const Shape& s = *a.shape;
  Scratch scratch;
  PatternProof proof(s, a.layer, scratch);
  int total = 0;
  for (int l = a.layer; l < s.layers; ++l) total += s.widths[l];
  double* theta = a.theta + b * s.size;
  const double *x = a.x + b * s.inputs_size, *y = a.y + b * s.equations;
  const bool* learns = a.learns + b * s.size;
  if (a.nothing) a.proven[b] = proof.reads_nothing(theta, x, y, learns);
  else if (a.layer == s.layers) a.proven[b] = proof.prove_last(theta, x, y, learns);
  else a.proven[b] = proof.prove(theta, x, y, learns, a.on + b * s.samples * total);
}

}  // namespace

void pattern_proof(const PatternProofArgs& a, Control& control) {
  parallel_for(a.batch, a.threads, control, pattern_proof_one, const_cast<PatternProofArgs*>(&a));
}

}  // namespace SL_ISA
}  // namespace sl
