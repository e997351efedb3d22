// scratch.h: aligned working memory for kernels. Defined in a source file of its own, so that no instruction-set variant
// of a kernel can leave its copy of it for the others.
#pragma once
#include <cstddef>

namespace sl {
// Zeroed memory, 64-byte aligned, freed at scope end. Throws std::bad_alloc.
class Scratch {
 public:
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  // The next `bytes` of it, 64-byte aligned. Throws Error past the end.
  void* take(size_t bytes);

 private:
  char* data_;
  size_t size_, used_ = 0;
};

// `count` entries of type C from any kind of working memory (another overload: cuda/strip.cuh).
template <class C> inline __attribute__((always_inline)) C* take_array(Scratch& scratch, size_t count) {
  return static_cast<C*>(scratch.take(count * sizeof(C)));
}
}  // namespace sl
