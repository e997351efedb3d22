// Trials and masks from counter-based random numbers, bit-equal to the CPU's. See ops/trial.h.
//
// Numbers: one thread per pair of normals (a Philox block and a Box-Muller transform), written side by side; a thread of a shared group
// computes its teacher's numbers once more for the student. Masks: one thread per trial, with its two shuffled lists in device memory.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/draws.h"
#include "cuda/launch.cuh"
#include "ops/cuda.h"

namespace sl {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr int64_t kMaskMemory = int64_t{1} << 28;

struct Laws {
  double scale[kMaxGroups];
  int begin[kMaxGroups + 1];
  bool shared[kMaxGroups];
  int groups, first_gain;
};

// scaled: the numbers are weights of the network's groups. kStudent: those of shared groups come from the teacher's stream.
__global__ void draw_numbers(Philox first, uint32_t first_trial, int64_t count, int size, bool scaled, const __grid_constant__ Laws laws,
                             double* out) {
  const int pairs = (size + 1) / 2;
  for (int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < count * pairs; at += int64_t{gridDim.x} * blockDim.x) {
    const int64_t k = at / pairs;
    const int pair = static_cast<int>(at % pairs);
    Philox source = first;
    source.trial = first_trial + static_cast<uint32_t>(k);
    double own[2], teacher[2];
    draws::normal_pair(source, static_cast<uint32_t>(pair), own);
    bool drawn = false;
    for (int q = 0; q < 2 && 2 * pair + q < size; ++q) {
      const int i = 2 * pair + q;
      double v = own[q];
      if (scaled) {
        int g = 0;
        while (i >= laws.begin[g + 1]) ++g;
        if (laws.shared[g] && first.stream == kStudent) {
          if (!drawn) {
            source.stream = kTeacher;
            draws::normal_pair(source, static_cast<uint32_t>(pair), teacher);
            drawn = true;
          }
          v = teacher[q];
        }
        v = i < laws.first_gain ? v * laws.scale[g] : 1.0;
      }
      out[k * size + i] = v;
    }
  }
}

struct DevicePiece {
  int64_t members, offsets;  // where they begin in the copied arrays
  int64_t lists, pick, each;
};

// work [threads of the grid][longest list of lists + longest list of members], interleaved.
__global__ void draw_masks(uint64_t seed, uint32_t task, uint32_t first_trial, int64_t count, int size, const bool* fixed,
                           const DevicePiece* pieces, int64_t piece_count, const int64_t* numbers, int64_t most_lists, int* work,
                           bool* mask) {
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, threads = int64_t{gridDim.x} * blockDim.x;
  int *lists = work + thread, *members = work + most_lists * threads + thread;
  for (int64_t b = thread; b < count; b += threads) {
    bool* out = mask + b * size;
    for (int k = 0; k < size; ++k) out[k] = fixed[k];
    draws::Words words(Philox(seed, kMask, first_trial + static_cast<uint32_t>(b), task));
    for (int64_t q = 0; q < piece_count; ++q) {
      const DevicePiece piece = pieces[q];
      const int64_t *from = numbers + piece.members, *offsets = numbers + piece.offsets;
      for (int64_t i = 0; i < piece.lists; ++i) lists[i * threads] = static_cast<int>(i);
      for (int64_t i = 0; i < piece.pick; ++i) {
        const int64_t j = i + words.below(static_cast<uint32_t>(piece.lists - i));
        const int t = lists[i * threads];
        lists[i * threads] = lists[j * threads];
        lists[j * threads] = t;
      }
      for (int64_t c = 0; c < piece.pick; ++c) {
        const int list = lists[c * threads];
        const int64_t begin = offsets[list], length = offsets[list + 1] - begin;
        for (int64_t i = 0; i < length; ++i) members[i * threads] = static_cast<int>(from[begin + i]);
        for (int64_t i = 0; i < piece.each; ++i) {
          const int64_t j = i + words.below(static_cast<uint32_t>(length - i));
          const int chosen = members[j * threads];
          members[j * threads] = members[i * threads];
          members[i * threads] = chosen;
          out[chosen] = true;
        }
      }
    }
  }
}

template <class T> T* copied(Stream& stream, const std::vector<T>& from) {
  T* to = stream.scratch<T>(static_cast<int64_t>(from.size()));
  stream.upload(to, from.data(), from.size() * sizeof(T));
  return to;
}

}  // namespace

void draw_trials(const TrialArgs& a, Stream& stream) {
  if (a.count == 0) return;
  const Shape& s = *a.shape;
  Laws laws = {};
  laws.groups = s.groups;
  laws.first_gain = s.first_gain;
  for (int g = 0; g < s.groups; ++g) {
    laws.scale[g] = s.group_fan_in[g] > 0 ? a.gains[g] / std::sqrt(static_cast<double>(s.group_fan_in[g])) : a.gains[g];
    laws.begin[g + 1] = s.group_begin[g + 1];
    laws.shared[g] = a.shared[g];
  }
  auto numbers = [&](uint32_t law, int size, bool scaled, double* out) {
    const int64_t blocks = (a.count * ((size + 1) / 2) + kThreads - 1) / kThreads;
    launch(draw_numbers, dim3(static_cast<unsigned>(std::min<int64_t>(blocks, 1 << 20))), dim3(kThreads), 0, stream,
           Philox(a.seed, law, 0, a.task), a.first, a.count, size, scaled, laws, out);
  };
  numbers(kTeacher, s.size, true, a.teacher);
  numbers(kStudent, s.size, true, a.student);
  numbers(kInputs, s.inputs_size, false, a.x);
  if (!a.mask) return;

  std::vector<DevicePiece> pieces;
  std::vector<int64_t> lists;
  int64_t most_lists = 1, most_members = 1;
  for (int64_t q = 0; q < a.recipe.count; ++q) {
    const RecipePiece& p = a.recipe.pieces[q];
    const int64_t members = p.lists ? p.offsets[p.lists] : 0;
    DevicePiece d{static_cast<int64_t>(lists.size()), 0, p.lists, p.pick, p.each};
    lists.insert(lists.end(), p.members, p.members + members);
    d.offsets = static_cast<int64_t>(lists.size());
    lists.insert(lists.end(), p.offsets, p.offsets + p.lists + 1);
    for (int64_t k = 0; k < p.lists; ++k) most_members = std::max(most_members, p.offsets[k + 1] - p.offsets[k]);
    most_lists = std::max(most_lists, p.lists);
    pieces.push_back(d);
  }
  const std::vector<char> fixed(reinterpret_cast<const char*>(a.recipe.fixed), reinterpret_cast<const char*>(a.recipe.fixed) + s.size);
  const int64_t per_thread = most_lists + most_members;
  const int64_t threads = std::min(a.count, std::max<int64_t>(kThreads, kMaskMemory / (static_cast<int64_t>(sizeof(int)) * per_thread)));
  const int64_t blocks = (threads + kThreads - 1) / kThreads;
  int* work = stream.scratch<int>(blocks * kThreads * per_thread);
  launch(draw_masks, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream, a.seed, a.task, a.first, a.count, s.size,
         reinterpret_cast<const bool*>(copied(stream, fixed)), copied(stream, pieces), static_cast<int64_t>(pieces.size()),
         copied(stream, lists), most_lists, work, a.mask);
}

}  // namespace cuda
}  // namespace sl
