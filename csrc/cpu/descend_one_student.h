// descend_one_student.h: what descent of one student at a time keeps: its learnable weights in packs of slots, their moments, its loss and
// what becomes of it (ops/descend.h). The kernel around it knows where a weight lies and computes losses and gradients.
#pragma once
#include <utility>

#include "core/scratch.h"
#include "cpu/descend_updates.h"
#include "network/slots.h"
#include "ops/descend.h"
#include "scalar/pack.h"

namespace sl {
namespace SL_ISA {

// What descent of one student keeps, whatever a kernel lays out around it: learnable weights in packs of slots, and what becomes of them.
// which(k): the place of slot k among the student's learnable indices.
template <class T>
class StudentState {
 protected:
  using S = Pack<T>;
  static constexpr int L = kLanes<T>;

  StudentState(const DescendArgs<T>& a, Scratch& scratch) : a_(a) {
    const size_t packs = packs_of_slots(a.budget);
    theta_ = take_array<S>(scratch, packs), before_ = take_array<S>(scratch, packs);
    first_ = take_array<S>(scratch, packs), second_ = take_array<S>(scratch, packs);
  }
  static size_t packs_of_slots(int slots) { return (static_cast<size_t>(slots) + L - 1) / L; }
  bool softmax() const { return a_.more.loss == Loss::softmax; }
  const int* indices() const { return a_.indices + student_ * a_.index_stride; }
  const T* weights() const { return reinterpret_cast<const T*>(theta_); }

  // The slots have their weights. target_size: what tol is relative to.
  template <class Which>
  void begin_steps(T target_size, Which&& which) {
    packs_ = static_cast<int>(packs_of_slots(slots_));
    for (int k = 0; k < packs_; ++k) first_[k] = second_[k] = S{};
    for (int k = slots_; k < packs_ * L; ++k) lane(theta_, k) = T(0);
    before_steps_ = 0;
    stopped_ = false;
    if (a_.more.resumed) resume(which);
    for (int k = 0; k < packs_; ++k) before_[k] = theta_[k];
    goal_ = a_.tol >= 0 ? target_size * static_cast<T>(a_.tol) : T(-1);
    loss_ = static_cast<T>(__builtin_inf());
    status_ = FitStatus::steps_done;
    running_ = true;
  }

  // What becomes of the student with this loss after `step` updates; whether another follows.
  SL_INLINE bool judge_loss(T now, int64_t step) {
    if (stopped_) {  // it diverged in an earlier call: only its loss is told
      loss_ = now;
      return stop(FitStatus::diverged, 0);
    }
    if (!(now < static_cast<T>(__builtin_inf()))) {  // back to the last finite weights
      std::swap(theta_, before_);
      if (step == 0) loss_ = now;
      return stop(FitStatus::diverged, step > 0 ? step - 1 : 0);
    }
    loss_ = now;
    if (now <= goal_) return stop(FitStatus::converged, step);
    return step < a_.steps || stop(FitStatus::steps_done, step);
  }
  bool stop(FitStatus status, int64_t done) {
    status_ = status;
    done_ = done;
    return running_ = false;
  }

  template <class Which>
  void write(Which&& which) const {
    a_.loss_out[student_] = loss_;
    a_.steps_out[student_] = before_steps_ + done_;
    a_.status_out[student_] = static_cast<int8_t>(status_);
    const bool keep = status_ != FitStatus::diverged;
    for (int k = 0; k < slots_; ++k) {
      const int64_t at = student_ * a_.budget + which(k);
      if (a_.theta_out) a_.theta_out[student_ * a_.students.shape->size + indices()[which(k)]] = weights()[k];
      if (a_.more.learned) a_.more.learned[at] = weights()[k];
      if (a_.more.first) a_.more.first[at] = keep ? lane(first_, k) : T(0);
      if (a_.more.second) a_.more.second[at] = keep ? lane(second_, k) : T(0);
    }
  }

  const DescendArgs<T>& a_;
  S *theta_, *before_, *first_, *second_;  // [slots / L]: weights, those before the last update, moments
  int slots_ = 0, packs_ = 0;
  int64_t student_ = 0;
  bool running_ = false, stopped_ = false;

 private:
  // Weights and moments as calls before left them.
  template <class Which>
  void resume(Which&& which) {
    for (int k = 0; k < slots_; ++k) {
      const int64_t at = student_ * a_.budget + which(k);
      lane(theta_, k) = a_.more.learned[at];
      if (a_.more.first) lane(first_, k) = a_.more.first[at];
      if (a_.more.second) lane(second_, k) = a_.more.second[at];
    }
    before_steps_ = a_.steps_out[student_];
    stopped_ = a_.status_out[student_] == static_cast<int8_t>(FitStatus::diverged);
  }

  int64_t before_steps_ = 0, done_ = 0;
  T loss_ = 0, goal_ = 0;
  FitStatus status_ = FitStatus::steps_done;
};

// The same where slots are the learnable indices in their order, with the places of their weights and gradients.
template <class T>
class OneStudent : protected StudentState<T> {
  using Base = StudentState<T>;
  using Base::packs_, Base::theta_, Base::before_, Base::first_, Base::second_, Base::slots_, Base::student_, Base::running_;

 protected:
  using Base::a_, Base::L, Base::judge_loss, Base::softmax;
  using typename Base::S;
  struct Slot {  // a learnable weight: where it lies, where again if it lies twice, and where its gradient is
    T *value, *twin;
    const T* gradient;
  };

 public:
  bool running() const { return running_; }

  void update(const UpdateRule<T>& rule) {
    for (int k = 0; k < slots_; ++k) lane(g_, k) = *slot_[k].gradient;
    with_optimizer(rule, [&](auto kind) {
      for (int k = 0; k < packs_; ++k) {
        const S w = theta_[k];
        before_[k] = w;
        S change = rule.template change<decltype(kind)::value>(g_[k], first_[k], second_[k]);
        hold(change);  // rounded by itself, as it is under the masks of descend_updates.h
        theta_[k] = w - change;
      }
    });
    put_weights();
  }

  void finish() const {
    this->write([](int k) { return k; });
  }

 protected:
  OneStudent(const DescendArgs<T>& a, Scratch& scratch) : Base(a, scratch) {
    g_ = take_array<S>(scratch, Base::packs_of_slots(a.budget));
    slot_ = take_array<Slot>(scratch, static_cast<size_t>(a.budget));
  }
  const T* theta_of(int64_t student) const { return a_.students.theta + student * a_.students.theta_stride; }

  // The weights are in place; slot_of(flat) says where. target_size: what tol is relative to.
  template <class SlotOf>
  void begin_slots(int64_t student, T target_size, SlotOf&& slot_of) {
    student_ = student;
    const int* indices = Base::indices();
    for (slots_ = 0; slots_ < a_.budget && indices[slots_] < a_.students.shape->size; ++slots_) slot_[slots_] = slot_of(indices[slots_]);
    for (int k = 0; k < slots_; ++k) lane(theta_, k) = *slot_[k].value;
    this->begin_steps(target_size, [](int k) { return k; });
    for (int k = 0; k < packs_; ++k) g_[k] = S{};
    if (a_.more.resumed) put_weights();
  }

 private:
  void put_weights() {
    for (int k = 0; k < slots_; ++k) {
      *slot_[k].value = lane(theta_, k);
      if (slot_[k].twin) *slot_[k].twin = lane(theta_, k);
    }
  }

  S* g_;  // [slots / L]
  Slot* slot_;
};

}  // namespace SL_ISA
}  // namespace sl
