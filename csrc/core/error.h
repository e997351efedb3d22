// error.h: the three ways a call can end without a result. Bad arguments are found in Python, before any kernel runs; what is left for
// C++ is a broken internal promise (Error), an interrupt by the user (Interrupted), and memory that is not there (OutOfMemory).
#pragma once
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace sl {
struct Error : std::runtime_error { using std::runtime_error::runtime_error; };
struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};
struct OutOfMemory : std::bad_alloc {  // a MemoryError in Python, with these words
  std::string text;
  explicit OutOfMemory(std::string text_) : text(std::move(text_)) {}
  const char* what() const noexcept override { return text.c_str(); }
};
inline void require(bool ok, const char* what) {
  if (!ok) throw Error(what);
}
}  // namespace sl
