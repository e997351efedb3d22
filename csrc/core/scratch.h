// scratch.h: aligned working memory for kernels, zeroed. It grows with what is taken, so no kernel counts beforehand what it will take:
// blocks of memory, each twice as large as the one before (or as large as one array needs), handed out from the front. Defined in a source
// file of its own, so that no instruction-set variant of a kernel can leave its copy of it for the others.
#pragma once
#include <cstddef>

namespace sl {
class Scratch {
 public:
  // first: bytes of the first block, where so much is known to be taken.
  explicit Scratch(size_t first = 0);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  // `bytes` of zeros, 64-byte aligned, freed at scope end. Throws std::bad_alloc.
  void* take(size_t bytes);

 private:
  struct Block { Block* before; };
  Block* last_ = nullptr;
  char* free_ = nullptr;
  size_t left_ = 0, next_;  // bytes left in the last block; size of the next one
};

// `count` entries of type C from any kind of working memory (another overload: cuda/strip.cuh).
template <class C> inline __attribute__((always_inline)) C* take_array(Scratch& scratch, size_t count) {
  return static_cast<C*>(scratch.take(count * sizeof(C)));
}
}  // namespace sl
