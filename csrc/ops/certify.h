// certify: is there a true real solution next to a numerical one? Krawczyk's test in ball arithmetic, square systems.
//   F(z) = [f(theta with z at indices; x) - y] at `rows`, z in R^k; theta, x, y taken as exact numbers. theta [batch][size] holds
//   the numerical solution. X = an approximate inverse of the Jacobian, d >= |X F(z)|, box |z' - z| <= rad: if
//   d + |I - X J(box)| rad < rad in every coordinate, exactly one solution lies in the box, and it is real.
//   The targets are y, or every y' with |y' - y| <= y_radius [batch][equations], or f(teacher; x), teacher [batch][size], enclosed:
//   then the proof holds for each of these targets.
//   A few Newton steps polish z first: polished [batch][k]. radius_out [batch]: the largest radius of the box, -1 where the test failed.
// Cost: a few evaluations of the network and its Jacobian with balls, 3 k^3.
#pragma once
#include "core/parallel.h"
#include "ops/students.h"

namespace sl {
struct CertifyArgs {
  Students<double> students;
  const double* y;         // [batch][equations]
  const double* y_radius;  // or null: y is exact
  const double* teacher;   // or null; takes the place of y
  const int* indices;
  int64_t index_stride;
  const int* rows;  // [k]
  int budget;
  double* polished;
  double* radius_out;
  int threads;
};
void certify(const CertifyArgs&, Control&);
}  // namespace sl
