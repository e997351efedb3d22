// Which ranks of a batch are not proven, and the first matrix that is not finite: 16 bytes and a short list for the host in place of two
// flags per matrix. See ops/cuda.h; the flags are those of rank_real.
//
// A thread looks at every `all threads`-th matrix. The list is filled in whatever order threads come; the host sorts it.
#include <algorithm>

#include "cuda/launch.cuh"
#include "ops/cuda.h"

namespace sl {
namespace cuda {
namespace {

struct Counted {
  unsigned long long unproven;
  long long first_not_finite;
};

__global__ void __launch_bounds__(256)
    flags_kernel(const int8_t* certified, const int8_t* finite, int64_t batch, Counted* counted, int* list) {
  for (int64_t b = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; b < batch; b += int64_t{gridDim.x} * blockDim.x) {
    if (!finite[b]) atomicMin(&counted->first_not_finite, static_cast<long long>(b));
    if (!certified[b]) list[atomicAdd(&counted->unproven, 1ull)] = static_cast<int>(b);
  }
}

}  // namespace

RankQuestions rank_questions(const int8_t* certified, const int8_t* finite, int64_t batch, Stream& stream) {
  RankQuestions out;
  if (batch == 0) return out;
  require(batch < (int64_t{1} << 31), "rank_questions: at most 2**31 - 1 matrices at a time");
  Counted counted{0, batch};
  Counted* there = stream.scratch<Counted>(1);
  int* list = stream.scratch<int>(batch);
  stream.upload(there, &counted, sizeof counted);
  const int64_t blocks = std::min<int64_t>((batch + 255) / 256, 8 * int64_t{multiprocessors(stream.device)});
  launch(flags_kernel, dim3(static_cast<unsigned>(blocks)), dim3(256), 0, stream, certified, finite, batch, there, list);
  stream.download(&counted, there, sizeof counted);
  if (counted.first_not_finite < batch) out.first_not_finite = counted.first_not_finite;
  out.unproven.resize(static_cast<size_t>(counted.unproven));
  if (counted.unproven) stream.download(out.unproven.data(), list, sizeof(int) * out.unproven.size());
  std::sort(out.unproven.begin(), out.unproven.end());
  return out;
}

}  // namespace cuda
}  // namespace sl
