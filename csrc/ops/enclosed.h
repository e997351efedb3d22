// enclosed: outputs and linear systems in double-double balls, for exact inputs or enclosed ones (lo, rad: null for zeros).
//   enclosed_outputs: f(theta; x) - y, [batch][equations]; y null: f(theta; x). Any activation.
//   enclosed_systems: A w = right for m picked entries of w [k] out of those allowed; others keep their values (method/enclosed_solve.h).
//     A [batch][m][k], right [batch][m], w [batch][k] in and out; proven [batch]: the picked columns are invertible, and w is enclosed;
//     elsewhere its radii are NaN.
//   pick_columns: `count` columns of A [batch][m][k], by greedy pivots, out of those allowed [batch][k]; -1 in all where fewer are.
// Cost: a forward pass of 20 operations a product; m^3 terms of dot products; m k count products.
#pragma once
#include "core/parallel.h"
#include "core/shape.h"
#include "ops/isa.h"

namespace sl {

struct EnclosedNumbers { const double *hi, *lo, *rad; };

struct EnclosedOutputsArgs {
  const Shape* shape;
  int64_t batch;
  EnclosedNumbers theta;  // [batch][size]
  const double* x;  // [batch][inputs_size]
  EnclosedNumbers y;  // [batch][equations]; hi null: none
  double *hi, *lo, *rad;  // [batch][equations]
  int threads;
};

struct EnclosedSystemsArgs {
  int64_t batch;
  int m, k;
  EnclosedNumbers A, right;
  const bool* allowed;  // [batch][k]
  double *hi, *lo, *rad;  // w
  bool* proven;
  int threads;
};

struct PickColumnsArgs {
  int64_t batch;
  int m, k, count;
  const double* A;
  const bool* allowed;
  int* chosen;  // [batch][count]
  int threads;
};

SL_PER_ISA(void enclosed_outputs(const EnclosedOutputsArgs&, Control&); void enclosed_systems(const EnclosedSystemsArgs&, Control&);
           void pick_columns(const PickColumnsArgs&, Control&);)
}  // namespace sl
