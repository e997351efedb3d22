// Projections of a batch: what is left of g beside chosen columns. See ops/project.h.
//
// Columns of up to 128 numbers, no more columns than equations: one matrix per SIMD lane. Three ways, each for what the one before leaves:
//   project_normal.h    the normal equations, refined once: lanes whose columns are far from dependent, with the proof that they are
//   rank_real_lanes.h   QR of the columns as they come, g the row behind them that meets all reflections: with r columns taken, its first r
//                       numbers are z = Q^T g, the others the residual, and R x = z by substitution, R's columns being what the reflections
//                       left of the rows. It proves its verdict on each column (method/rank_proof.h)
//   project_pivoted.h   QR with the longest remaining column first, one matrix at a time, whose verdict stands: what the others cannot prove,
//                       what has numbers whose squares overflow, and larger matrices
// A matrix always goes the same way, whatever its neighbours are: packs are filled up with copies of the last matrix.
// Cost per pack: m k packs loaded lane by lane (transposed in registers where the columns are neighbours), then m k^2 / 2 + k^3 / 6 + 4 m k
// multiply-adds from L2, or m k^2 - k^3 / 3.
#include "ops/project.h"

#include <new>

#include "cpu/project_normal.h"
#include "cpu/project_pivoted.h"
#include "cpu/rank_real_lanes.h"
#include "scalar/across_lanes.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int kLongest = 128;  // as for ranks
constexpr double kLeast = 1e-200, kMost = 1e200;  // squared lengths between which nothing overflows or underflows where it matters

template <class T>
struct Work {
  const ProjectArgs<T>* args;
  int64_t packs, next_pack, next_single;
  static int64_t take(int64_t& next, int64_t count) { return __atomic_fetch_add(&next, count, __ATOMIC_RELAXED); }
};

// The matrices of one pack.
template <class T>
class LaneProjection {
  using S = Pack<double>;
  using M = PackMask<double>;
  static constexpr int L = kLanes<double>;

 public:
  LaneProjection(const ProjectArgs<T>& args, Scratch& scratch)
      : args_(args), m_(args.m), k_(args.k), scratch_(scratch), normal_(args.m, args.k, scratch) {
    from_ = take_array<const T*>(scratch, static_cast<size_t>(k_) * L);
    scale_ = take_array<S>(scratch, k_);
    x_ = take_array<S>(scratch, k_);
  }

  // Results of pack number q; the matrices that are left to the third way are handed to rest(b).
  template <class Rest>
  void run(int64_t q, Rest&& rest) {
    load(q);
    const M well = normal_.run();
    M sure{};
    if (any<M>(~well)) sure = by_reflections();
    for (int l = 0; l < L && q * L + l < args_.batch; ++l) {
      const int64_t b = q * L + l;
      if (well[l]) {
        const double left = normal_.residual()[l];
        write(b, l, k_, left, left > 0 ? left / normal_.whole()[l] : 0, normal_.x());
      } else if (sure[l]) {
        write(b, l, qr_->rank()[l], left_[l], left_[l] > 0 ? left_[l] / (left_[l] + inside_[l]) : 0, x_);
      } else {
        rest(b);
      }
    }
  }

 private:
  S* row(int j) { return qr_->rows() + static_cast<size_t>(j) * LaneQr<double>::stride_of(m_); }

  void write(int64_t b, int l, int64_t rank, double residual, double share, const S* x) const {
    args_.finite_out[b] = 1;
    args_.rank_out[b] = rank;
    args_.residual_out[b] = static_cast<T>(residual);
    args_.share_out[b] = static_cast<T>(share);
    for (int j = 0; args_.coefficients_out && j < k_; ++j) args_.coefficients_out[b * k_ + j] = static_cast<T>(x[j][l]);
  }

  int64_t member(int64_t q, int l) const { return q * L + l < args_.batch ? q * L + l : args_.batch - 1; }
  const int* columns_of(int64_t b) const { return args_.columns + b * args_.columns_stride; }

