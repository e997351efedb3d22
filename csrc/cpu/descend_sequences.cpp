// Masked gradient descent of recurrent networks of many sequences, one student at a time, its sequences in the lanes. See ops/descend.h.
//
//   h_t = phi(W h_{t-1} + B x_t + b),  y_t = D h_t + c,  e_t = d loss / d y_t,  delta_t = phi'(h_t) * (D^T e_t + W^T delta_{t+1})
//   dW = sum delta_t h_{t-1}^T,  dB = sum delta_t x_t^T,  db = sum delta_t,  dD = sum e_t h_t^T,  dc = sum e_t     over t and sequences
//
// A weight is one number for all lanes: broadcast from memory into a multiply-add, 4 or 8 bytes where a pack of students (descend.cpp) loads
// 64. So W stays in L1 up to 96 units in float32 and in L2 up to 700, and K rows take K + 1 loads for K multiply-adds. Packs of sequences
// follow one another through a whole step, forward and back, and add to the same sums; a learnable weight ends in one sum over lanes.
// Lanes past the last sequence have inputs and targets 0 and a mask over loss and errors.
// Memory per student: activities [T + 1][n] and adjoints [T][n] of one pack of sequences (in their place unless W learns), x and y* of all.
#include "cpu/descend_sequences.h"

#include "core/scratch.h"
#include "cpu/descend_one_student.h"
#include "method/losses.h"
#include "network/activation.h"
#include "network/tiles.h"
#include "scalar/across_lanes.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int K = 8;  // rows or columns of a tile

template <class T>
class Learner : public OneStudent<T> {
  using One = OneStudent<T>;
  using S = Pack<T>;
  using M = PackMask<T>;
  using One::a_;
  using One::L;
  using One::softmax;
  using typename One::Slot;

 public:
  Learner(const DescendArgs<T>& a, Scratch& scratch)
      : One(a, scratch), s_(*a.students.shape), i_(s_.inputs), n_(s_.hidden), o_(s_.outputs), times_(s_.steps),
        packs_((s_.samples + L - 1) / L) {
    const size_t i = static_cast<size_t>(i_), n = static_cast<size_t>(n_), o = static_cast<size_t>(o_), times = static_cast<size_t>(times_);
    auto take = [&](size_t count) { return take_array<S>(scratch, count); };
    const bool* learns = a.group_learns;
    learns_B_ = learns[0], learns_W_ = learns[1], learns_D_ = learns[2];
    int g = 3;
    learns_b_ = s_.b >= 0 && learns[g++];
    learns_c_ = s_.c >= 0 && learns[g];
    w_ = take_array<T>(scratch, static_cast<size_t>(s_.size));
    gradient_ = take_array<T>(scratch, static_cast<size_t>(s_.size));
    x_ = take(static_cast<size_t>(packs_) * times * i), target_ = take(static_cast<size_t>(packs_) * times * o);
    on_ = take_array<M>(scratch, static_cast<size_t>(packs_));
    h_ = take((times + 1) * n), e_ = take(times * o);
    delta_ = learns_W_ ? take(times * n) : h_ + n;
  }

  void begin(int64_t student) {
    const T *theta = One::theta_of(student), *x = a_.students.x + student * a_.students.x_stride, *y = a_.y + student * a_.y_stride;
    for (int k = 0; k < s_.size; ++k) w_[k] = theta[k];
    T size{};
    for (int q = 0; q < s_.samples; ++q) {
      const int p = q / L, l = q % L;
      on_[p][l] = -1;
      for (int k = 0; k < times_ * i_; ++k) lane(x_ + p * times_ * i_ + k, l) = x[q * times_ * i_ + k];
      for (int k = 0; k < times_ * o_; ++k) {
        const T t = lane(target_ + p * times_ * o_ + k, l) = y[q * times_ * o_ + k];
        size += softmax() ? t : t * t;
      }
    }
    One::begin_slots(student, size, [this](int flat) { return Slot{w_ + flat, nullptr, gradient_ + flat}; });
  }

  // The loss after `step` updates, its gradient, and whether an update follows.
  bool evaluate(int64_t step) {
    if (step < a_.steps)
      for (int k = 0; k < s_.size; ++k) gradient_[k] = T(0);
    T loss{};
    for (int p = 0; p < packs_; ++p) {
      forward(p);
      loss += total_of<S>(errors(p));
      if (step < a_.steps) backward(p);
    }
    return One::judge_loss(loss, step);
  }

