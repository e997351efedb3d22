// Numerical rank of a batch of real matrices. See ops/rank_real.h.
//
// Householder QR of the rows a_j (the shorter side of the matrix becomes the rows): in step k the reflection H = I - tau w w^T that maps
// row k to a multiple of e_k is applied to the later rows. What is left of the rows after r steps is R22. Three facts, whatever the
// order of the rows:   sigma_{r+1} <= ||R22||_F,   sigma_r >= 1 / ||R11^-1||_F,   low <= sigma_1 <= ||A||_F with
// low = sqrt((||A||_F^2 - ||R22||_F^2) / r). The tolerance is rtol sigma_1, so the rank is proven to be r when
//   ||R22||_F + eps ||A||_F <= rtol low   and   1 / ||R11^-1||_F > 2 rtol ||A||_F + eps ||A||_F,
// eps ||A||_F standing for the rounding of the QR itself. Anything nearer to the tolerance is left to an SVD.
//
// Because the proof holds for any order, rows are only exchanged when they must be: where row k has kept less than a tenth of what
// a random matrix would have left there, the remaining rows are measured; a matrix with nothing left is finished, otherwise the largest row comes
// first. Ordinary full-rank matrices never get there, which saves the norms (a third of the work) and the exchanges. A badly
// conditioned R11 can blur ||R22||: what is not proven so is done once more with the largest row first in every step.
//
// Two layouts. Up to 16 numbers a row: one matrix per lane, row length a compile-time constant (rows padded with zeros), steps
// unrolled. Above: one matrix at a time, lanes along the row, everything in L1 up to 64 x 64.
#include "ops/rank_real.h"

#include <cfloat>
#include <cmath>
#include <type_traits>
#include <utility>

#include "core/pack.h"
#include "core/scratch.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int kLaneLength = 16;       // longest row of the lane-per-matrix layout
constexpr double kHealthy = 1e-2;     // (row left)^2 over its expected value, below which rows are measured and exchanged

template <class T> constexpr T eps_of() { return sizeof(T) == 8 ? T(DBL_EPSILON) : T(FLT_EPSILON); }
template <class T> constexpr T max_of() { return sizeof(T) == 8 ? T(DBL_MAX) : T(FLT_MAX); }

// Whether the bounds above prove rank r.
template <class T>
SL_INLINE bool proven(int r, int full, T norm2, T tail2, T inverse2, T rtol) {
  if (norm2 == T(0)) return true;
  if (r == 0 || !(inverse2 > 0)) return false;
  const T norm = std::sqrt(norm2), error = eps_of<T>() * norm;
  if (r < full) {
    const T low = norm2 > tail2 ? rtol * std::sqrt((norm2 - tail2) / static_cast<T>(r)) : T(0);
    if (!(std::sqrt(tail2) + error <= low)) return false;
  }
  return T(1) / std::sqrt(inverse2) > T(2) * rtol * norm + error;
}

// A power of two that brings `most` near 1 (exact scaling; squares then neither overflow nor underflow where it matters).
template <class T>
SL_INLINE T balancing(T most) {
  if (!(most > 0)) return T(1);
  int e;
  std::frexp(most, &e);
  const int limit = sizeof(T) == 8 ? 1022 : 126;
  e = -e;
  e = e > limit ? limit : e < -limit ? -limit : e;
  return std::ldexp(T(1), e);
}

// ---- one matrix per lane --------------------------------------------------------------------------------------------------

// One stage of a transposition in registers: exchange blocks of h numbers between rows h apart, then blocks of 2h, ..
template <class T, int h>
SL_INLINE void exchange_blocks(Pack<T>* row) {
  constexpr int L = kLanes<T>;
  if constexpr (h < L) {
    PackMask<T> low{}, high{};
#pragma GCC unroll 16
    for (int l = 0; l < L; ++l) {
      low[l] = (l & h) ? l - h + L : l;
      high[l] = (l & h) ? l + L : l + h;
    }
#pragma GCC unroll 16
    for (int l = 0; l < L; ++l)
      if (!(l & h)) {
        const Pack<T> a = row[l], b = row[l + h];
        row[l] = __builtin_shuffle(a, b, low);
        row[l + h] = __builtin_shuffle(a, b, high);
      }
    exchange_blocks<T, 2 * h>(row);
  }
}