  // The matrices of a pack, column by column, into normal_.
  void load(int64_t q) {
    const T *a[L], *g[L];
    bool neighbours = k_ >= L;
    for (int l = 0; l < L; ++l) {
      const int64_t b = member(q, l);
      const int* columns = columns_of(b);
      if (l == 0 || args_.columns_stride != 0)
        for (int j = 0; j < k_; ++j) neighbours &= columns[j] >= 0 && columns[j] == columns[0] + j;
      a[l] = args_.a + b * args_.a_stride;
      g[l] = args_.g + b * args_.g_stride;
    }
    if (neighbours) {
      for (int l = 0; l < L; ++l) a[l] += columns_of(member(q, l))[0];
      load_neighbours(a);
    } else {
      for (int l = 0; l < L; ++l)
        for (int j = 0; j < k_; ++j) from_[j * L + l] = a[l] + (columns_of(member(q, l))[j] < 0 ? 0 : columns_of(member(q, l))[j]);
      load_any();
      for (int l = 0; l < L; ++l)  // no column: zeros
        for (int j = 0; j < k_; ++j)
          for (int i = 0; columns_of(member(q, l))[j] < 0 && i < m_; ++i) normal_.column(j)[i][l] = 0;
    }
    if constexpr (sizeof(T) == sizeof(double)) transpose_row<double>(g, m_, normal_.column(k_));
    else
      for (int i = 0; i < m_; ++i)
        for (int l = 0; l < L; ++l) normal_.column(k_)[i][l] = static_cast<double>(g[l][i]);
  }
  void load_any() {
    S* const rows = normal_.column(0);
    const int stride = normal_.stride();
    for (int i = 0; i < m_; ++i) {
      const int64_t at = static_cast<int64_t>(i) * args_.p;
      for (int j = 0; j < k_; ++j) {
        double* to = reinterpret_cast<double*>(rows + static_cast<size_t>(j) * stride + i);
        const T* const* from = from_ + j * L;
        for (int l = 0; l < L; ++l) to[l] = static_cast<double>(from[l][at]);
      }
    }
  }
  // L rows of L numbers at a time are transposed in registers; the last ones once more where k is no multiple of L.
  void load_neighbours(const T* const* a) {
    S* const rows = normal_.column(0);
    const int stride = normal_.stride();
    for (int j = 0;; j += L) {
      if (j + L > k_) j = k_ - L;
      for (int i = 0; i < m_; ++i) {
        S block[L];
        const int64_t at = static_cast<int64_t>(i) * args_.p;
        if constexpr (sizeof(T) == sizeof(double)) {
          transpose_block<double>(a, at + j, block);
        } else {
          for (int l = 0; l < L; ++l)
            for (int c = 0; c < L; ++c) block[c][l] = static_cast<double>(a[l][at + j + c]);
        }
#pragma GCC unroll 8
        for (int c = 0; c < L; ++c) rows[static_cast<size_t>(j + c) * stride + i] = block[c];
      }
      if (j + L == k_) break;
    }
  }

  // The second way, for all lanes; returns those whose verdict is proven.
  M by_reflections() {
    if (!qr_) qr_ = new (scratch_.take(sizeof(LaneQr<double>))) LaneQr<double>(k_, m_, scratch_, true);
    for (int j = 0; j <= k_; ++j)
      for (int i = 0; i < m_; ++i) row(j)[i] = normal_.column(j)[i];
    M ordinary = ~M{};
    const S total = balance(&ordinary);
    const M sure = qr_->run(total, args_.rtol, [] {}) & ordinary;
    left_ = residual();
    if (args_.coefficients_out) substitute();
    return sure;
  }

  S squared_length(const S* x) const {
    S part[4]{};
    for (int i = 0; i < m_; ++i) part[i & 3] += x[i] * x[i];
    return (part[0] + part[1]) + (part[2] + part[3]);
  }

  // Columns of one lane whose lengths differ by more than 16 are scaled by powers of two. Returns the squared length of all together.
  S balance(M* ordinary) {
    const S least = constant<S>(kLeast), most = constant<S>(kMost), zero{};
    S longest{}, shortest = most, total{};
    for (int j = 0; j < k_; ++j) {
      const S n2 = squared_length(row(j));
      *ordinary = *ordinary & ((n2 == zero) | ((n2 > least) & (n2 < most)));
      scale_[j] = n2;
      longest = n2 > longest ? n2 : longest;
      shortest = (n2 > zero) & (n2 < shortest) ? n2 : shortest;
      total += n2;
    }
    const S of_g = squared_length(row(k_));
    *ordinary = *ordinary & ((of_g == zero) | ((of_g > least) & (of_g < most)));
    for (int j = 0; j <= k_; ++j) {  // squares that are all 0 of numbers that are not
      const M none = (j < k_ ? scale_[j] : of_g) == zero;
      if (!any<M>(none)) continue;
      M some{};
      for (int i = 0; i < m_; ++i) some = some | (row(j)[i] != zero);
      *ordinary = *ordinary & ~(none & some);
    }
    const M differ = *ordinary & (longest > shortest * 256.0);
    if (!any<M>(differ)) {
      for (int j = 0; j < k_; ++j) scale_[j] = constant<S>(1.0);
      return total;
    }
    total = zero;
    for (int j = 0; j < k_; ++j) {
      // 2^-e of a length2 in 4^e .. 4^(e+1), from the exponent as it stands in the number
      const S n2 = scale_[j];
      const M power = (M{} + 1534 - (__builtin_bit_cast(M, n2) >> 53)) << 52;
      const S scale = differ & (n2 > zero) ? __builtin_bit_cast(S, power) : constant<S>(1.0);
      S* x = row(j);
      for (int i = 0; i < m_; ++i) x[i] *= scale;
      total += n2 * scale * scale;
      scale_[j] = scale;
    }
    return total;
  }

