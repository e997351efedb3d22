#include "core/scratch.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "core/error.h"

namespace sl {
static size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

Scratch::Scratch(size_t bytes) : size_(round_up(bytes ? bytes : 1)) {
  data_ = static_cast<char*>(std::aligned_alloc(64, size_));
  if (!data_) throw std::bad_alloc();
  std::memset(data_, 0, size_);
}
Scratch::~Scratch() { std::free(data_); }
void* Scratch::take(size_t bytes) {
  const size_t at = used_;
  used_ += round_up(bytes);
  require(used_ <= size_, "scratch memory exhausted (a kernel planned too little)");
  return data_ + at;
}
}  // namespace sl