// Rows of L matrices, transposed into lanes: out[c] lane l = from[l][c], c < count.
template <class T, int kMost>
SL_INLINE void transpose_row(const T* const* from, int count, Pack<T>* out) {
  constexpr int L = kLanes<T>;
  using S = Pack<T>;
  int c = 0;
  if constexpr (kMost >= L) for (; c + L <= count; c += L) {
    S row[L];
    for (int l = 0; l < L; ++l) __builtin_memcpy(&row[l], from[l] + c, sizeof(S));
    exchange_blocks<T, 1>(row);
#pragma GCC unroll 16
    for (int l = 0; l < L; ++l) out[c + l] = row[l];
  }
  for (; c < count; ++c)
    for (int l = 0; l < L; ++l) reinterpret_cast<T*>(out + c)[l] = from[l][c];
}

template <class T, int N>
struct LaneQr {
  using S = Pack<T>;
  using M = PackMask<T>;
  static constexpr int L = kLanes<T>;
  S* R;       // [rows][N]
  int rows, full;
  S total, inverse[N];
  S floor2, tail2;
  M live, rank;

  // Rows k.. measured: finishes the lanes with nothing left, and brings the largest row to place k in the others.
  __attribute__((noinline)) void exchange(int k) {
    const S zero{};
    S sum = zero, best = zero;
    M index{};
    for (int j = k; j < rows; ++j) {
      S n = zero;
      for (int i = k; i < N; ++i) n += R[j * N + i] * R[j * N + i];
      sum += n;
      M here{};
      here += static_cast<typename std::remove_reference<decltype(here[0])>::type>(j);
      const M more = n > best;
      best = more ? n : best;
      index = more ? here : index;
    }
    const M finished = live & ~(best > floor2);
    for (int l = 0; l < L; ++l)
      if (finished[l]) {
        rank[l] = k;
        tail2[l] = sum[l];
      }
    live = live & ~finished;
    for (int l = 0; l < L; ++l) {
      if (!live[l] || index[l] == k) continue;
      T *a = reinterpret_cast<T*>(R + static_cast<int>(index[l]) * N) + l, *b = reinterpret_cast<T*>(R + k * N) + l;
      for (int i = 0; i < N; ++i) std::swap(a[i * L], b[i * L]);
    }
  }

  template <int k>
  SL_INLINE bool step() {
    if (k >= full || !any<M>(live)) return false;
    const S zero{}, one = constant<S>(T(1));
    S* p = R + k * N;
    auto left = [&] {
      S a = zero, b = zero;
#pragma GCC unroll 16
      for (int i = k; i < N; i += 2) {
        a += p[i] * p[i];
        if (i + 1 < N) b += p[i + 1] * p[i + 1];
      }
      return a + b;
    };
    S n2 = left();
    // A random matrix has total (N - k) / (rows N) left of row k.
    if (any<M>(live & ~(n2 * static_cast<T>(rows) > total * T(kHealthy * (N - k) / N)))) {
      exchange(k);
      if (!any<M>(live)) return false;
      n2 = left();
    }
    S w[N];
#pragma GCC unroll 16
    for (int i = k; i < N; ++i) w[i] = p[i];
    const S size = square_root(n2), alpha = w[k];
    const M negative = alpha < zero;
    const S v = (negative ? -alpha : alpha) + size, den = size * v;
    const M usable = den > zero;
    const S tau = usable ? one / (usable ? den : one) : zero;
    w[k] = negative ? -v : v;
    p[k] = negative ? size : -size;
    inverse[k] = p[k];
    int j = k + 1;
    for (; j + 2 < rows; j += 3) {
      S *x = R + j * N, *y = x + N, *z = y + N;
      S s = w[k] * x[k], t = w[k] * y[k], u = w[k] * z[k];
#pragma GCC unroll 16
      for (int i = k + 1; i < N; ++i) {
        s += w[i] * x[i];
        t += w[i] * y[i];
        u += w[i] * z[i];
      }
      s *= tau;
      t *= tau;
      u *= tau;
#pragma GCC unroll 16
      for (int i = k; i < N; ++i) {
        x[i] -= s * w[i];
        y[i] -= t * w[i];
        z[i] -= u * w[i];
      }
    }
    for (; j < rows; ++j) {
      S* x = R + j * N;
      S s = w[k] * x[k];
#pragma GCC unroll 16
      for (int i = k + 1; i < N; ++i) s += w[i] * x[i];
      s *= tau;
#pragma GCC unroll 16
      for (int i = k; i < N; ++i) x[i] -= s * w[i];
    }
    return true;
  }

