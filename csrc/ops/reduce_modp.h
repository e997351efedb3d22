// reduce_modp: which columns of a matrix mod p are independent, and how the others depend on them. The matrix is reduced in place.
//
// table [rows][n] row-major, entries in [0, p), p prime < 2^31. A column is *held* by row r if it is the r-th unit vector: held[r] is that
// column, -1 for none, and row_of[e] is the row that holds column e, -1 for none. The columns of `order` are taken in turn: one that has a
// non-zero entry in a row that holds none (the first such row) is turned into the unit vector of that row, by scaling the row and
// subtracting its multiples from all others; any other depends on the held ones already and is left out. It ends after `most` columns.
// Cost of one column: the non-zero entries of its row times those of its column, one multiplication mod p each.
#pragma once
#include "core/parallel.h"

namespace sl {
struct ReduceModpArgs {
  int64_t* table;
  int64_t rows, n;
  int64_t* held;
  int64_t* row_of;
  const int64_t* order;
  int64_t count, most;
  uint32_t p;
};
// How many columns are held that were not before.
int64_t reduce_modp(const ReduceModpArgs&, Control&);
}  // namespace sl
