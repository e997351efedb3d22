// newton_start.cuh: a start of Levenberg-Marquardt (its rules: method/levenberg_marquardt.h) and the queue of starts, for both kernels of
// newton.cu.
//
// Queue: an atomic counter over the jobs (start 0 of all students, start 1 of all, ..). A job is skipped where an earlier start of its
// student has matched; a job that was taken is always finished, so every start before the first success is run and the first success
// in number is what is reported, whatever the order in which threads run. Who ends a job takes the next one while its warp goes on; one
// launch empties the queue.
#pragma once
#include "core/draws.h"
#include "cuda/launch.cuh"
#include "method/levenberg_marquardt.h"
#include "ops/cuda.h"

namespace sl {
namespace SL_ISA {
namespace {

constexpr size_t kSharedNewton = 227 * 1024;

struct Jobs {
  unsigned long long* next;
  int64_t total;
  int* lock;  // [batch] one spin lock per student, for its best start
  const int8_t* open;  // [batch] or null: all are searched

  __device__ bool runs(int64_t student, int64_t start) const {
    return !open || open[student] == kSearched || (open[student] == kAffine && start == 0);
  }
  // The next job that is to be run, -1 where there is none. Job j: start j / batch of student j % batch.
  __device__ __forceinline__ int64_t take(const NewtonArgs& a) const {
    for (;;) {
      SL_TURN();
      const int64_t job = static_cast<int64_t>(atomicAdd(next, 1ull));
      if (job >= total) return -1;
      const int64_t student = job % a.students.batch, start = job / a.students.batch;
      const int found = cuda::relaxed_load(a.found_out + student);  // another warp may just be writing it: then one start too many is run
      if (worth_running(start, found) && runs(student, start)) return job;
    }
  }
};

struct Start {
  int64_t student = 0;
  int number = 0;
  double loss = 0, mu = 0, norm2 = 0;
  Course course;

  __device__ __forceinline__ void begin(int64_t job, const NewtonArgs& a) {
    student = job % a.students.batch;
    number = static_cast<int>(job / a.students.batch);
    mu = kStartDamping;
    loss = __builtin_inf();
    course.begin();
  }
  __device__ __forceinline__ const int* indices(const NewtonArgs& a) const { return a.indices + student * a.index_stride; }
  __device__ __forceinline__ Philox source(const NewtonArgs& a) const {
    return Philox(a.seed, kStarts + static_cast<uint32_t>(number), a.trials[student], a.task);
  }
  // Where this start begins in weight `flat`.
  __device__ __forceinline__ double from(const NewtonArgs& a, const double* scale, const Philox& source, int flat) const {
    return number == 0 ? a.students.theta[student * a.students.theta_stride + flat]
                       : (flat >= a.first_gain) + draws::normal(source, static_cast<uint64_t>(flat)) * scale[flat];
  }

  // Whether the point of loss `tried` is taken. False for NaN.
  __device__ __forceinline__ bool accepts(double tried) {
    const bool accept = tried < loss;
    if (accept) loss = tried;
    mu *= accept ? kAccept : kReject;
    mu = mu < kLeastDamping ? kLeastDamping : mu;
    return accept;
  }
  __device__ __forceinline__ Verdict judge(bool accepted, const NewtonArgs& a) {
    return course.judge(accepted, loss, a.tol * norm2, a.max_iterations, a.budget);
  }

  // at(k): the best value of the k-th learnable weight. By one thread per start.
  template <class At> __device__ __forceinline__ void report(bool matched, const NewtonArgs& a, int size, const Jobs& queue,
                                                             const At& at) const {
    const int64_t b = student;
    const double relative = norm2 > 0 ? loss / norm2 : loss;
    for (bool waiting = true; waiting;) {
      SL_TURN();
      if (atomicCAS(queue.lock + b, 0, 1) != 0) continue;
      __threadfence();
      const int found = cuda::relaxed_load(a.found_out + b);
      volatile double* best = a.loss_out + b;
      if (replaces(matched, number, relative, found, *best)) {
        if (matched) cuda::relaxed_store(a.found_out + b, static_cast<int32_t>(number));
        *best = relative;
        if (a.theta_out) {
          volatile double* theta = a.theta_out + b * size;
          const int* index = indices(a);
          SL_ROLLED
          for (int k = 0; k < a.budget; ++k) theta[index[k]] = at(k);
        }
      }
      __threadfence();
      atomicExch(queue.lock + b, 0);
      waiting = false;
    }
  }
};

}  // namespace
}  // namespace SL_ISA
}  // namespace sl
