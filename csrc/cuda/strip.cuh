// strip.cuh: one student per thread, with the shared mathematics of networks (network/) and its tables in a strip of memory per warp.
//
// Entry k of a table of thread l of a warp lies at k * 32 + l of the strip: neighbouring threads read neighbouring words, so an access
// of the warp is one line of memory (or 32 banks of shared memory) even where every student learns other weights. An Entry<S> is one
// S of 32: pointers to entries walk through the strip by plain arithmetic, and the mathematics needs no other change.
// A strip lies in shared memory where it is small (shared_most), else in device memory (through the caches).
// Blocks are single warps: nothing is exchanged between threads here, and small blocks waste least of the shared memory.
#pragma once
#if !defined(SL_ISA)
#define SL_ISA device
#endif
#include <algorithm>

#include "core/shape.h"
#include "cuda/launch.cuh"
#include "network/feedforward.h"
#include "network/recurrent.h"
#include "ops/cuda.h"
#include "ops/students.h"
#include "scalar/complex_lane.h"
#include "scalar/lanes.h"

namespace sl {
namespace SL_ISA {

// Not copyable: a copy would carry the neighbours' entries along.
template <class S> struct Entry {
  S value;
  unsigned char neighbours[(cuda::kWarp - 1) * sizeof(S)];
  Entry() = delete;
  Entry(const Entry&) = delete;
  SL_INLINE operator S() const { return value; }
  SL_INLINE Entry& operator=(S x) {
    value = x;
    return *this;
  }
  SL_INLINE Entry& operator=(const Entry& e) {
    value = e.value;
    return *this;
  }
  SL_INLINE Entry& operator+=(S x) {
    value = value + x;
    return *this;
  }
};
template <class S> struct ValueOf<Entry<S>> { using type = S; };
template <class S, class T> struct EntryBeside<Entry<S>, T> { using type = Entry<T>; };

// The strip of this warp, seen by this thread.
struct Strip { unsigned char* at; };
template <class C> SL_INLINE C* take_array(Strip& strip, size_t count) {
  C* table = reinterpret_cast<C*>(strip.at + (threadIdx.x % cuda::kWarp) * sizeof(Value<C>));
  strip.at += count * sizeof(C);
  return table;
}

// Bytes of shared memory up to which a strip lies there. Measured on an H200 up to this size, where one warp fits a multiprocessor: fits
// with their strips in shared memory take half the time of fits whose strips lie in device memory, whatever the number of warps.
constexpr size_t kSharedStrip = 123 * 1024;
constexpr size_t kStripMemory = size_t{2} << 30;  // device memory for all strips of a launch

// Flags of the groups, as a kernel parameter.
struct Groups { bool learns[kMaxGroups]; };
inline Groups groups_of(const Shape& s, const bool* learns) {
  Groups g = {};
  for (int k = 0; k < s.groups; ++k) g.learns[k] = learns[k];
  return g;
}
inline Groups all_groups(bool learns) {
  Groups g;
  for (bool& k : g.learns) k = learns;
  return g;
}

// Whether a strip of this many bytes fits in the shared memory of a block.
inline bool fits_in_shared(size_t bytes, size_t shared_most, const cuda::Stream& stream) {
  const size_t tuned = cuda::strip_tuning().most;
  if (tuned) shared_most = tuned;
  int most = 0;
  SL_CUDA(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, stream.device));
  return bytes <= std::min(shared_most, static_cast<size_t>(most));
}

// Runs kernel(strips, bytes, arguments...) with one thread per student. `bytes` per warp; strips == nullptr: shared memory.
// Each block works through the warps' worth of students blockIdx.x, blockIdx.x + gridDim.x, ..
template <class... P, class... A>
void launch_strips(void (*kernel)(unsigned char*, size_t, P...), size_t bytes, int64_t students, size_t shared_most, cuda::Stream& stream,
                   A&&... arguments) {
  const int64_t warps = (students + cuda::kWarp - 1) / cuda::kWarp;
  if (warps == 0) return;
  cuda::strip_tuning().last = bytes;
  const bool shared = fits_in_shared(bytes, shared_most, stream);
  int64_t blocks = std::min<int64_t>(warps, cuda::resident_blocks(kernel, cuda::kWarp, shared ? bytes : 0, stream));
  unsigned char* strips = nullptr;
  if (!shared) {
    blocks = std::max<int64_t>(1, std::min<int64_t>(blocks, static_cast<int64_t>(kStripMemory / bytes)));
    strips = static_cast<unsigned char*>(stream.scratch(static_cast<size_t>(blocks) * bytes));
  }
  cuda::launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(cuda::kWarp), shared ? bytes : 0, stream, strips, bytes, arguments...);
}
// always_shared, a constant: the compiler then knows that the strip is in shared memory and uses its shorter instructions.
#define SL_STRIP(name, strips, bytes, always_shared) \
  SL_SHARED(unsigned char, sl_strip_in_shared_);     \
  Strip name { always_shared || !strips ? sl_strip_in_shared_ : strips + blockIdx.x * bytes }

template <class M> struct Type { using type = M; };
// The network class for a shape, with its tables in strips. S: the scalar.
template <class S, class F> void with_strip_model(const Shape& s, F&& f) {
  if (s.kind == Kind::feedforward) f(Type<Feedforward<S, Entry<S>>>{});
  else f(Type<Recurrent<S, 0, Entry<S>>>{});
}

template <class Model, class C, class T, class U>
SL_INLINE void load_student(const Shape& s, Model& model, C* theta, const T* from_theta, const U* from_x) {
  for (int k = 0; k < s.size; ++k) theta[k] = Value<C>(from_theta[k]);
  for (int k = 0; k < s.inputs_size; ++k) *model.input(k) = Value<C>(from_x[k]);
}

}  // namespace SL_ISA
}  // namespace sl
