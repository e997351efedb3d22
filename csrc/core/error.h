// error.h: the two ways a call can end without a result. Bad arguments are found in Python, before any kernel runs;
// what is left for C++ is a broken internal promise (Error) and an interrupt by the user (Interrupted).
#pragma once
#include <stdexcept>
#include <string>

namespace sl {
struct Error : std::runtime_error { using std::runtime_error::runtime_error; };
struct Interrupted : std::runtime_error { Interrupted() : std::runtime_error("interrupted") {} };
inline void require(bool ok, const char* what) { if (!ok) throw Error(what); }
}  // namespace sl