  // Two packs at a time: the square roots and divisions of one hide behind the products of the other.
  template <int... k>
  static SL_INLINE void all_steps(LaneQr& a, LaneQr& b, std::integer_sequence<int, k...>) {
    (void)((a.template step<k>() | b.template step<k>()) && ...);
  }

  // ||R11^-1||_F^2 lane by lane; row j of R holds column j of the triangular factor in its first j + 1 entries.
  // Places at and after the rank have inverse 0, so their columns and rows contribute nothing.
  SL_INLINE S inverse_norm2() {
    const S zero{}, one = constant<S>(T(1));
    const int most = full;
    for (int j = 0; j < most; ++j) {
      M here{};
      here += static_cast<typename std::remove_reference<decltype(here[0])>::type>(j);
      const M in = here < rank;
      const S d = R[j * N + j];
      inverse[j] = in ? one / (in ? d : one) : zero;
    }
    S sum = zero;
    auto column = [&](int c) {
      S acc[N];
      S y = inverse[c];
      sum += y * y;
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i) acc[i] = R[c * N + i] * y;  // entries i < c are used
#pragma GCC unroll 8
      for (int i = c - 1; i >= 0; --i) {
        y = -acc[i] * inverse[i];
        sum += y * y;
#pragma GCC unroll 8
        for (int q = 0; q < i; ++q) acc[q] += R[i * N + q] * y;
      }
    };
    if constexpr (N <= 8) {
      for (int j = most; j < N; ++j) inverse[j] = zero;
#pragma GCC unroll 8
      for (int c = 0; c < N; ++c) column(c);
    } else {
      for (int c = 0; c < most; ++c) column(c);
    }
    return sum;
  }

  // Lanes for which the bounds at the top prove the rank.
  SL_INLINE M proven_lanes(S inverse2, T rtol) const {
    const S zero{}, norm = square_root(total), error = norm * eps_of<T>();
    S r;
    for (int l = 0; l < L; ++l) r[l] = static_cast<T>(rank[l]);
    const M some = r > zero, whole = r >= constant<S>(static_cast<T>(full)), good = inverse2 > zero;
    const S carried = total > tail2 ? total - tail2 : zero;
    const S low = square_root(carried / (some ? r : constant<S>(T(1)))) * rtol;
    const M tail_small = whole | (square_root(tail2) + error <= low);
    // 1 / ||R11^-1|| > bound, without the division
    const S bound = norm * (T(2) * rtol) + error;
    const M head_large = square_root(good ? inverse2 : zero) * bound < constant<S>(T(1));
    return (some & good & tail_small & head_large) | (total == zero);
  }
};

// ---- one matrix at a time, lanes along the row ------------------------------------------------------------------------------

// Sum of the lanes, by halves.
template <class S> SL_INLINE typename Traits<S>::Scalar total_of(S x) {
  using T = typename Traits<S>::Scalar;
#if defined(__AVX512F__)
  typedef T Half __attribute__((vector_size(32)));
  typedef T Quarter __attribute__((vector_size(16)));
  Half h[2];
  __builtin_memcpy(h, &x, sizeof x);
  const Half s = h[0] + h[1];
  Quarter q[2];
  __builtin_memcpy(q, &s, sizeof s);
  const Quarter t = q[0] + q[1];
  if constexpr (sizeof(T) == 8) return t[0] + t[1];
  else return (t[0] + t[2]) + (t[1] + t[3]);
#else
  T part[Traits<S>::lanes];
  __builtin_memcpy(part, &x, sizeof x);
  for (int half = Traits<S>::lanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) part[l] += part[l + half];
  return part[0];
#endif
}

