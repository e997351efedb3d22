// isa.h (ops): how a contract is declared once and compiled once per instruction set.
//
// SL_PER_ISA(void f(Args)) declares f in the namespaces base, avx2 and avx512 (the compiled variants) and in sl itself (the
// dispatcher in cpu/isa.cpp, which calls the chosen variant and does nothing else).
#pragma once
#define SL_PER_ISA(...) \
  namespace base {      \
  __VA_ARGS__           \
  }                     \
  namespace avx2 {      \
  __VA_ARGS__           \
  }                     \
  namespace avx512 {    \
  __VA_ARGS__           \
  }                     \
  __VA_ARGS__

namespace sl {
enum class Isa : int { base, avx2, avx512 };
const char* isa_name(Isa);
bool isa_supported(Isa);   // this processor runs it
bool isa_available(Isa);   // this processor runs it, and it is compiled in
Isa isa_chosen();          // the best available one, unless SUBLEARN_ISA or set_isa said otherwise
void set_isa(Isa);         // for tests; throws Error where not available
}  // namespace sl
