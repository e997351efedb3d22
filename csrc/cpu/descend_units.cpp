// Masked gradient descent of recurrent networks with many hidden units, one student at a time, its units in the lanes. See ops/descend.h.
//
//   h_t = phi(W h_{t-1} + B x_t + b),  y_t = D h_t + c,  e_t = d loss / d y_t
//   delta_t = phi'(h_t) * (D^T e_t + W^T delta_{t+1})
//   dW = sum_t delta_t h_{t-1}^T,  dB = sum_t delta_t x_t^T,  db = sum_t delta_t,  dD = sum_t e_t h_t^T,  dc = sum_t e_t
//
// With students in the lanes (descend.cpp) the W of a pack of students is n^2 packs: at n = 64 a quarter of a megabyte in float32, read
// twice a step of time from L2, a third of the multiply-adds that the core could do meanwhile. Here one W is 16 KB and stays in L1:
//   W lies twice, by columns for W h (a column times one activity, added to all units) and by rows for W^T delta
//   a tile of accumulators is G packs of units of Q students: Q (G + 1) loads for Q G multiply-adds
// A step of time waits for the one before it, so two students take turns in each tile. What does not learn has no sums: for biases alone
// 2 n (n + i + 2 o) multiply-adds per step of time, each of W, B and D that learns adds its size.
// Memory per student: W twice, activities [T + 1][n], adjoints [T][n]; the adjoints take the place of the activities unless W learns.
// Every sum has the order that it has in network/recurrent.h: the same bits.
#include "cpu/descend_units.h"

#include "core/scratch.h"
#include "cpu/descend_one_student.h"
#include "method/losses.h"
#include "network/activation.h"
#include "network/tiles.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr int kPair = 2;                                // students that take turns, where the chains of one do not fill the core
constexpr int kPacks = kRegisters >= 32 ? 8 : 4;       // of units in a tile of a pair
constexpr int kPacksAlone = kRegisters >= 32 ? 16 : 8;  // of one student
constexpr int kTimes = 8;                              // steps of time whose outputs are summed side by side

template <class T>
class Learner : public OneStudent<T> {
  using One = OneStudent<T>;
  using S = Pack<T>;
  using One::a_;
  using One::L;
  using One::softmax;
  using typename One::Slot;

 public:
  Learner(const DescendArgs<T>& a, Scratch& scratch)
      : One(a, scratch), s_(*a.students.shape), i_(s_.inputs), n_(s_.hidden), o_(s_.outputs), times_(s_.steps), H_((n_ + L - 1) / L),
        O_((o_ + L - 1) / L), R_(H_ * L), F_(O_ * L) {
    const size_t i = static_cast<size_t>(i_), n = static_cast<size_t>(n_), o = static_cast<size_t>(o_), times = static_cast<size_t>(times_);
    const size_t R = static_cast<size_t>(R_), F = static_cast<size_t>(F_);
    auto take = [&](size_t count) { return static_cast<T*>(scratch.take(count * sizeof(T))); };
    learn();
    columns_ = take(n * R), rows_ = take(n * R), B_ = take(i * R), D_ = take(o * R), Dt_ = take(n * F), b_ = take(R), c_ = take(F);
    h_ = take((times + 1) * R);
    delta_ = learns_W_ ? take(times * R) : h_ + R;
    y_ = take(times * o + F), e_ = take(times * o), target_ = take(times * o);
    gW_ = learns_W_ ? take(n * R) : nullptr;
    gB_ = learns_B_ ? take(i * R) : nullptr;
    gD_ = learns_D_ ? take(o * R) : nullptr;
    gb_ = take(R), gc_ = take(o);
    if (softmax()) f_ = take_array<S>(scratch, o), t_ = take_array<S>(scratch, o);
  }