// The sums of four packs of doubles at once: pairs are added while they are brought together, a third of the shuffles.
template <class S> SL_INLINE void totals_of(S a, S b, S c, S d, typename Traits<S>::Scalar* out) {
#if defined(__AVX2__)
  if constexpr (sizeof(typename Traits<S>::Scalar) == 8) {
#if defined(__AVX512F__)
    auto fold = [](S x) {
      __m256d half[2];
      __builtin_memcpy(half, &x, sizeof x);
      return half[0] + half[1];
    };
    const __m256d w = fold(a), x = fold(b), y = fold(c), z = fold(d);
#else
    const __m256d w = __builtin_bit_cast(__m256d, a), x = __builtin_bit_cast(__m256d, b);
    const __m256d y = __builtin_bit_cast(__m256d, c), z = __builtin_bit_cast(__m256d, d);
#endif
    const __m256d s = _mm256_hadd_pd(w, x), t = _mm256_hadd_pd(y, z);
    _mm256_storeu_pd(out, _mm256_add_pd(_mm256_permute2f128_pd(s, t, 0x21), _mm256_blend_pd(s, t, 0xC)));
    return;
  }
#endif
  out[0] = total_of<S>(a);
  out[1] = total_of<S>(b);
  out[2] = total_of<S>(c);
  out[3] = total_of<S>(d);
}

template <class T>
class RowQr {
  using S = Pack<T>;
  static constexpr int L = kLanes<T>;

 public:
  static size_t scratch_bytes(int rows, int length) {
    const size_t chunks = (length + L - 1) / L;
    return sizeof(S) * (static_cast<size_t>(rows) * chunks + chunks + rows) + sizeof(S*) * rows + sizeof(T) * rows + 512;
  }
  RowQr(int rows, int length, Scratch& scratch) : rows_(rows), length_(length), chunks_((length + L - 1) / L) {
    data_ = static_cast<S*>(scratch.take(sizeof(S) * static_cast<size_t>(rows) * chunks_));
    w_ = static_cast<S*>(scratch.take(sizeof(S) * chunks_));
    acc_ = static_cast<S*>(scratch.take(sizeof(S) * rows));
    row_ = static_cast<S**>(scratch.take(sizeof(S*) * rows));
    inverse_ = static_cast<T*>(scratch.take(sizeof(T) * rows));
  }

  // eager: exchange rows in every step (full pivoting of rows) instead of only when one must.
  void run(const T* in, bool flip, T rtol, bool eager, int64_t* rank_out, int8_t* certified, int8_t* finite) {
    T most = load(in, flip, T(1), finite);
    if (!*finite) {
      *rank_out = 0;
      *certified = 0;
      return;
    }
    T norm2 = norm();
    const T safe = sizeof(T) == 8 ? T(1e-200) : T(1e-20f), large = sizeof(T) == 8 ? T(1e200) : T(1e20f);
    if (most > 0 && !(norm2 > safe && norm2 < large)) {
      load(in, flip, balancing<T>(most), finite);
      norm2 = norm();
    }
    const T floor2 = rtol * rtol * norm2;
    T tail2 = 0;
    int rank = rows_;
    for (int k = 0; k < rows_; ++k) {
      T n2 = left(k, k);
      if (eager || !(n2 * rows_ > T(kHealthy) * norm2 * (length_ - k) / length_)) {
        T sum = n2, best = n2;
        int at = k;
        for (int j = k + 1; j < rows_; ++j) {
          const T n = left(j, k);
          sum += n;
          if (n > best) {
            best = n;
            at = j;
          }
        }
        if (!(best > floor2)) {
          rank = k;
          tail2 = sum;
          break;
        }
        std::swap(row_[k], row_[at]);
        n2 = best;
      }
      reflect(k, n2);
    }
    *rank_out = rank;
    *certified = proven<T>(rank, rows_, norm2, tail2, inverse_norm2(rank), rtol);
  }

 private:
  T* entries(int j) { return reinterpret_cast<T*>(row_[j]); }

