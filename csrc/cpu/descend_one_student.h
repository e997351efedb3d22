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

template <class T>
class OneStudent {
 protected:
  using S = Pack<T>;
  static constexpr int L = kLanes<T>;
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
    a_.loss_out[student_] = loss_;
    a_.steps_out[student_] = before_steps_ + done_;
    a_.status_out[student_] = static_cast<int8_t>(status_);
    const int* indices = a_.indices + student_ * a_.index_stride;
    const bool keep = status_ != FitStatus::diverged;
    for (int k = 0; k < slots_; ++k) {
      const int64_t at = student_ * a_.budget + k;
      if (a_.theta_out) a_.theta_out[student_ * a_.students.shape->size + indices[k]] = lane(theta_, k);
      if (a_.more.learned) a_.more.learned[at] = lane(theta_, k);
      if (a_.more.first) a_.more.first[at] = keep ? lane(first_, k) : T(0);
      if (a_.more.second) a_.more.second[at] = keep ? lane(second_, k) : T(0);
    }
  }

 protected:
  OneStudent(const DescendArgs<T>& a, Scratch& scratch) : a_(a) {
    const size_t packs = (static_cast<size_t>(a.budget) + L - 1) / L;
    theta_ = take_array<S>(scratch, packs), before_ = take_array<S>(scratch, packs);
    first_ = take_array<S>(scratch, packs), second_ = take_array<S>(scratch, packs), g_ = take_array<S>(scratch, packs);
    slot_ = take_array<Slot>(scratch, static_cast<size_t>(a.budget));
  }
  bool softmax() const { return a_.more.loss == Loss::softmax; }
  const T* theta_of(int64_t student) const { return a_.students.theta + student * a_.students.theta_stride; }

  // The weights are in place; slot_of(flat) says where. target_size: what tol is relative to.
  template <class SlotOf>
  void begin_slots(int64_t student, T target_size, SlotOf&& slot_of) {
    student_ = student;
    const int* indices = a_.indices + student * a_.index_stride;
    for (slots_ = 0; slots_ < a_.budget && indices[slots_] < a_.students.shape->size; ++slots_) slot_[slots_] = slot_of(indices[slots_]);
    packs_ = (slots_ + L - 1) / L;
    for (int k = 0; k < packs_; ++k) theta_[k] = g_[k] = first_[k] = second_[k] = S{};
    for (int k = 0; k < slots_; ++k) lane(theta_, k) = *slot_[k].value;
    before_steps_ = 0;
    stopped_ = false;
    if (a_.more.resumed) resume();
    for (int k = 0; k < packs_; ++k) before_[k] = theta_[k];
    goal_ = a_.tol >= 0 ? target_size * static_cast<T>(a_.tol) : T(-1);
    loss_ = static_cast<T>(__builtin_inf());
    status_ = FitStatus::steps_done;
    running_ = true;
  }

  // What becomes of the student with this loss after `step` updates; whether another follows.
  bool judge_loss(T now, int64_t step) {
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

  const DescendArgs<T>& a_;

 private:
  void put_weights() {
    for (int k = 0; k < slots_; ++k) {
      *slot_[k].value = lane(theta_, k);
      if (slot_[k].twin) *slot_[k].twin = lane(theta_, k);
    }
  }
  void resume() {
    for (int k = 0; k < slots_; ++k) {
      const int64_t at = student_ * a_.budget + k;
      lane(theta_, k) = a_.more.learned[at];
      if (a_.more.first) lane(first_, k) = a_.more.first[at];
      if (a_.more.second) lane(second_, k) = a_.more.second[at];
    }
    put_weights();
    before_steps_ = a_.steps_out[student_];
    stopped_ = a_.status_out[student_] == static_cast<int8_t>(FitStatus::diverged);
  }
  bool stop(FitStatus status, int64_t done) {
    status_ = status;
    done_ = done;
    return running_ = false;
  }

  S *theta_, *before_, *first_, *second_, *g_;  // [slots / L]: weights, those before the last update, moments, gradients
  Slot* slot_;
  int slots_ = 0, packs_ = 0;
  int64_t student_ = 0, before_steps_ = 0, done_ = 0;
  T loss_ = 0, goal_ = 0;
  FitStatus status_ = FitStatus::steps_done;
  bool running_ = false, stopped_ = false;
};

}  // namespace SL_ISA
}  // namespace sl
