// rank_real_rows.h: Householder QR of the rows of one matrix, SIMD lanes along the row (see rank_real.cpp for the method).
//
// Rows of `chunks` packs, reached through pointers so that an exchange moves no numbers; everything in L1 up to 64 x 64. A reflection is
// applied to four rows at a time: four scalar products are summed across the lanes together. Rows are exchanged where one has kept less
// than a tenth of what a random matrix would have left there, or in every step (eager).
// Cost 2 length rows^2 multiply-adds, 13 % of the multiply-add peak at 32 x 32 and 20 % at 64 x 64 (AVX-512, Zen 5): sums across the lanes.
#pragma once
#include <utility>

#include "core/scratch.h"
#include "cpu/rank_real_proof.h"
#include "scalar/across_lanes.h"

namespace sl {
namespace SL_ISA {

constexpr double kHealthy = 1e-2;  // (row left)^2 over its expected value, below which rows are measured and exchanged

template <class T>
class RowQr {
  using S = Pack<T>;
  static constexpr int L = kLanes<T>;

 public:
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
    *certified = rank_proven<T>(rank, rows_, length_, norm2, tail2, inverse_norm2(rank), rtol);
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

}  // namespace SL_ISA
}  // namespace sl
