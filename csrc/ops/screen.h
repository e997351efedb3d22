// screen: what is said of drawn trials before a search, and found_by_loss: after it. On devices only, so that trials and masks never leave
// them.
//
// screen: from masks [batch][size] with `budget` weights in every row,
//   indices_out [batch][budget], ascending, and class_out [batch]:
//   kNo        T1: at every point the columns have a rank below `required`. A point: J [equations][size] over GF(p), of the network.
//   kAffine    T2: some family of affine allocations holds the mask: all weights allowed, and no hidden unit that one weight wants in the
//              set S and another one out of it.
//   kSearched  all others.
//   Cost per trial: `points` eliminations of equations x budget, families x budget^2 comparisons at most.
// found_by_loss: found_out [batch] = 0 where loss / ||y||^2 < tol, else -1; kClosed where the student was not worked on.
#pragma once
#include <cstdint>

namespace sl {
constexpr int8_t kNo = 0, kSearched = 1, kAffine = 2;
constexpr int32_t kClosed = -2;
constexpr int kNotAllowed = -2;  // in place of a unit

struct ScreenArgs {
  int64_t batch;
  int size, equations, budget;
  const bool* mask;
  int required;            // 0: no T1
  int points;
  const int64_t* jacobian;  // [points][equations][size]
  const uint32_t* p;        // [points], on the host
  int families;
  const int *inside, *outside;  // [families][size]: the unit this weight wants in S, out of S; -1: none; inside = kNotAllowed
  int64_t at_once;              // trials whose matrices are held at a time: 8 (equations x budget + points) bytes each
  int* indices_out;
  int8_t* class_out;
};
struct FoundByLossArgs {
  int64_t batch;
  int equations;
  const double *loss, *y;  // y [batch][equations]
  double tol;
  const int8_t* open;  // null: all
  int32_t* found_out;
};
}  // namespace sl
