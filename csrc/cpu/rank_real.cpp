// Numerical rank of a batch of real matrices, one matrix per lane. See ops/rank_real.h.
//
// Pivoted Householder QR of the rows a_j (length n): in step k the row with the largest remaining norm is swapped to place k,
// and the reflection H = I - tau w w^T that maps it to a multiple of e_k is applied to the later rows, whose remaining norms are computed anew
// (no downdating, so no cancellation). Rank verdict and certificate:
//   After r steps: sigma_{r+1} <= ||R22||_F, sigma_r >= 1 / ||R11^-1||_F, and sigma_1 lies between
//   low = sqrt((||A||_F^2 - ||R22||_F^2) / r) and ||A||_F; the tolerance is rtol sigma_1.
//   Certified: ||R22||_F + eps ||A||_F <= rtol low and 1 / ||R11^-1||_F > 2 rtol ||A||_F + eps ||A||_F; eps ||A||_F stands for
//   the rounding of the QR itself. Anything nearer to the tolerance is left to an SVD.
// Each matrix is scaled by a power of two first, so squares neither overflow nor underflow where it matters.
#include "ops/rank_real.h"

#include <cfloat>

#include "core/pack.h"
#include "core/scratch.h"
#include "math/slots.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int64_t kPacksPerItem = 4;

// Largest absolute entry and finiteness of one matrix.
template <class T> SL_INLINE T largest(const T* a, int64_t count, bool* finite) {
  T most = 0;
  bool ok = true;
  for (int64_t k = 0; k < count; ++k) {
    const T v = a[k] < 0 ? -a[k] : a[k];
    ok &= v <= (sizeof(T) == 8 ? T(DBL_MAX) : T(FLT_MAX));
    most = v > most ? v : most;
  }
  *finite = ok;
  return most;
}

