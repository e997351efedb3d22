// Numerical rank of a batch of real matrices. See ops/rank_real.h.
//
// Householder QR of the rows a_j (the shorter side of the matrix becomes the rows): the reflection H = I - tau w w^T that maps what is
// left of a row to a multiple of e_k is applied to the other rows. After r rows, R11 is their triangle and R22 what is left of the rest;
// when these prove the rank is said in method/rank_proof.h.
//
// Because the proof holds for any order, rows are taken as they come. Nothing left of a row: it is skipped, and counts as a part of R22.
// A badly conditioned R11 can blur ||R22||; the last pivot, the usual culprit, is forgiven (tail_beside_weak in rank_real_proof.h), and
// what is still not proven is done once more with the largest row first in every step.
//
// Three layouts. Up to 8 numbers a row: one matrix per lane, two packs at a time, all steps unrolled (rank_real_short.h). Up to 128: one
// matrix per lane, four rows and two reflections at a time (rank_real_lanes.h). Above, for what a pack is not worth filling with, and for
// what the other two cannot prove: one matrix at a time, lanes along the row (rank_real_rows.h).
#include "ops/rank_real.h"

#include "cpu/rank_real_lanes.h"
#include "cpu/rank_real_rows.h"
#include "cpu/rank_real_short.h"
#include "scalar/across_lanes.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int kShortLength = 8, kLaneLength = 128;  // longest rows of the two layouts with one matrix per lane (docs/speed.md)

// The matrices of one call: packs of matrices side by side in lanes, then matrices one by one. Workers take the next until none is left.
template <class T>
struct Work {
  const RankRealArgs<T>* args;
  bool flip;  // the columns are the rows of the QR, being fewer
  int rows, length;
  int64_t packs;
  int64_t next_pack, next_single;

  T rtol() const { return static_cast<T>(args->rtol); }
  int64_t entries() const { return static_cast<int64_t>(args->m) * args->n; }
  static int64_t take(int64_t& next, int64_t count) { return __atomic_fetch_add(&next, count, __ATOMIC_RELAXED); }

  void one(RowQr<T>& qr, bool eager, int64_t b) const {
    qr.run(args->a + b * entries(), flip, rtol(), eager, args->rank_out + b, args->certified_out + b, args->finite_out + b);
  }
  // The results of pack q; what its lanes did not prove is done once more.
  SL_INLINE void settle(int64_t q, PackMask<T> rank, PackMask<T> sure, const bool* finite, RowQr<T>& second) const {
    constexpr int L = kLanes<T>;
    for (int l = 0; l < L && q * L + l < args->batch; ++l) {
      const int64_t b = q * L + l;
      args->rank_out[b] = static_cast<int64_t>(rank[l]);
      args->finite_out[b] = finite[l];
      args->certified_out[b] = sure[l] != 0;
      if (!sure[l] && finite[l]) one(second, true, b);
    }
  }
  void singles(RowQr<T>& qr, int worker, Control& control) {
    for (int64_t b = take(next_single, 1); b < args->batch && !control.should_stop(worker); b = take(next_single, 1))
      for (const bool eager : {false, true}) {
        if (eager && (args->certified_out[b] || !args->finite_out[b])) break;
        one(qr, eager, b);
      }
  }
};

// Loads pack number q into a [rows][stride], scaled where squares could overflow or underflow; returns the squared norms.
// finite: one flag per lane; the lanes of other matrices get zeros.
template <class T>
SL_INLINE Pack<T> load_pack(const Work<T>& work, int64_t q, Pack<T>* a, int stride, bool* finite) {
  using S = Pack<T>;
  using M = PackMask<T>;
  constexpr int L = kLanes<T>;
  const int rows = work.rows, length = work.length;
  const int64_t last = work.args->batch - 1;
  const T* from[L];
  for (int l = 0; l < L; ++l) {
    from[l] = work.args->a + (q * L + l < last ? q * L + l : last) * work.entries();
    finite[l] = true;
  }
  const T* row[L];
  S part[4]{};
  auto add_norm = [&](const S* x) {
    int c = 0;
    for (; c + 3 < length; c += 4)
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) part[k] += x[c + k] * x[c + k];
    for (; c < length; ++c) part[0] += x[c] * x[c];
  };
  if (!work.flip) {
    for (int j = 0; j < rows; ++j) {
      for (int l = 0; l < L; ++l) row[l] = from[l] + static_cast<int64_t>(j) * length;
      transpose_row<T>(row, length, a + j * stride);
      add_norm(a + j * stride);
    }
  } else {
    S column[L];
    for (int i = 0; i < length; ++i)
      for (int j = 0; j < rows; j += L) {
        for (int l = 0; l < L; ++l) row[l] = from[l] + static_cast<int64_t>(i) * rows + j;
        const int count = rows - j < L ? rows - j : L;
        transpose_row<T>(row, count, column);
        for (int k = 0; k < count; ++k) a[(j + k) * stride + i] = column[k];
      }
    for (int j = 0; j < rows; ++j) add_norm(a + j * stride);
  }
  S total = (part[0] + part[1]) + (part[2] + part[3]);
  // Squares far from the ends of the exponent range (or a zero matrix) need no scaling; nan and inf are caught here too.
  const S zero{};
  const T safe = sizeof(T) == 8 ? T(1e-200) : T(1e-20f), large = sizeof(T) == 8 ? T(1e200) : T(1e20f);
  const M fine = (total > constant<S>(safe)) & (total < constant<S>(large));
  if (any<M>(~fine)) {
    S most = zero;
    M bad{};
    for (int j = 0; j < rows; ++j)
      for (int c = 0; c < length; ++c) {
        const S x = a[j * stride + c], y = x < zero ? -x : x;
        bad = bad | ~(y <= constant<S>(max_of<T>()));
        most = y > most ? y : most;
      }
    if (!any<M>(bad | (~fine & (most > zero)))) return total;  // zeros
    S scale;
    for (int l = 0; l < L; ++l) {
      finite[l] = !bad[l];
      scale[l] = bad[l] ? T(0) : fine[l] ? T(1) : balancing<T>(most[l]);
    }
    for (S& x : part) x = zero;
    for (int j = 0; j < rows; ++j) {
      for (int c = 0; c < length; ++c) a[j * stride + c] = bad ? zero : a[j * stride + c] * scale;
      add_norm(a + j * stride);
    }
    total = (part[0] + part[1]) + (part[2] + part[3]);
  }
  return total;
}