  void begin(int64_t student) {
    const T* theta = One::theta_of(student);
    x_ = a_.students.x + student * a_.students.x_stride;
    for (int a = 0; a < n_; ++a) {
      for (int k = 0; k < n_; ++k) rows_[a * R_ + k] = columns_[k * R_ + a] = theta[s_.W + a * n_ + k];
      for (int j = 0; j < i_; ++j) B_[j * R_ + a] = theta[s_.B + a * i_ + j];
      if (s_.b >= 0) b_[a] = theta[s_.b + a];
    }
    for (int e = 0; e < o_; ++e) {
      for (int a = 0; a < n_; ++a) D_[e * R_ + a] = Dt_[a * F_ + e] = theta[s_.D + e * n_ + a];
      if (s_.c >= 0) c_[e] = theta[s_.c + e];
    }
    T size{};  // what tol is relative to, in the order of descend.cpp
    for (int k = 0; k < times_ * o_; ++k) {
      target_[k] = a_.y[student * a_.y_stride + k];
      size += softmax() ? target_[k] : target_[k] * target_[k];
    }
    One::begin_slots(student, size, [this](int flat) { return slot_of(flat); });
  }

  // After forward(): the loss, what becomes of the student, and whether an update follows.
  bool judge(int64_t step) { return One::judge_loss(softmax() ? softmax_errors() : squared_errors(), step); }

  // Activities and outputs of Q students.
  template <int Q>
  static void forward(Learner* const (&of)[Q]) {
    const Learner& one = *of[0];
    for (int t = 0; t < one.times_; ++t) {
      each_tile<Q>(one.H_, [&](auto packs, int at) { pre_activations<Q, decltype(packs)::value>(of, t, at); });
      for (int q = 0; q < Q; ++q) activate_all(one.s_.activation, reinterpret_cast<S*>(of[q]->h_ + (t + 1) * one.R_), one.H_);
    }
    for (int q = 0; q < Q; ++q) of[q]->outputs();
  }

  // Gradients of Q students, after judge().
  template <int Q>
  static void backward(Learner* const (&of)[Q]) {
    const Learner& one = *of[0];
    for (int q = 0; q < Q; ++q) of[q]->output_gradients();
    if (one.learns_W_ || one.learns_B_ || one.learns_b_) {
      for (int t = one.times_ - 1; t >= 0; --t) {
        each_tile<Q>(one.H_, [&](auto packs, int at) { adjoints<Q, decltype(packs)::value>(of, t, at); });
      }
      for (int q = 0; q < Q; ++q) of[q]->input_gradients();
    }
  }

 private:
  void learn() {
    learns_B_ = a_.group_learns[0];
    learns_W_ = a_.group_learns[1];
    learns_D_ = a_.group_learns[2];
    int g = 3;
    learns_b_ = s_.b >= 0 && a_.group_learns[g++];
    learns_c_ = s_.c >= 0 && a_.group_learns[g];
  }
  Slot slot_of(int flat) {
    const Place p = place_of(s_, flat);
    switch (p.group) {
      case 'B': return {B_ + p.col * R_ + p.row, nullptr, gB_ + p.col * R_ + p.row};
      case 'W': return {columns_ + p.col * R_ + p.row, rows_ + p.row * R_ + p.col, gW_ + p.row * R_ + p.col};
      case 'D': return {D_ + p.row * R_ + p.col, Dt_ + p.col * F_ + p.row, gD_ + p.row * R_ + p.col};
      case 'b': return {b_ + p.row, nullptr, gb_ + p.row};
      default: return {c_ + p.row, nullptr, gc_ + p.row};
    }
  }
  // f(constant number of packs, first pack) over H packs.
  template <int Q, class F>
  static SL_INLINE void each_tile(int H, F&& f) {
    constexpr int most = Q == 1 ? kPacksAlone : kPacks;
    int at = 0;
    if constexpr (most >= 16)
      for (; at + 16 <= H; at += 16) f(std::integral_constant<int, 16>{}, at);
    if constexpr (most >= 8)
      for (; at + 8 <= H; at += 8) f(std::integral_constant<int, 8>{}, at);
    for (; at + 4 <= H; at += 4) f(std::integral_constant<int, 4>{}, at);
    for (; at + 2 <= H; at += 2) f(std::integral_constant<int, 2>{}, at);
    for (; at < H; ++at) f(std::integral_constant<int, 1>{}, at);
  }