  T load(const T* in, bool flip, T scale, int8_t* finite) {
    T most = 0;
    bool ok = true;
    for (int j = 0; j < rows_; ++j) {
      row_[j] = data_ + static_cast<size_t>(j) * chunks_;
      T* to = entries(j);
      for (int i = length_; i < chunks_ * L; ++i) to[i] = T(0);
    }
    if (!flip) {
      for (int j = 0; j < rows_; ++j) {
        T* to = entries(j);
        const T* from = in + static_cast<int64_t>(j) * length_;
        for (int i = 0; i < length_; ++i) to[i] = from[i] * scale;
      }
    } else {
      for (int i = 0; i < length_; ++i)
        for (int j = 0; j < rows_; ++j) entries(j)[i] = in[static_cast<int64_t>(i) * rows_ + j] * scale;
    }
    S peak{};
    PackMask<T> bad{};
    for (int j = 0; j < rows_; ++j)
      for (int c = 0; c < chunks_; ++c) {
        const S x = row_[j][c], y = x < S{} ? -x : x;
        bad = bad | ~(y <= constant<S>(max_of<T>()));
        peak = y > peak ? y : peak;
      }
    ok = !any<PackMask<T>>(bad);
    for (int l = 0; l < L; ++l) most = peak[l] > most ? peak[l] : most;
    *finite = ok;
    return most;
  }
  T norm() {
    S a{}, b{};
    const S* p = data_;
    const int count = rows_ * chunks_;
    int c = 0;
    for (; c + 1 < count; c += 2) {
      a += p[c] * p[c];
      b += p[c + 1] * p[c + 1];
    }
    if (c < count) a += p[c] * p[c];
    return total_of<S>(a + b);
  }
  // Squared norm of row j from entry k on.
  T left(int j, int k) {
    const int c0 = k / L;
    const T* p = entries(j);
    T sum = 0;
    for (int i = k; i < (c0 + 1) * L; ++i) sum += p[i] * p[i];
    S s{};
    for (int c = c0 + 1; c < chunks_; ++c) s += row_[j][c] * row_[j][c];
    return sum + total_of<S>(s);
  }

  void reflect(int k, T n2) {
    const int c0 = k / L;
    T* p = entries(k);
    T* w = reinterpret_cast<T*>(w_);
    for (int i = c0 * L; i < k; ++i) w[i] = T(0);
    for (int i = k; i < (c0 + 1) * L; ++i) w[i] = p[i];
    for (int c = c0 + 1; c < chunks_; ++c) w_[c] = row_[k][c];
    const T size = std::sqrt(n2), alpha = w[k], v = (alpha < 0 ? -alpha : alpha) + size;
    const T tau = T(1) / (size * v);
    w[k] = alpha < 0 ? -v : v;
    p[k] = alpha < 0 ? size : -size;
    int j = k + 1;
    for (; j + 3 < rows_; j += 4) {
      S *r0 = row_[j], *r1 = row_[j + 1], *r2 = row_[j + 2], *r3 = row_[j + 3];
      S s0{}, s1{}, s2{}, s3{};
      for (int c = c0; c < chunks_; ++c) {
        const S x = w_[c];
        s0 += x * r0[c];
        s1 += x * r1[c];
        s2 += x * r2[c];
        s3 += x * r3[c];
      }
      T dots[4];
      totals_of<S>(s0, s1, s2, s3, dots);
      const S t0 = constant<S>(dots[0] * tau), t1 = constant<S>(dots[1] * tau);
      const S t2 = constant<S>(dots[2] * tau), t3 = constant<S>(dots[3] * tau);
      for (int c = c0; c < chunks_; ++c) {
        const S x = w_[c];
        r0[c] -= t0 * x;
        r1[c] -= t1 * x;
        r2[c] -= t2 * x;
        r3[c] -= t3 * x;
      }
    }
    for (; j < rows_; ++j) {
      S* r = row_[j];
      S s{};
      for (int c = c0; c < chunks_; ++c) s += w_[c] * r[c];
      const S t = constant<S>(total_of<S>(s) * tau);
      for (int c = c0; c < chunks_; ++c) r[c] -= t * w_[c];
    }
  }

