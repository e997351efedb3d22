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
// Two layouts. Up to 16 numbers a row: one matrix per lane (lane_qr.h). Above, and for what that cannot prove: one matrix at a time,
// lanes along the row (row_qr.h).
#include "ops/rank_real.h"

#include <type_traits>

#include "cpu/lane_qr.h"
#include "cpu/row_qr.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int kLaneLength = 16;  // longest row of the lane-per-matrix layout

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
