// unit_cells.h: which signs can one unit have in m <= 8 samples, and which activities?
//
// Its pre-activations are u = p + X^T w in R^m: X [d][m] what its learnable weights w read, p the rest. With N [m][k], k = m - rank X, a
// basis of what no w can reach, u is any vector with N^T u = N^T p. Samples where X and p are zero are idle: u = 0 whatever is learned;
// they have no row in N.
//   corners  the basic points: u is zero outside a set of k samples with invertible N_B; at most C(m, k)
//   rays     the directions that are zero in all but k + 1 samples
//   cells    the patterns of signs that the unit can have, as bits over samples (zeros fit both signs): those that agree with a corner.
//            By Zaslavsky at most sum_{i <= d} C(m, i)
// Inside a cell relu is linear, so the activities of the unit lie in the convex hull of those of corners, plus the cone of those of rays.
// k = 0: every u is possible; rays are the unit vectors, and there are no corners and no list of cells.
//
// Signs are given generously: what is nearer to zero than rounding could matter fits both.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "method/feasibility.h"
#include "method/small_dense.h"

namespace sl {

constexpr int kMostPatternSamples = 8;  // 2^m patterns are listed per unit
using Bits = uint32_t;  // bit i: sample i

// X [d][m] row by row brought to rows of one size, by powers of two: the same span. Rows of zeros stay. low: what is added to X, or null.
inline void to_one_size(double* X, int d, int m, double* low = nullptr) {
  for (int r = 0; r < d; ++r) {
    double most = 0;
    for (int i = 0; i < m; ++i) most = larger(most, std::fabs(X[r * m + i]));
    if (!(most > 0)) continue;
    for (int i = 0; i < m; ++i) {
      X[r * m + i] = std::ldexp(X[r * m + i], -std::ilogb(most) - 1);
      if (low) low[r * m + i] = std::ldexp(low[r * m + i], -std::ilogb(most) - 1);
    }
  }
}

// Singular values [m] of X [d][m] (zeros beyond the smaller side), and V: m columns that X maps to orthogonal ones. A: work [m][d].
inline double singular_values(const double* X, int d, int m, double* A, double* V, double* sigma) {
  for (int i = 0; i < m; ++i)
    for (int r = 0; r < d; ++r) A[i * d + r] = X[r * m + i];
  orthogonalise(A, d, V, m);
  double largest = 0;
  for (int i = 0; i < m; ++i) {
    double norm2 = 0;
    for (int r = 0; r < d; ++r) norm2 += A[i * d + r] * A[i * d + r];
    sigma[i] = std::sqrt(norm2);
    largest = larger(largest, sigma[i]);
  }
  return largest;
}

struct UnitCells {
  static constexpr int kM = kMostPatternSamples;
  struct Corner {
    double inverse[kM * kM];  // of N_B, [k][k]
    double u[kM];
    int support[kM];
    Bits can_on, can_off;
  };
  struct Ray {
    double u[kM];
    Bits can_on, can_off;
  };
  int m = 0, k = 0;
  Bits busy = 0, reached = 0;  // not idle; X is not zero
  double N[kM * kM];  // [m][k]
  double right[kM];  // N^T p
  bool through_zero = false;  // N^T p = 0: u may be scaled
  bool doubtful = false;  // an entry of N may be rounding, and matters because its sample is so small beside others
  std::vector<Corner> corners;
  std::vector<Ray> rays;
  std::vector<Bits> cells;

  // X + low [d][m]: what is read, with twice the digits. scratch: 3 m d + 4 m^2 + d numbers.
  void make(int samples, const double* X, const double* low, int d, const double* p, double* scratch) {
    m = samples;
    k = 0;
    busy = reached = 0;
    doubtful = false;
    corners.clear();
    rays.clear();
    cells.clear();
    for (int i = 0; i < m; ++i) {
      bool used = false;
      for (int r = 0; r < d; ++r) used |= X[r * m + i] != 0;
      reached |= static_cast<Bits>(used) << i;
      busy |= static_cast<Bits>(used || p[i] != 0) << i;
    }
    complement(X, low, d, scratch);
    double size = 0;
    through_zero = true;
    for (int c = 0; c < k; ++c) {
      right[c] = 0;
      for (int i = 0; i < m; ++i) right[c] += N[i * k + c] * p[i];
      through_zero &= right[c] == 0;
    }
    for (int i = 0; i < m; ++i) size = larger(size, std::fabs(p[i]));
    if (k == 0) {
      for (int i = 0; i < m; ++i) {
        if (!(busy >> i & 1)) continue;
        Ray ray{};
        ray.u[i] = 1;
        ray.can_on = ~Bits{0};
        ray.can_off = ~(Bits{1} << i);
        rays.push_back(ray);
      }
      return;
    }
    list_corners(size);
    list_rays();
    list_cells();
  }