  // sum[q][g] += column k of M_q times v_q[k] for k < count; a column is R numbers, of which G packs count.
  template <int Q, int G>
  static SL_INLINE void add_columns(const T* const (&M)[Q], int R, const T* const (&v)[Q], int count, S (&sum)[Q][G]) {
    const S* column[Q];
    for (int q = 0; q < Q; ++q) column[q] = reinterpret_cast<const S*>(M[q]);
    const int step = R / L;
    for (int k = 0; k < count; ++k) {
#pragma GCC unroll 2
      for (int q = 0; q < Q; ++q) {
        const T x = v[q][k];
#pragma GCC unroll 16
        for (int g = 0; g < G; ++g) sum[q][g] += column[q][g] * x;
        column[q] += step;
      }
    }
  }

  template <int Q, int G>
  static SL_INLINE void pre_activations(Learner* const (&of)[Q], int t, int at) {
    const Learner& one = *of[0];
    const int R = one.R_, i = one.i_;
    S sum[Q][G];
    const T *M[Q], *v[Q];
#pragma GCC unroll 2
    for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 16
      for (int g = 0; g < G; ++g) sum[q][g] = reinterpret_cast<const S*>(of[q]->b_)[at + g];
      M[q] = of[q]->B_ + at * L;
      v[q] = of[q]->x_ + t * i;
    }
    add_columns<Q, G>(M, R, v, i, sum);
    if (t > 0) {
#pragma GCC unroll 2
      for (int q = 0; q < Q; ++q) {
        M[q] = of[q]->columns_ + at * L;
        v[q] = of[q]->h_ + t * R;
      }
      add_columns<Q, G>(M, R, v, one.n_, sum);
    }
#pragma GCC unroll 2
    for (int q = 0; q < Q; ++q)
#pragma GCC unroll 16
      for (int g = 0; g < G; ++g) reinterpret_cast<S*>(of[q]->h_ + (t + 1) * R)[at + g] = sum[q][g];
  }

  template <int Q, int G>
  static SL_INLINE void adjoints(Learner* const (&of)[Q], int t, int at) {
    const Learner& one = *of[0];
    const int R = one.R_, o = one.o_;
    S sum[Q][G] = {};
    const T *M[Q], *v[Q];
#pragma GCC unroll 2
    for (int q = 0; q < Q; ++q) {
      M[q] = of[q]->D_ + at * L;
      v[q] = of[q]->e_ + t * o;
    }
    add_columns<Q, G>(M, R, v, o, sum);
    if (t + 1 < one.times_) {
#pragma GCC unroll 2
      for (int q = 0; q < Q; ++q) {
        M[q] = of[q]->rows_ + at * L;
        v[q] = of[q]->delta_ + (t + 1) * R;
      }
      add_columns<Q, G>(M, R, v, one.n_, sum);
    }
#pragma GCC unroll 2
    for (int q = 0; q < Q; ++q) {
      times_slope_all(one.s_.activation, reinterpret_cast<const S*>(of[q]->h_ + (t + 1) * R) + at, sum[q], G);
#pragma GCC unroll 16
      for (int g = 0; g < G; ++g) reinterpret_cast<S*>(of[q]->delta_ + t * R)[at + g] = sum[q][g];
    }
  }

  // y_t = D h_t + c with the outputs in the lanes, kTimes steps side by side: each sum is one long chain.
  void outputs() {
    int t = 0;
    for (; t + kTimes <= times_; t += kTimes) outputs_of<kTimes>(t);
    for (; t < times_; ++t) outputs_of<1>(t);
  }
  template <int V>
  SL_INLINE void outputs_of(int t) {
    for (int at = 0; at < O_; ++at) {
      S sum[V];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[v] = reinterpret_cast<const S*>(c_)[at];
      const S* column = reinterpret_cast<const S*>(Dt_) + at;
      const T* h = h_ + (t + 1) * R_;
      for (int k = 0; k < n_; ++k, column += O_) {
        const S d = *column;
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) sum[v] += d * h[v * R_ + k];
      }
      const int count = o_ - at * L < L ? o_ - at * L : L;
      for (int v = 0; v < V; ++v) __builtin_memcpy(y_ + (t + v) * o_ + at * L, &sum[v], sizeof(T) * static_cast<size_t>(count));
    }
  }

  T squared_errors() {
    T loss{};
    const int first = a_.more.washout * o_;
    for (int k = 0; k < first; ++k) e_[k] = T(0);
    for (int k = first; k < times_ * o_; ++k) {
      T d = y_[k] - target_[k];
      hold(d);  // one by one: GCC would form a pack of products and add them without fusing
      loss += d * d;
      e_[k] = d + d;
    }
    return loss;
  }
  // Steps of time in the lanes; past the last one all targets are 0, and so are errors.
  T softmax_errors() {
    T loss{};
    for (int t = 0; t < times_; t += L) {
      const int count = times_ - t < L ? times_ - t : L;
      for (int e = 0; e < o_; ++e) {
        f_[e] = t_[e] = S{};
        for (int l = 0; l < count; ++l) {
          lane(f_ + e, l) = y_[(t + l) * o_ + e];
          lane(t_ + e, l) = target_[(t + l) * o_ + e];
        }
      }
      S losses = softmax_loss(f_, t_, o_, 1, 1, f_);
      for (int l = 0; l < count; ++l) loss += lane(&losses, l);
      for (int e = 0; e < o_; ++e)
        for (int l = 0; l < count; ++l) e_[(t + l) * o_ + e] = lane(f_ + e, l);
    }
    return loss;
  }

  void output_gradients() {
    if (learns_c_)
      for (int e = 0; e < o_; ++e) {
        T sum{};
        for (int t = 0; t < times_; ++t) sum += e_[t * o_ + e];
        gc_[e] = sum;
      }
    if (learns_D_) outer(e_, o_, o_, h_ + R_, times_, gD_);
  }
  void input_gradients() {
    if (learns_b_)
      for (int at = 0; at < H_; ++at) {
        S sum{};
        for (int t = 0; t < times_; ++t) sum += reinterpret_cast<const S*>(delta_ + t * R_)[at];
        reinterpret_cast<S*>(gb_)[at] = sum;
      }
    if (learns_B_) outer(x_, i_, i_, delta_, times_, gB_);
    if (learns_W_) outer(delta_ + R_, R_, n_, h_ + R_, times_ - 1, gW_);
  }
  // out[a][.] = sum_t left_t[a] right_t[.], right and out in rows of R numbers: tiles of 4 a and 4 packs.
  void outer(const T* left, int stride, int rows, const T* right, int times, T* out) const {
    int a = 0;
    for (; a + 4 <= rows; a += 4) outer_rows<4>(left + a, stride, right, times, out + a * R_);
    for (; a < rows; ++a) outer_rows<1>(left + a, stride, right, times, out + a * R_);
  }
  template <int K>
  void outer_rows(const T* left, int stride, const T* right, int times, T* out) const {
    constexpr int most = kRegisters >= 32 ? 4 : 2;
    int at = 0;
    for (; at + most <= H_; at += most) outer_tile<K, most>(left, stride, right + at * L, times, out + at * L);
    for (; at < H_; ++at) outer_tile<K, 1>(left, stride, right + at * L, times, out + at * L);
  }
  template <int K, int G>
  SL_INLINE void outer_tile(const T* left, int stride, const T* right, int times, T* out) const {
    S sum[K][G] = {};
    for (int t = 0; t < times; ++t, left += stride, right += R_) {
      const S* r = reinterpret_cast<const S*>(right);
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) sum[k][g] += r[g] * left[k];
    }
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) reinterpret_cast<S*>(out + k * R_)[g] = sum[k][g];
  }

  const Shape& s_;
  const int i_, n_, o_, times_;
  const int H_, O_, R_, F_;  // packs of units and of outputs, and their lanes
  bool learns_B_, learns_W_, learns_D_, learns_b_, learns_c_;
  T *columns_, *rows_;        // [n][R]: W by columns and by rows
  T *B_, *D_, *Dt_, *b_, *c_;  // [i][R], [o][R], [n][F], [R], [F]
  T *h_, *delta_;             // [T + 1][R], h_0 = 0; [T][R]
  T *y_, *e_, *target_;       // [T][o]
  T *gW_, *gB_, *gD_, *gb_, *gc_;
  S *f_ = nullptr, *t_ = nullptr;                // [o]: outputs and targets of a pack of steps of time
  const T* x_ = nullptr;
};