 private:
  // f(constant number of rows, first row) over count rows.
  template <class F>
  static SL_INLINE void each_tile(int count, F&& f) {
    int at = 0;
    for (; at + K <= count; at += K) f(std::integral_constant<int, K>{}, at);
    for (; at + 4 <= count; at += 4) f(std::integral_constant<int, 4>{}, at);
    for (; at + 2 <= count; at += 2) f(std::integral_constant<int, 2>{}, at);
    if (at < count) f(std::integral_constant<int, 1>{}, at);
  }
  // sum[k] += sum_j w[k stride + j next] v[j]
  template <int R>
  static SL_INLINE void add_products(const T* w, int stride, int next, const S* v, int count, S (&sum)[R]) {
    w = opaque(w);
    for (int j = 0; j < count; ++j, w += next) {
      S x = v[j];
      hold(x);
#pragma GCC unroll 8
      for (int k = 0; k < R; ++k) sum[k] += x * w[k * stride];
    }
  }

  void forward(int p) {
    for (int t = 0; t < times_; ++t) {
      const S *x = x_ + (p * times_ + t) * i_, *before = h_ + t * n_;
      S* h = h_ + (t + 1) * n_;
      each_tile(n_, [&](auto rows, int at) {
        constexpr int R = decltype(rows)::value;
        S sum[R];
#pragma GCC unroll 8
        for (int k = 0; k < R; ++k) sum[k] = constant<S>(s_.b >= 0 ? w_[s_.b + at + k] : T(0));
        add_products<R>(w_ + s_.B + at * i_, i_, 1, x, i_, sum);
        if (t > 0) add_products<R>(w_ + s_.W + at * n_, n_, 1, before, n_, sum);
#pragma GCC unroll 8
        for (int k = 0; k < R; ++k) h[at + k] = sum[k];
      });
      activate_all(s_.activation, h, n_);
      each_tile(o_, [&](auto rows, int at) {
        constexpr int R = decltype(rows)::value;
        S sum[R];
#pragma GCC unroll 8
        for (int k = 0; k < R; ++k) sum[k] = constant<S>(s_.c >= 0 ? w_[s_.c + at + k] : T(0));
        add_products<R>(w_ + s_.D + at * n_, n_, 1, h, n_, sum);
#pragma GCC unroll 8
        for (int k = 0; k < R; ++k) e_[t * o_ + at + k] = sum[k];
      });
    }
  }

  // Outputs become errors.
  S errors(int p) {
    S loss{};
    const S* target = target_ + p * times_ * o_;
    if (softmax()) {
      for (int t = 0; t < times_; ++t) loss += softmax_loss(e_ + t * o_, target + t * o_, o_, 1, 1, e_ + t * o_);
    } else {
      const int first = a_.more.washout * o_;
      for (int k = 0; k < first; ++k) e_[k] = S{};
      for (int k = first; k < times_ * o_; ++k) {
        const S d = e_[k] - target[k];
        loss += d * d;
        e_[k] = d + d;
      }
    }
    for (int k = 0; k < times_ * o_; ++k) e_[k] = only(on_[p], e_[k]);
    return only(on_[p], loss);
  }