 private:
  // N: zero rows where idle, else orthogonal to range(X^T). Where rows of X are nearly dependent, singular vectors of value zero are off by
  // rounding over the smallest of the others, along its vector; a step of refinement, with a residual of twice the digits, mends that.
  void complement(const double* X, const double* low, int d, double* scratch) {
    int at[kM], count = 0;
    for (int i = 0; i < m; ++i)
      if (busy >> i & 1) at[count++] = i;
    std::fill_n(N, kM * kM, 0.0);
    int unit[kM];  // exponents of two
    bool any = false;
    for (int q = 0; q < count; ++q) {
      double most = 0;
      for (int r = 0; r < d; ++r) most = larger(most, std::fabs(X[r * m + at[q]]));
      unit[q] = most > 0 ? -std::ilogb(most) - 1 : 0;  // small samples keep their digits beside large ones
      any |= most > 0;
    }
    if (!any) {
      k = count;
      for (int q = 0; q < count; ++q) N[at[q] * k + q] = 1;
      return;
    }
    if (count == 1) return;
    double *Y = scratch, *rest = Y + count * d, *A = rest + count * d, *V = A + count * d, *along = V + count * count, sigma[kM];
    for (int r = 0; r < d; ++r)
      for (int q = 0; q < count; ++q) {
        Y[r * count + q] = std::ldexp(X[r * m + at[q]], unit[q]);
        rest[r * count + q] = std::ldexp(low[r * m + at[q]], unit[q]);
      }
    to_one_size(Y, d, count, rest);
    const double floor = kZero * larger(singular_values(Y, d, count, A, V, sigma), 1e-300);
    for (int c = 0; c < count; ++c) k += sigma[c] <= floor;
    for (int c = 0; c < count; ++c) {
      if (sigma[c] > floor) continue;
      double* normal = V + c * count;
      for (int r = 0; r < d; ++r) {
        FineSum left;
        for (int q = 0; q < count; ++q) left.add(Y[r * count + q], rest[r * count + q], normal[q]);
        along[r] = left.value();
      }
      for (int other = 0; other < count; ++other) {
        if (!(sigma[other] > floor)) continue;
        double by = 0;
        for (int r = 0; r < d; ++r) by += A[other * d + r] / sigma[other] * along[r];
        for (int q = 0; q < count; ++q) normal[q] -= by / sigma[other] * V[other * count + q];
      }
    }
    set_apart(V, sigma, floor, unit, count);
    int column = 0;
    for (int c = 0; c < count; ++c) {
      if (sigma[c] > floor) continue;
      const double* normal = V + c * count;
      int top = 0;
      bool some = false;
      for (int q = 0; q < count; ++q) {
        if (!(std::fabs(normal[q]) > kRounded)) continue;
        top = some && unit[q] < top ? top : unit[q];
        some = true;
      }
      double norm2 = 0;
      for (int q = 0; q < count; ++q) {  // rounding would look like a coefficient once columns are brought to one size
        const double value = std::ldexp(normal[q], unit[q] - top);
        const bool kept = std::fabs(normal[q]) > kRounded;
        doubtful |= !kept && std::fabs(value) > kNoEntry;
        N[at[q] * k + column] = kept ? value : 0.0;
        norm2 += kept ? value * value : 0.0;
      }
      for (int q = 0; q < count; ++q) N[at[q] * k + column] /= std::sqrt(norm2);
      ++column;
    }
  }
  // Samples far smaller than others have large entries in N: each in one column only, or columns would differ by rounding alone.
  static void set_apart(double* V, const double* sigma, double floor, const int* unit, int count) {
    const int least = *std::min_element(unit, unit + count);
    bool done[kM] = {}, taken[kM] = {};
    for (int step = 0; step < count; ++step) {
      int q = -1, best = -1;
      for (int i = 0; i < count; ++i)
        if (!done[i] && unit[i] > least + kFarApart && (q < 0 || unit[i] > unit[q])) q = i;
      if (q < 0) return;
      done[q] = true;
      const auto entry = [&](int c) -> double& { return V[c * count + q]; };
      for (int c = 0; c < count; ++c)
        if (!(sigma[c] > floor) && !taken[c] && (best < 0 || std::fabs(entry(c)) > std::fabs(entry(best)))) best = c;
      if (best < 0 || !(std::fabs(entry(best)) > kRounded)) continue;
      taken[best] = true;
      for (int c = 0; c < count; ++c) {
        if (sigma[c] > floor || taken[c]) continue;
        const double f = entry(c) / entry(best);
        for (int i = 0; i < count; ++i) V[c * count + i] -= f * V[best * count + i];
        entry(c) = 0;
      }
    }
  }