template <class T>
void rank_item(void* context, int, int64_t item, Control&) {
  using S = Pack<T>;
  using M = PackMask<T>;
  using I = typename std::remove_reference<decltype(M{}[0])>::type;
  constexpr int L = kLanes<T>;
  const RankRealArgs<T>& a = *static_cast<const RankRealArgs<T>*>(context);
  // Rows of the work matrix = the shorter side (fewer reflections to apply).
  const bool flip = a.m > a.n;
  const int rows = flip ? a.n : a.m, length = flip ? a.m : a.n, K = rows;
  const size_t entries = static_cast<size_t>(rows) * length;
  Scratch scratch(sizeof(S) * (entries + 4 * static_cast<size_t>(rows) + length) + 1024);
  S* R = static_cast<S*>(scratch.take(sizeof(S) * entries));
  S* w = static_cast<S*>(scratch.take(sizeof(S) * length));
  S* norm = static_cast<S*>(scratch.take(sizeof(S) * rows));
  S* diagonal = static_cast<S*>(scratch.take(sizeof(S) * rows));  // squared pivots
  S* inverse = static_cast<S*>(scratch.take(sizeof(S) * rows));
  S* column = static_cast<S*>(scratch.take(sizeof(S) * rows));
  const S zero{}, one = constant<S>(T(1));
  const T eps = sizeof(T) == 8 ? T(DBL_EPSILON) : T(FLT_EPSILON);

  for (int64_t q = item * kPacksPerItem; q < (item + 1) * kPacksPerItem && q * L < a.batch; ++q) {
    const int count = a.batch - q * L < L ? static_cast<int>(a.batch - q * L) : L;
    for (int l = 0; l < L; ++l) {
      const int64_t b = q * L + (l < count ? l : 0);
      const T* in = a.a + b * static_cast<int64_t>(entries);
      bool finite;
      const T most = largest(in, static_cast<int64_t>(entries), &finite);
      if (l < count) a.finite_out[b] = finite;
      // Scale in two factors: 1 / most may overflow when most is subnormal.
      int exponent = 0;
      if (finite && most > 0) std::frexp(most, &exponent);
      const T up = std::ldexp(T(1), -exponent / 2), up2 = std::ldexp(T(1), -exponent - (-exponent / 2));
      if (!finite) {
        for (size_t k = 0; k < entries; ++k) lane(R + k, l) = T(0);
      } else if (!flip) {
        for (size_t k = 0; k < entries; ++k) lane(R + k, l) = (in[k] * up) * up2;
      } else {
        for (int i = 0; i < rows; ++i)
          for (int j = 0; j < length; ++j) lane(R + static_cast<size_t>(i) * length + j, l) = (in[static_cast<size_t>(j) * rows + i] * up) * up2;
      }
    }
    S total = zero;
    for (int j = 0; j < rows; ++j) {
      S s = zero;
      const S* r = R + static_cast<size_t>(j) * length;
      for (int i = 0; i < length; ++i) s += r[i] * r[i];
      norm[j] = s;
      total += s;
    }
    const T rtol = static_cast<T>(a.rtol);
    // Stop a lane when what remains of every row is far below the tolerance.
    const S floor2 = total * (rtol * rtol / static_cast<T>(K) / static_cast<T>(16 * K));
    int steps = 0;
    for (int k = 0; k < K; ++k) {
      S best = norm[k];
      M index{};
      index += static_cast<I>(k);
      for (int j = k + 1; j < rows; ++j) {
        const M more = norm[j] > best;
        best = more ? norm[j] : best;
        M jj{};
        jj += static_cast<I>(j);
        index = more ? jj : index;
      }
      diagonal[k] = best;
      if (!any<M>(best > floor2)) break;
      steps = k + 1;
      // Per lane: swap the pivot row with row k, keep a copy as the reflector.
      for (int l = 0; l < L; ++l) {
        const int p = static_cast<int>(index[l]);
        S *from = R + static_cast<size_t>(p) * length, *to = R + static_cast<size_t>(k) * length;
        for (int i = 0; i < length; ++i) {
          const T v = lane(from + i, l);
          lane(from + i, l) = lane(to + i, l);
          lane(to + i, l) = v;
        }
        lane(norm + p, l) = lane(norm + k, l);
      }
      S* pivot = R + static_cast<size_t>(k) * length;
      for (int i = k; i < length; ++i) w[i] = pivot[i];
      const S alpha = w[k], size = square_root(best);
      const S magnitude = alpha < zero ? -alpha : alpha;
      const S v = magnitude + size, den = size * v;
      const M usable = den > zero;
      const S tau = usable ? one / (usable ? den : one) : zero;
      w[k] = alpha < zero ? -v : v;
      pivot[k] = alpha < zero ? size : -size;
      for (int j = k + 1; j < rows; ++j) {
        S* x = R + static_cast<size_t>(j) * length;
        S s0 = zero, s1 = zero;
        int i = k;
        for (; i + 1 < length; i += 2) {
          s0 += w[i] * x[i];
          s1 += w[i + 1] * x[i + 1];
        }
        if (i < length) s0 += w[i] * x[i];
        const S s = (s0 + s1) * tau;
        x[k] -= s * w[k];
        S n0 = zero, n1 = zero;
        i = k + 1;
        for (; i + 1 < length; i += 2) {
          const S x0 = x[i] - s * w[i], x1 = x[i + 1] - s * w[i + 1];
          x[i] = x0;
          x[i + 1] = x1;
          n0 += x0 * x0;
          n1 += x1 * x1;
        }
        if (i < length) {
          const S x0 = x[i] - s * w[i];
          x[i] = x0;
          n0 += x0 * x0;
        }
        norm[j] = n0 + n1;
      }
    }
    for (int k = steps; k < K; ++k) diagonal[k] = k == steps ? diagonal[k] : zero;
    // Verdict per lane: pivots above the tolerance (with the largest pivot as stand-in for sigma_1 within sqrt(K)).
    M ranks{};
    int most_rank = 0;
    T high2[L];
    for (int l = 0; l < L; ++l) {
      high2[l] = rtol * rtol * lane(&total, l);
      int r = 0;
      while (r < steps && lane(diagonal + r, l) > high2[l]) ++r;
      ranks[l] = r;
      if (r > most_rank) most_rank = r;
    }
    // ||R11^-1||_F^2, column by column of the inverse of the lower-triangular factor (row j of the work matrix holds R's column j).
    S inverse2 = zero;
    for (int j = 0; j < most_rank; ++j) {
      M jj{};
      jj += static_cast<I>(j);
      const M in = jj < ranks;
      const S d = R[static_cast<size_t>(j) * length + j];
      inverse[j] = in ? one / (in ? d : one) : zero;
    }
    for (int c = 0; c < most_rank; ++c) {
      column[c] = inverse[c];
      inverse2 += column[c] * column[c];
      for (int i = c - 1; i >= 0; --i) {
        S s = zero;
        for (int j = i + 1; j <= c; ++j) s += R[static_cast<size_t>(j) * length + i] * column[j];
        column[i] = -s * inverse[i];
        inverse2 += column[i] * column[i];
      }
    }
    for (int l = 0; l < count; ++l) {
      const int64_t b = q * L + l;
      const int r = static_cast<int>(ranks[l]);
      const T frobenius2 = lane(&total, l), frobenius = std::sqrt(frobenius2);
      const T tail2 = r < K ? lane(diagonal + r, l) * static_cast<T>(rows - r) : T(0);
      const T error = eps * frobenius;
      // sigma_1 >= sqrt((||A||_F^2 - ||R22||_F^2) / r): the first r singular values carry the rest of the norm.
      const T low = r > 0 && frobenius2 > tail2 ? rtol * std::sqrt((frobenius2 - tail2) / static_cast<T>(r)) : T(0);
      const T inv2 = lane(&inverse2, l);
      const T smallest = r == 0 ? T(0) : (inv2 > 0 ? T(1) / std::sqrt(inv2) : T(0));
      bool sure = frobenius2 == T(0) ||
                  (r > 0 && std::sqrt(tail2) + (r < K ? error : T(0)) <= low &&
                   smallest > T(2) * std::sqrt(high2[l]) + error);
      sure = sure && a.rtol * 2 >= static_cast<double>(eps) * (rows > length ? rows : length);
      a.rank_out[b] = r;
      a.certified_out[b] = sure;
    }
  }
}

template <class T>
void rank_batch(const RankRealArgs<T>& a, Control& control) {
  const int64_t packs = (a.batch + kLanes<T> - 1) / kLanes<T>;
  parallel_for((packs + kPacksPerItem - 1) / kPacksPerItem, a.threads, control, rank_item<T>, const_cast<RankRealArgs<T>*>(&a));
}

}  // namespace

void rank_real(const RankRealArgs<float>& a, Control& c) { rank_batch(a, c); }
void rank_real(const RankRealArgs<double>& a, Control& c) { rank_batch(a, c); }

}  // namespace SL_ISA
}  // namespace sl