template <class T>
int students_by_turns(const Shape& s) {
  return (s.hidden + kLanes<T> - 1) / kLanes<T> >= 8 ? 1 : kPair;
}

template <class T>
void descend_pair(void* context, int worker, int64_t pair, Control& control) {
  const SomeStudents<T>& some = *static_cast<const SomeStudents<T>*>(context);
  const DescendArgs<T>& a = *some.args;
  const int most = students_by_turns<T>(*a.students.shape), count = some.count - pair * most < most ? 1 : most;
  Scratch scratch;
  Learner<T> one(a, scratch);
  one.begin(some.student(pair * most));
  UpdateRule<T> rule(a);
  if (count == 1) {
    Learner<T>* const alone[1] = {&one};
    for (int64_t step = 0; one.running(); ++step) {
      if ((step & 63) == 63 && control.should_stop(worker)) return;
      Learner<T>::template forward<1>(alone);
      if (!one.judge(step)) break;
      rule.next_step();
      Learner<T>::template backward<1>(alone);
      one.update(rule);
    }
    return one.finish();
  }
  Learner<T> two(a, scratch);
  two.begin(some.student(pair * most + 1));
  Learner<T>* const both[2] = {&one, &two};
  for (int64_t step = 0; one.running() || two.running(); ++step) {
    if ((step & 63) == 63 && control.should_stop(worker)) return;
    Learner<T>* const left[1] = {one.running() ? &one : &two};
    const bool pairs = one.running() && two.running();
    if (pairs) Learner<T>::template forward<2>(both);
    else Learner<T>::template forward<1>(left);
    const bool first = one.running() && one.judge(step), second = two.running() && two.judge(step);
    if (!first && !second) break;
    rule.next_step();
    if (first && second) {
      Learner<T>::template backward<2>(both);
    } else {
      Learner<T>* const goes_on[1] = {first ? &one : &two};
      Learner<T>::template backward<1>(goes_on);
    }
    if (first) one.update(rule);
    if (second) two.update(rule);
  }
  one.finish();
  two.finish();
}

}  // namespace