  void signs(const double* u, double slack, Bits* can_on, Bits* can_off) const {
    *can_on = *can_off = 0;
    for (int i = 0; i < m; ++i) {
      *can_on |= static_cast<Bits>(u[i] >= -slack) << i;
      *can_off |= static_cast<Bits>(u[i] <= slack) << i;
    }
  }

  void list_corners(double size) {
    for (Bits set = 0; set < Bits{1} << m; ++set) {
      if (set & ~busy || __builtin_popcount(set) != k) continue;
      Corner corner{};
      double part[kM * kM], room[2 * kM * kM];
      int at = 0;
      for (int i = 0; i < m; ++i)
        if (set >> i & 1) corner.support[at++] = i;
      for (int r = 0; r < k; ++r)
        for (int c = 0; c < k; ++c) part[r * k + c] = N[corner.support[r] * k + c];
      const double pivot = invert(part, k, room, corner.inverse);
      if (!(pivot > kSingular)) continue;
      double largest = size;
      for (int r = 0; r < k; ++r) {
        double sum = 0;
        for (int c = 0; c < k; ++c) sum += corner.inverse[c * k + r] * right[c];
        corner.u[corner.support[r]] = sum;
        largest = larger(largest, std::fabs(sum) + size);
      }
      signs(corner.u, (kTolerance + 1e-14 / pivot) * largest, &corner.can_on, &corner.can_off);
      corners.push_back(corner);
    }
  }

  // From every corner, one more sample is let go: u changes by 1 there and by -N_B^-T N_i in the others.
  void list_rays() {
    for (const Corner& corner : corners) {
      Bits set = 0;
      for (int r = 0; r < k; ++r) set |= Bits{1} << corner.support[r];
      for (int i = 0; i < m; ++i) {
        if (!(busy & ~set) || !((busy & ~set) >> i & 1)) continue;
        Ray ray{};
        ray.u[i] = 1;
        double most = 1;
        for (int r = 0; r < k; ++r) {
          double sum = 0;
          for (int c = 0; c < k; ++c) sum -= corner.inverse[c * k + r] * N[i * k + c];
          ray.u[corner.support[r]] = sum;
          most = larger(most, std::fabs(sum));
        }
        for (int q = 0; q < m; ++q) ray.u[q] = std::fabs(ray.u[q]) > 1e-13 * most ? ray.u[q] / most : 0.0;
        signs(ray.u, 1e-12, &ray.can_on, &ray.can_off);
        const bool known = std::any_of(rays.begin(), rays.end(), [&](const Ray& other) {
          bool same = true;  // two that are zero outside the same samples are multiples of each other
          for (int q = 0; q < m; ++q) same &= (other.u[q] != 0) == (ray.u[q] != 0);
          return same;
        });
        if (known) continue;
        rays.push_back(ray);
        for (double& value : ray.u) value = -value;
        std::swap(ray.can_on, ray.can_off);
        rays.push_back(ray);
      }
    }
  }

  void list_cells() {
    for (Bits on = 0; on < Bits{1} << m; ++on) {
      if (on & ~busy) continue;
      const Bits off = busy & ~on;
      if (std::any_of(corners.begin(), corners.end(), [&](const Corner& c) { return !(on & ~c.can_on) && !(off & ~c.can_off); }))
        cells.push_back(on);
    }
  }

  // Singular values, relative to the largest: zero below. Entries of unit vectors: rounding. Pivots: no basis.
  static constexpr double kZero = 1e-12, kRounded = 4e-15, kSingular = 1e-13;
  static constexpr int kFarApart = 10;  // by so many powers of two
  static constexpr double kNoEntry = 1e-10;  // what is left out of a column of N, whose largest entries are of order one
};

}  // namespace sl