  // ||R11^-1||_F^2: the columns of the inverse by substitution, one column per lane.
  T inverse_norm2(int rank) {
    for (int j = 0; j < rank; ++j) inverse_[j] = T(1) / entries(j)[j];
    S sum{};
    for (int c = 0; c < rank; c += L) {
      const int top = c + L < rank ? c + L : rank;
      for (int q = 0; q < top; ++q) acc_[q] = S{};
      for (int i = top - 1; i >= 0; --i) {
        S right{};
        if (i >= c) right[i - c] = T(1);
        const S y = (right - acc_[i]) * inverse_[i];
        sum += y * y;
        const T* row = entries(i);
        for (int q = 0; q < i; ++q) acc_[q] += y * row[q];
      }
    }
    return total_of<S>(sum);
  }

  const int rows_, length_, chunks_;
  S *data_, *w_, *acc_, **row_;
  T* inverse_;
};

// ---- drivers ----------------------------------------------------------------------------------------------------------------

// Loads pack number q into the rows of qr, scaled where squares could overflow or underflow. finite: one flag per lane.
template <class T, int N>
SL_INLINE void load_pack(const RankRealArgs<T>& a, int64_t q, LaneQr<T, N>& qr, const T** from, bool* finite) {
  using S = Pack<T>;
  using M = PackMask<T>;
  constexpr int L = kLanes<T>;
  const bool flip = a.m > a.n;
  const int rows = flip ? a.n : a.m, length = flip ? a.m : a.n;
  const int64_t entries = static_cast<int64_t>(a.m) * a.n;
  const S zero{};
  S* R = qr.R;
  for (int l = 0; l < L; ++l) {
    const int64_t b = q * L + l;
    from[l] = a.a + (b < a.batch ? b : a.batch - 1) * entries;
    finite[l] = true;
  }
  const T* row[L];
  if (!flip) {
    for (int j = 0; j < rows; ++j) {
      for (int l = 0; l < L; ++l) row[l] = from[l] + static_cast<int64_t>(j) * length;
      transpose_row<T, N>(row, length, R + j * N);
      for (int i = length; i < N; ++i) R[j * N + i] = zero;
    }
  } else {
    alignas(64) S column[N];
    for (int i = 0; i < length; ++i) {
      for (int l = 0; l < L; ++l) row[l] = from[l] + static_cast<int64_t>(i) * rows;
      transpose_row<T, N>(row, rows, column);
      for (int j = 0; j < rows; ++j) R[j * N + i] = column[j];
    }
    for (int j = 0; j < rows; ++j)
      for (int i = length; i < N; ++i) R[j * N + i] = zero;
  }
  qr.rows = rows;
  qr.full = rows < length ? rows : length;
  auto norm = [&] {
    S t0 = zero, t1 = zero;
    for (int j = 0; j < rows; ++j)
#pragma GCC unroll 16
      for (int i = 0; i < N; i += 2) {
        t0 += R[j * N + i] * R[j * N + i];
        t1 += R[j * N + i + 1] * R[j * N + i + 1];
      }
    return t0 + t1;
  };
  qr.total = norm();
  // Squares far from the ends of the exponent range (or a zero matrix) need no scaling; nan and inf are caught here too.
  const T safe = sizeof(T) == 8 ? T(1e-200) : T(1e-20f), large = sizeof(T) == 8 ? T(1e200) : T(1e20f);
  const M fine = (qr.total > constant<S>(safe)) & (qr.total < constant<S>(large));
  if (any<M>(~fine)) {
    S most = zero;
    M bad{};
    for (int j = 0; j < rows; ++j)
      for (int i = 0; i < N; ++i) {
        const S x = R[j * N + i], y = x < zero ? -x : x;
        bad = bad | ~(y <= constant<S>(max_of<T>()));
        most = y > most ? y : most;
      }
    S scale;
    for (int l = 0; l < L; ++l) {
      finite[l] = !bad[l];
      scale[l] = finite[l] ? balancing<T>(most[l]) : T(0);
    }
    for (int j = 0; j < rows; ++j)
      for (int i = 0; i < N; ++i) R[j * N + i] = bad ? zero : R[j * N + i] * scale;
    qr.total = norm();
  }
  const T rtol = static_cast<T>(a.rtol);
  qr.floor2 = qr.total * (rtol * rtol);
  qr.tail2 = zero;
  qr.live = qr.total == qr.total;
  qr.rank = M{};
  qr.rank += static_cast<typename std::remove_reference<decltype(qr.rank[0])>::type>(qr.full);
}