template <class T, int N>
void rank_short(void* context, int worker, int64_t, Control& control) {
  Work<T>& work = *static_cast<Work<T>*>(context);
  Scratch scratch;
  RowQr<T> second(work.rows, work.length, scratch);
  ShortQr<T, N> qr[2];
  constexpr int64_t kTake = 16;
  for (int64_t q = work.take(work.next_pack, kTake); q < work.packs && !control.should_stop(worker); q = work.take(work.next_pack, kTake))
    for (int64_t p = q; p < q + kTake && p < work.packs; p += 2) {
      bool finite[2][kLanes<T>];
      for (int h = 0; h < 2; ++h) qr[h].begin(load_pack<T>(work, p + h, qr[h].rows(), N, finite[h]), work.rows, work.rtol());
      ShortQr<T, N>::all_steps(qr[0], qr[1], std::make_integer_sequence<int, N>{});
      for (int h = 0; h < 2; ++h) work.settle(p + h, qr[h].rank(), qr[h].proven(work.rtol()), finite[h], second);
    }
}

template <class T>
void rank_lanes(void* context, int worker, int64_t, Control& control) {
  constexpr int L = kLanes<T>;
  Work<T>& work = *static_cast<Work<T>*>(context);
  Scratch scratch;
  LaneQr<T> first(work.rows, work.length, scratch);
  RowQr<T> second(work.rows, work.length, scratch);
  // The matrices of the next pack are asked from memory while this one is worked on.
  constexpr int64_t kTake = 4, kLine = 64 / sizeof(T);
  const int64_t share = (16 * L * work.length / work.rows + kLine - 1) / kLine * kLine, pack = L * work.entries();
  for (int64_t q = work.take(work.next_pack, kTake); q < work.packs && !control.should_stop(worker); q = work.take(work.next_pack, kTake))
    for (int64_t p = q; p < q + kTake && p < work.packs; ++p) {
      bool finite[L];
      const Pack<T> total = load_pack<T>(work, p, first.rows(), LaneQr<T>::stride_of(work.length), finite);
      const int64_t end = (p + 2) * L <= work.args->batch ? (p + 2) * pack : 0;
      int64_t next = (p + 1) * pack;
      const PackMask<T> sure = first.run(total, work.rtol(), [&] {
        const int64_t stop = next + share < end ? next + share : end;
        for (; next < stop; next += kLine) __builtin_prefetch(work.args->a + next, 0, 2);
      });
      work.settle(p, first.rank(), sure, finite, second);
    }
  work.singles(second, worker, control);
}

template <class T>
void rank_rows(void* context, int worker, int64_t, Control& control) {
  Work<T>& work = *static_cast<Work<T>*>(context);
  Scratch scratch;
  RowQr<T> qr(work.rows, work.length, scratch);
  work.singles(qr, worker, control);
}

template <class T>
void rank_batch(const RankRealArgs<T>& a, Control& control) {
  constexpr int64_t L = kLanes<T>;
  Work<T> work{};
  work.args = &a;
  work.flip = a.m > a.n;
  work.rows = work.flip ? a.n : a.m;
  work.length = work.flip ? a.m : a.n;
  // A pack is worth filling with half as many matrices as lanes; up to 16 numbers a row always: a matrix meets the same proof everywhere.
  const int64_t rest = a.batch % L;
  if (work.length <= kLaneLength) work.packs = a.batch / L + (rest >= L / 2 || (rest > 0 && work.length <= 16) ? 1 : 0);
  work.next_single = work.packs * L;
  const Body body = work.packs == 0               ? rank_rows<T>
                    : work.length <= 4            ? rank_short<T, 4>
                    : work.length <= kShortLength ? rank_short<T, 8>
                                                  : rank_lanes<T>;
  const int workers = worker_count(work.packs + (a.batch > work.packs * L ? a.batch - work.packs * L : 0), a.threads);
  parallel_for(workers, workers, control, body, &work);
  if (!tolerance_provable<T>(a.rtol, work.length))
    for (int64_t b = 0; b < a.batch; ++b) a.certified_out[b] = 0;
}

}  // namespace

void rank_real(const RankRealArgs<float>& a, Control& c) { rank_batch(a, c); }
void rank_real(const RankRealArgs<double>& a, Control& c) { rank_batch(a, c); }

}  // namespace SL_ISA
}  // namespace sl
