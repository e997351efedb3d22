#include "core/scratch.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace sl {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kOneBlockEach = true;  // so that what is written past the end of an array is found
#else
constexpr bool kOneBlockEach = false;
#endif
constexpr size_t kAlign = 64, kFirst = 8 << 10, kMost = 1 << 20;  // bytes; kMost: where doubling ends

size_t round_up(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

}  // namespace

Scratch::Scratch(size_t first) : next_(first ? round_up(first) : kFirst) {}

Scratch::~Scratch() {
  while (last_) {
    Block* before = last_->before;
    std::free(last_);
    last_ = before;
  }
}

void* Scratch::take(size_t bytes) {
  const size_t wanted = kOneBlockEach ? bytes : round_up(bytes);  // what must not be touched begins right behind it there
  if (wanted < bytes) throw std::bad_alloc();  // beyond what a size can say
  if (wanted > left_ || kOneBlockEach) {
    const size_t size = wanted > next_ || kOneBlockEach ? wanted : next_;
    void* block = nullptr;
    if (posix_memalign(&block, kAlign, kAlign + size) != 0) throw std::bad_alloc();  // its head, on a line of its own, and the rest
    free_ = static_cast<char*>(block) + kAlign;
    std::memset(free_, 0, size);
    last_ = new (block) Block{last_};
    left_ = size;
    next_ = next_ < kMost ? 2 * next_ : kMost;
  }
  void* out = free_;
  free_ += wanted;
  left_ -= wanted;
  return out;
}
}  // namespace sl