template <class T, int N>
void rank_lanes(void* context, int, int64_t item, Control&) {
  using S = Pack<T>;
  using M = PackMask<T>;
  constexpr int L = kLanes<T>;
  const RankRealArgs<T>& a = *static_cast<const RankRealArgs<T>*>(context);
  const bool flip = a.m > a.n;
  const int rows = flip ? a.n : a.m, length = flip ? a.m : a.n;
  const T rtol = static_cast<T>(a.rtol);
  alignas(64) S storage[2][N * N];
  Scratch scratch(RowQr<T>::scratch_bytes(rows, length));
  RowQr<T> second(rows, length, scratch);
  const int64_t packs = (a.batch + L - 1) / L, per_item = 64;
  for (int64_t q = item * per_item; q < (item + 1) * per_item && q < packs; q += 2) {
    LaneQr<T, N> qr[2];
    const T* from[2][L];
    bool finite[2][L];
    for (int h = 0; h < 2; ++h) {
      qr[h].R = storage[h];
      load_pack<T, N>(a, q + h < packs ? q + h : q, qr[h], from[h], finite[h]);
    }
    LaneQr<T, N>::all_steps(qr[0], qr[1], std::make_integer_sequence<int, N>{});
    for (int h = 0; h < 2 && q + h < packs; ++h) {
      const M sure = qr[h].proven_lanes(qr[h].inverse_norm2(), rtol);
      for (int l = 0; l < L && (q + h) * L + l < a.batch; ++l) {
        const int64_t b = (q + h) * L + l;
        a.rank_out[b] = static_cast<int64_t>(qr[h].rank[l]);
        a.finite_out[b] = finite[h][l];
        a.certified_out[b] = sure[l] != 0;
        if (!sure[l] && finite[h][l])
          second.run(from[h][l], flip, rtol, true, a.rank_out + b, a.certified_out + b, a.finite_out + b);
      }
    }
  }
}

constexpr int64_t kRowsPerItem = 16;

template <class T>
void rank_rows(void* context, int, int64_t item, Control&) {
  const RankRealArgs<T>& a = *static_cast<const RankRealArgs<T>*>(context);
  const bool flip = a.m > a.n;
  const int rows = flip ? a.n : a.m, length = flip ? a.m : a.n;
  Scratch scratch(RowQr<T>::scratch_bytes(rows, length));
  RowQr<T> qr(rows, length, scratch);
  for (int64_t b = item * kRowsPerItem; b < (item + 1) * kRowsPerItem && b < a.batch; ++b)
    for (const bool eager : {false, true}) {
      if (eager && (a.certified_out[b] || !a.finite_out[b])) break;
      qr.run(a.a + b * a.m * a.n, flip, static_cast<T>(a.rtol), eager, a.rank_out + b, a.certified_out + b, a.finite_out + b);
    }
}

template <class T>
void rank_batch(const RankRealArgs<T>& a, Control& control) {
  const int length = a.m > a.n ? a.m : a.n;
  RankRealArgs<T>* context = const_cast<RankRealArgs<T>*>(&a);
  if (length <= kLaneLength) {
    Body body = length <= 4 ? rank_lanes<T, 4> : length <= 8 ? rank_lanes<T, 8> : length <= 12 ? rank_lanes<T, 12> : rank_lanes<T, 16>;
    const int64_t packs = (a.batch + kLanes<T> - 1) / kLanes<T>;
    parallel_for((packs + 63) / 64, a.threads, control, body, context);
  } else {
    parallel_for((a.batch + kRowsPerItem - 1) / kRowsPerItem, a.threads, control, rank_rows<T>, context);
  }
  // A tolerance below the rounding of the method proves nothing.
  if (a.rtol * 2 < static_cast<double>(eps_of<T>()) * length)
    for (int64_t b = 0; b < a.batch; ++b) a.certified_out[b] = 0;
}

}  // namespace

void rank_real(const RankRealArgs<float>& a, Control& c) { rank_batch(a, c); }
void rank_real(const RankRealArgs<double>& a, Control& c) { rank_batch(a, c); }

}  // namespace SL_ISA
}  // namespace sl
