// levenberg_marquardt.h (method): the rules of the search for a match, one text for both devices. See ops/newton.h; the linear algebra is in
// cpu/newton.cpp and cuda/newton.cu.
//
// A start is at a point of loss l with damping lambda = mu trace / rank bound. A tried point of lower loss is taken and mu falls by kAccept;
// otherwise mu grows by kReject. The step is bent along the second derivative in its direction, taken by a difference of length
// kGeodesicStep, where the bend is at most 3/4 as long as the step (Transtrum & Sethna 2012).
// A start gives up after kMaxRejected refusals in a row, after kWindow iterations that lowered the loss by less than a tenth, or at the most
// iterations allowed: giving up early and starting anew costs less per match than insisting.
#pragma once
#include <cstdint>

#include "core/hostdev.h"
#include "scalar/lanes.h"

namespace sl {
namespace SL_ISA {

constexpr int kMaxRejected = 12, kWindow = 20;
constexpr double kWindowProgress = 0.9, kStartDamping = 1e-4, kLeastDamping = 1e-15, kAccept = 0.15, kReject = 4.0;
constexpr double kGeodesicStep = 0.1, kGeodesicMost = 0.5625;  // (3/4)^2

enum class Verdict : int { gives_up = -1, goes_on = 0, matches = 1 };

// How a start is getting on.
struct Course {
  int iteration = 0, rejected = 0;
  double window = 0;  // the loss when the present window of iterations began

  SL_INLINE void begin() {
    iteration = rejected = 0;
    window = __builtin_inf();
  }
  // After one more iteration, which was accepted or not and left this loss. goal: a loss below it matches.
  SL_INLINE Verdict judge(bool accepted, double loss, double goal, int max_iterations, int budget) {
    ++iteration;
    rejected = accepted ? 0 : rejected + 1;
    if (loss < goal || (goal == 0 && loss == 0)) return Verdict::matches;
    // A first evaluation that is not finite has no Jacobian to go on with.
    if (iteration >= max_iterations || rejected > kMaxRejected || (iteration == 1 && !accepted) || budget == 0) return Verdict::gives_up;
    if (iteration % kWindow == 0) {
      if (loss > kWindowProgress * window) return Verdict::gives_up;
      window = loss;
    }
    return Verdict::goes_on;
  }
};

// found: the first start (in number) of this student that has matched so far, -1 for none.
// Whether a start is still worth running: it is not where an earlier one has matched. A later one may have, out of turn.
SL_INLINE bool worth_running(int64_t start, int64_t found) { return found < 0 || found > start; }
// Whether what a start ended with replaces what is known: matched starts beat unmatched ones; among matched the first in number, among
// unmatched the smallest relative loss.
SL_INLINE bool replaces(bool matched, int64_t start, double relative, int64_t found, double best) {
  return matched ? worth_running(start, found) : found < 0 && relative < best;
}

}  // namespace SL_ISA
}  // namespace sl
