// cuda.h (ops): the contracts of this folder on a device. Same Args, same meaning, same verdicts as on the CPU.
//
// What there is one of per student or per matrix (theta, x, y, indices, trials, a, all results) lives on the device.
// What there is one of per call (*shape, group_learns, start_scale, rows, mix, shared, gains, the recipe) lives on the host; the operation
// copies it. `threads` is not read. Everything is ordered on the stream; nothing waits for it.
// Beyond the CPU's contracts: draw_trials draws no masks where mask is null. descend and newton: theta_out null: not wanted; with `open`
// [batch] (ops/screen.h), only students of class kSearched are worked on; newton tries start 0 of kAffine too, which solves a linear
// system in a few iterations. kClosed in found_out, or an infinite loss, says that a student was left out.
#pragma once
#include <atomic>
#include <vector>

#include "ops/choose_columns.h"
#include "ops/continuation.h"
#include "ops/descend.h"
#include "ops/jacobian.h"
#include "ops/newton.h"
#include "ops/outputs.h"
#include "ops/project.h"
#include "ops/rank_modp.h"
#include "ops/rank_real.h"
#include "ops/screen.h"
#include "ops/stream.h"
#include "ops/trial.h"

namespace sl {
namespace cuda {
// For measuring where a student's tables should lie: bytes per warp up to which they lie in shared memory, 0 for the constants of the
// kernels; and the bytes of the last launch.
struct StripTuning { std::atomic<size_t> most{0}, last{0}; };
StripTuning& strip_tuning();

void draw_trials(const TrialArgs&, Stream&);
void outputs(const OutputsArgs<float>&, Stream&);
void outputs(const OutputsArgs<double>&, Stream&);
void jacobian(const JacobianArgs<float>&, Stream&);
void jacobian(const JacobianArgs<double>&, Stream&);
void jacobian_mod(const JacobianModArgs&, Stream&);
void descend(const DescendArgs<float>&, Stream&, const int8_t* open = nullptr);
void descend(const DescendArgs<double>&, Stream&, const int8_t* open = nullptr);
void newton(const NewtonArgs&, Stream&, const int8_t* open = nullptr);  // iterations_out: one number on the device
void screen(const ScreenArgs&, Stream&);
void found_by_loss(const FoundByLossArgs&, Stream&);
// done [groups], on the device: of every group the smallest job number that ended at a real point, at first more than any; `first`: the
// number of job 0 among the jobs of all calls that share `done` (the parts of a batch, one after the other).
void continuation(const ContinuationArgs&, int64_t* done, int64_t first, Stream&);
void rank_real(const RankRealArgs<float>&, Stream&);
void rank_real(const RankRealArgs<double>&, Stream&);
void rank_modp(const RankModpArgs&, Stream&);
void project(const ProjectArgs<float>&, Stream&);
void project(const ProjectArgs<double>&, Stream&);
void choose_columns(const ChooseColumnsArgs<float>&, Stream&);
void choose_columns(const ChooseColumnsArgs<double>&, Stream&);
// What a caller of rank_real asks of its flags [batch], counted on the device. Waits for the stream.
struct RankQuestions {
  std::vector<int> unproven;  // numbers of the matrices with certified == 0, ascending
  int64_t first_not_finite = -1;
};
RankQuestions rank_questions(const int8_t* certified, const int8_t* finite, int64_t batch, Stream&);
}  // namespace cuda
}  // namespace sl
