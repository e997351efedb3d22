// small_dense.h: linear algebra of a few rows and columns, for one matrix at a time: no blocks, no lanes.
//
// orthogonalise  one-sided Jacobi (Hestenes): rotations V make the columns of A V orthogonal. Their lengths are the singular values of A,
//                and the columns of V whose length is zero span the kernel of A. Some 6 sweeps of m^2 / 2 pairs, 6 d + 4 m flops a pair.
// invert         Gauss-Jordan with partial pivoting, k^3.
// least_squares  min ||A w - b|| of full column rank, by Householder reflections, 2 rows k^2.
// FineSum        a sum of products with twice the digits, where terms cancel.
#pragma once
#include <cmath>
#include <utility>

namespace sl {

// Without calls to the library, which fmax and fmin are; of NaN and a number, b.
inline double larger(double a, double b) { return a > b ? a : b; }
inline double smaller(double a, double b) { return a < b ? a : b; }

// sum a b as s + e: products and additions are split into what is rounded and the rest, exactly, and the rests are added up (Dot2 of Ogita,
// Rump and Oishi). Right to 2^-53 of itself and (count 2^-53)^2 of the sum of absolute terms, but for underflow.
// Needs -ffp-contract=off, but for its own fused multiply-add.
struct FineSum {
  double s = 0, e = 0;
  void add(double a, double b) {
    const double product = a * b, sum = s + product, back = sum - s;
    e += ((s - (sum - back)) + (product - back)) + std::fma(a, b, -product);
    s = sum;
  }
  void add(double a, double a_low, double b) {  // (a + a_low) b
    add(a, b);
    e += a_low * b;
  }
  // The sum is value() + low(), but for error(), where `sizes` is the sum of absolute terms; 0 where no product and no sum was rounded.
  double value() const { return s + e; }
  double low() const { return e - (value() - s); }
  double error(int count, double sizes) const { return e == 0 ? 0.0 : count * count * 0x1p-102 * sizes; }
};

// A: m columns of length d, one after the other; V: m columns of length m.
inline void orthogonalise(double* A, int d, double* V, int m) {
  constexpr int kSweeps = 20;
  constexpr double kEps = 2.2e-16;
  for (int p = 0; p < m; ++p)
    for (int q = 0; q < m; ++q) V[p * m + q] = p == q;
  auto rotate = [](double* a, double* b, int count, double c, double s) {
    for (int i = 0; i < count; ++i) {
      const double old = a[i];
      a[i] = c * old - s * b[i];
      b[i] = s * old + c * b[i];
    }
  };
  double largest = 0;
  for (int k = 0; k < m * d; ++k) largest = larger(largest, A[k] * A[k]);
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    bool moved = false;
    for (int p = 0; p < m; ++p)
      for (int q = p + 1; q < m; ++q) {
        double *a = A + p * d, *b = A + q * d, aa = 0, bb = 0, ab = 0;
        for (int i = 0; i < d; ++i) {
          aa += a[i] * a[i];
          bb += b[i] * b[i];
          ab += a[i] * b[i];
        }
        // Columns of rounding errors never come to rest among themselves.
        if (!(std::fabs(ab) > kEps * std::sqrt(aa * bb)) || smaller(aa, bb) < 1e-36 * largest) continue;
        moved = true;
        const double zeta = (bb - aa) / (2 * ab), t = std::copysign(1.0, zeta) / (std::fabs(zeta) + std::sqrt(1 + zeta * zeta));
        const double c = 1 / std::sqrt(1 + t * t), s = c * t;
        rotate(a, b, d, c, s);
        rotate(V + p * m, V + q * m, m, c, s);
      }
    if (!moved) return;
  }
}

