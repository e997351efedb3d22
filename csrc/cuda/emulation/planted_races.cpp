// Kernels with a planted race each, in builds that look for races only: the detector must find them (tests/test_races.py). The same kernel
// without the fault must pass. A warp passes numbers around through shared memory, as the rank kernels do with their pivots.
#include "cuda/emulation/planted_races.h"

#include "cuda/launch.cuh"

namespace sl {
namespace cuda {
namespace {

// Every round lane `round` shows a number, all lanes add it up. Two buffers by turns: a lane may be a round ahead of another, not two.
__global__ void rounds_kernel(PlantedRace race, int rounds, int* sums) {
  SL_SHARED(int, shown);
  const int lane = static_cast<int>(threadIdx.x);
  int sum = 0;
  for (int round = 0; round < rounds; ++round) {
    int* const here = shown + (race == PlantedRace::one_buffer ? 0 : round % 2);
    if (lane == round % 32) *here = round;
    if (race == PlantedRace::no_barrier) __any_sync(kWholeWarp, lane == 0);  // waits for the lanes, but orders nothing
    else __syncwarp();
    sum += *here;
  }
  sums[lane] = sum;
}

// All lanes add to one number of global memory.
__global__ void sum_kernel(PlantedRace race, int* sum) {
  if (race == PlantedRace::no_atomic) *sum += static_cast<int>(threadIdx.x);
  else atomicAdd(sum, static_cast<int>(threadIdx.x));
}

}  // namespace

int planted_race(PlantedRace race) {
  Stream stream(nullptr, 0);
  int* sums = stream.scratch<int>(33);
  stream.clear(sums, 33 * sizeof(int));
  launch(rounds_kernel, dim3(1), dim3(32), 2 * sizeof(int), stream, race, 40, sums);
  launch(sum_kernel, dim3(1), dim3(32), 0, stream, race, sums + 32);
  int out[33];
  stream.download(out, sums, sizeof out);
  return out[31] + out[32];
}

}  // namespace cuda
}  // namespace sl