  // |(I - P) g|^2, and |P g|^2 into inside_.
  S residual() {
    const S* g = row(k_);
    S part[4]{};
    inside_ = S{};
    for (int i = 0; i < m_; ++i) {
      const M behind = lanes_at<double>(i) >= qr_->rank();
      part[i & 3] += behind ? g[i] * g[i] : S{};
      inside_ += behind ? S{} : g[i] * g[i];
    }
    return (part[0] + part[1]) + (part[2] + part[3]);
  }

  // R x = z, from the last column taken to the first. A lane that left columns out is behind: its pivot stands at `place`.
  void substitute() {
    S* z = row(k_);
    M place = qr_->rank() - 1;
    for (int j = k_ - 1; j >= 0; --j) {
      const S inverse = qr_->inverses()[j];
      const M taken = inverse != S{};
      const S* r = row(j);
      S here{};
      for (int i = 0; i <= j; ++i) here = place == lanes_at<double>(i) ? z[i] : here;
      const S x = taken ? here * inverse : S{};
      for (int i = 0; i < j; ++i) z[i] = place > lanes_at<double>(i) ? z[i] - r[i] * x : z[i];
      x_[j] = x * scale_[j];
      place += taken;
    }
  }

  const ProjectArgs<T>& args_;
  const int m_, k_;
  Scratch& scratch_;
  NormalProjection normal_;
  LaneQr<double>* qr_ = nullptr;  // made when it is needed
  S left_{}, inside_{};  // of the second way: |(I - P) g|^2, |P g|^2
  const T** from_;  // [k][L]: where the columns begin
  S *scale_, *x_;  // of each column: the power of two, the coefficient
};

template <class T>
void project_packs(void* context, int worker, int64_t, Control& control) {
  Work<T>& work = *static_cast<Work<T>*>(context);
  Scratch scratch;
  LaneProjection<T> lanes(*work.args, scratch);
  PivotedProjection one(work.args->m, work.args->k, scratch);
  for (int64_t q = work.take(work.next_pack, 1); q < work.packs && !control.should_stop(worker); q = work.take(work.next_pack, 1))
    lanes.run(q, [&](int64_t b) { one.run(*work.args, b); });
}

template <class T>
void project_singles(void* context, int worker, int64_t, Control& control) {
  Work<T>& work = *static_cast<Work<T>*>(context);
  Scratch scratch;
  PivotedProjection one(work.args->m, work.args->k, scratch);
  for (int64_t b = work.take(work.next_single, 1); b < work.args->batch && !control.should_stop(worker); b = work.take(work.next_single, 1))
    one.run(*work.args, b);
}

template <class T>
void project_batch(const ProjectArgs<T>& a, Control& control) {
  constexpr int L = kLanes<double>;
  Work<T> work{};
  work.args = &a;
  const bool lanes = a.m <= kLongest && a.k <= a.m && a.k > 0 && tolerance_provable<double>(a.rtol, a.m);
  if (lanes) work.packs = (a.batch + L - 1) / L;
  const int workers = worker_count(lanes ? work.packs : a.batch, a.threads);
  parallel_for(workers, workers, control, lanes ? project_packs<T> : project_singles<T>, &work);
}

}  // namespace

void project(const ProjectArgs<float>& a, Control& c) { project_batch(a, c); }
void project(const ProjectArgs<double>& a, Control& c) { project_batch(a, c); }

}  // namespace SL_ISA
}  // namespace sl