// out = M^-1, both [k][k] row-major; work [k][2 k]. The least pivot, relative to its row's largest entry (0: singular).
inline double invert(const double* M, int k, double* work, double* out) {
  const int w = 2 * k;
  double least = 1;
  for (int r = 0; r < k; ++r) {
    double most = 0;
    for (int c = 0; c < k; ++c) most = larger(most, std::fabs(M[r * k + c]));
    if (!(most > 0)) return 0;
    const double size = std::ldexp(1.0, -std::ilogb(most));  // rows of one size, by powers of two: exact
    for (int c = 0; c < k; ++c) {
      work[r * w + c] = M[r * k + c] * size;
      work[r * w + k + c] = r == c ? size : 0;
    }
  }
  for (int c = 0; c < k; ++c) {
    int best = c;
    for (int r = c + 1; r < k; ++r)
      if (std::fabs(work[r * w + c]) > std::fabs(work[best * w + c])) best = r;
    const double pivot = work[best * w + c];
    if (!(std::fabs(pivot) > 0) || !std::isfinite(pivot)) return 0;
    least = smaller(least, std::fabs(pivot));
    for (int j = 0; j < w; ++j) {
      std::swap(work[c * w + j], work[best * w + j]);
      work[c * w + j] /= pivot;
    }
    for (int r = 0; r < k; ++r) {
      const double f = work[r * w + c];
      if (r == c || f == 0) continue;
      for (int j = 0; j < w; ++j) work[r * w + j] -= f * work[c * w + j];
    }
  }
  for (int r = 0; r < k; ++r)
    for (int c = 0; c < k; ++c) out[r * k + c] = work[r * w + k + c];
  return least;
}

// Solves M g = b in place of b; M [k][k] row-major is destroyed. A pivot of zero gives an entry of zero: callers check what they get.
inline void eliminate(double* M, int k, double* b) {
  for (int c = 0; c < k; ++c) {
    int best = c;
    for (int r = c + 1; r < k; ++r)
      if (std::fabs(M[r * k + c]) > std::fabs(M[best * k + c])) best = r;
    if (M[best * k + c] == 0) continue;
    if (best != c) {
      for (int j = c; j < k; ++j) std::swap(M[c * k + j], M[best * k + j]);
      std::swap(b[c], b[best]);
    }
    for (int r = c + 1; r < k; ++r) {
      const double f = M[r * k + c] / M[c * k + c];
      if (f == 0) continue;
      for (int j = c; j < k; ++j) M[r * k + j] -= f * M[c * k + j];
      b[r] -= f * b[c];
    }
  }
  for (int c = k - 1; c >= 0; --c) {
    double sum = b[c];
    for (int j = c + 1; j < k; ++j) sum -= M[c * k + j] * b[j];
    b[c] = M[c * k + c] != 0 ? sum / M[c * k + c] : 0;
  }
}

// w [k] minimises ||A w - b||; A: k columns of length rows >= k, destroyed with b. False where columns are dependent to the last digit.
inline bool least_squares(double* A, int rows, int k, double* b, double* w) {
  for (int c = 0; c < k; ++c) {
    double* a = A + c * rows;
    double norm2 = 0;
    for (int i = c; i < rows; ++i) norm2 += a[i] * a[i];
    if (!(norm2 > 0)) return false;
    const double alpha = -std::copysign(std::sqrt(norm2), a[c]);
    const double lead = a[c] - alpha, half = -alpha * lead;  // |reflector|^2 / 2
    a[c] = lead;
    auto reflect = [&](double* x) {
      double dot = 0;
      for (int i = c; i < rows; ++i) dot += a[i] * x[i];
      dot /= half;
      for (int i = c; i < rows; ++i) x[i] -= dot * a[i];
    };
    for (int j = c + 1; j < k; ++j) reflect(A + j * rows);
    reflect(b);
    w[c] = alpha;  // the diagonal of the triangle
  }
  for (int c = k - 1; c >= 0; --c) {
    double sum = b[c];
    for (int j = c + 1; j < k; ++j) sum -= A[j * rows + c] * w[j];
    w[c] = sum / w[c];
  }
  return true;
}

}  // namespace sl