// Where it is the faster way (measured with AVX-512: 1.2 to 1.9 times in float32, 1.1 to 1.5 in float64, at n = 32 to 128). Not with few
// steps of time, which do not pay for laying out W; nor where a good part of W learns: its weights are gathered and put back one by one.
template <class T>
bool descends_by_units(const Shape& s, int learnable) {
  // Plain networks only, whose groups are B, W, D, b, c and whose equations are steps x outputs; others take the sweep of descend.cpp.
  if (s.kind != Kind::recurrent || !s.plain() || s.groups != 3 + (s.b >= 0) + (s.c >= 0)) return false;
  if (s.equations != s.steps * s.outputs || s.inputs_size != s.steps * s.inputs) return false;
  const int lanes = (s.hidden + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  return s.hidden >= 32 && s.steps >= 16 && s.hidden * 8 >= lanes * 7 && learnable <= s.hidden * (s.hidden / 8 + 1);
}

template <class T>
void descend_by_units(const SomeStudents<T>& some, Control& control) {
  const int most = students_by_turns<T>(*some.args->students.shape);
  parallel_for((some.count + most - 1) / most, some.args->threads, control, descend_pair<T>, const_cast<SomeStudents<T>*>(&some));
}

template bool descends_by_units<float>(const Shape&, int);
template bool descends_by_units<double>(const Shape&, int);
template void descend_by_units<float>(const SomeStudents<float>&, Control&);
template void descend_by_units<double>(const SomeStudents<double>&, Control&);

}  // namespace SL_ISA
}  // namespace sl