  void backward(int p) {
    if (learns_c_) sums(e_, o_, gradient_ + s_.c);
    if (learns_D_) outer(e_, o_, h_ + n_, n_, times_, gradient_ + s_.D);
    if (!(learns_B_ || learns_W_ || learns_b_)) return;
    for (int t = times_ - 1; t >= 0; --t) {
      const S* h = h_ + (t + 1) * n_;
      S *d = delta_ + t * n_, *after = delta_ + (t + 1) * n_;
      each_tile(n_, [&](auto columns, int at) {
        constexpr int R = decltype(columns)::value;
        S sum[R] = {};
        add_products<R>(w_ + s_.D + at, 1, n_, e_ + t * o_, o_, sum);
        if (t + 1 < times_) add_products<R>(w_ + s_.W + at, 1, n_, after, n_, sum);
        times_slope_all(s_.activation, h + at, sum, R);
#pragma GCC unroll 8
        for (int k = 0; k < R; ++k) d[at + k] = sum[k];
      });
    }
    if (learns_b_) sums(delta_, n_, gradient_ + s_.b);
    if (learns_B_) outer(delta_, n_, x_ + p * times_ * i_, i_, times_, gradient_ + s_.B);
    if (learns_W_ && times_ > 1) outer(delta_ + n_, n_, h_ + n_, n_, times_ - 1, gradient_ + s_.W);
  }
  // to[a] += sum over t and lanes of rows[t][a]
  void sums(const S* rows, int count, T* to) const {
    for (int a = 0; a < count; ++a) {
      S sum{};
      for (int t = 0; t < times_; ++t) sum += rows[t * count + a];
      to[a] += total_of<S>(sum);
    }
  }
  // to[a][k] += sum over t and lanes of left[t][a] right[t][k]
  void outer(const S* left, int rows, const S* right, int columns, int times, T* to) const {
    constexpr int A = 4, C = kRegisters >= 32 ? 4 : 2;
    int a = 0;
    auto row_of_tiles = [&](auto tall) {
      constexpr int R = decltype(tall)::value;
      int k = 0;
      for (; k + C <= columns; k += C) outer_tile<R, C>(left + a, rows, right + k, columns, times, to + a * columns + k);
      for (; k < columns; ++k) outer_tile<R, 1>(left + a, rows, right + k, columns, times, to + a * columns + k);
    };
    for (; a + A <= rows; a += A) row_of_tiles(std::integral_constant<int, A>{});
    for (; a < rows; ++a) row_of_tiles(std::integral_constant<int, 1>{});
  }
  template <int A, int C>
  static SL_INLINE void outer_tile(const S* left, int rows, const S* right, int columns, int times, T* to) {
    S sum[A][C] = {};
    for (int t = 0; t < times; ++t, left += rows, right += columns)
#pragma GCC unroll 4
      for (int a = 0; a < A; ++a)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sum[a][c] += left[a] * right[c];
    for (int a = 0; a < A; ++a)
      for (int c = 0; c < C; ++c) to[a * columns + c] += total_of<S>(sum[a][c]);
  }

  const Shape& s_;
  const int i_, n_, o_, times_, packs_;  // packs of sequences
  bool learns_B_, learns_W_, learns_D_, learns_b_, learns_c_;
  T *w_, *gradient_;  // [size], as theta
  S *x_, *target_;  // [packs][T][i], [packs][T][o]
  M* on_;  // [packs]: lanes with a sequence
  S *h_, *delta_, *e_;  // [T + 1][n], h_0 = 0; [T][n]; [T][o]: outputs, then errors
};

template <class T>
void descend_student(void* context, int worker, int64_t student, Control& control) {
  const SomeStudents<T>& some = *static_cast<const SomeStudents<T>*>(context);
  Scratch scratch;
  Learner<T> one(*some.args, scratch);
  one.begin(some.student(student));
  UpdateRule<T> rule(*some.args);
  for (int64_t step = 0; one.evaluate(step); ++step) {
    if ((step & 15) == 15 && control.should_stop(worker)) return;
    rule.next_step();
    one.update(rule);
  }
  one.finish();
}

}  // namespace

template <class T>
bool descends_by_sequences(const Shape& s) {
  // Plain networks but for their sequences; others, and those that would leave many lanes empty, take the sweep of descend.cpp.
  if (s.kind != Kind::recurrent || s.samples < 2 || s.gained != 0 || s.start || s.leak != 1) return false;
  return s.samples * 4 >= (s.samples + kLanes<T> - 1) / kLanes<T> * kLanes<T> * 3;
}

template <class T>
void descend_by_sequences(const SomeStudents<T>& some, Control& control) {
  parallel_for(some.count, some.args->threads, control, descend_student<T>, const_cast<SomeStudents<T>*>(&some));
}

template bool descends_by_sequences<float>(const Shape&);
template bool descends_by_sequences<double>(const Shape&);
template void descend_by_sequences<float>(const SomeStudents<float>&, Control&);
template void descend_by_sequences<double>(const SomeStudents<double>&, Control&);

}  // namespace SL_ISA
}  // namespace sl
