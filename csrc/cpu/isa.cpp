// Which compiled variant runs: asked once, can be asked about (isa_chosen) and overridden (SUBLEARN_ISA, set_isa). No mathematics.
#include "ops/isa.h"

#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "ops/choose_columns.h"
#include "ops/continuation.h"
#include "ops/descend.h"
#include "ops/enclosed.h"
#include "ops/jacobian.h"
#include "ops/newton.h"
#include "ops/outputs.h"
#include "ops/pattern_proof.h"
#include "ops/peak.h"
#include "ops/project.h"
#include "ops/rank_modp.h"
#include "ops/rank_real.h"
#include "ops/substitution.h"

namespace sl {

static const char* const kNames[] = {"base", "avx2", "avx512"};
const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

bool isa_supported(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  switch (isa) {
    case Isa::base: return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");  // what -msse4.2 compiles for
    case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  }
  return false;
#else
  return isa == Isa::base;
#endif
}

bool isa_available(Isa isa) {
  switch (isa) {
    case Isa::base: return isa_supported(isa);
#if defined(SL_HAS_avx2)
    case Isa::avx2: return isa_supported(isa);
#endif
#if defined(SL_HAS_avx512)
    case Isa::avx512: return isa_supported(isa);
#endif
    default: return false;
  }
}

static int g_isa = -1;

Isa isa_chosen() {
  int chosen = __atomic_load_n(&g_isa, __ATOMIC_RELAXED);
  if (chosen < 0) {
    chosen = 0;
    for (int k = 2; k >= 0 && chosen == 0; --k)
      if (isa_available(static_cast<Isa>(k))) chosen = k;
    if (const char* wanted = std::getenv("SUBLEARN_ISA"))
      for (int k = 0; k < 3; ++k)
        if (std::strcmp(wanted, kNames[k]) == 0 && isa_available(static_cast<Isa>(k))) chosen = k;
    __atomic_store_n(&g_isa, chosen, __ATOMIC_RELAXED);
  }
  return static_cast<Isa>(chosen);
}

void set_isa(Isa isa) {
  require(isa_available(isa), "this instruction set is not available here");
  __atomic_store_n(&g_isa, static_cast<int>(isa), __ATOMIC_RELAXED);
}

#if defined(SL_HAS_avx2)
#define SL_TRY_AVX2(call) \
  if (isa_chosen() == Isa::avx2) return avx2::call;
#else
#define SL_TRY_AVX2(call)
#endif
#if defined(SL_HAS_avx512)
#define SL_TRY_AVX512(call) \
  if (isa_chosen() == Isa::avx512) return avx512::call;
#else
#define SL_TRY_AVX512(call)
#endif
#define SL_DISPATCH(signature, call) \
  void signature { SL_TRY_AVX512(call) SL_TRY_AVX2(call) base::call; }

SL_DISPATCH(outputs(const OutputsArgs<float>& a, Control& c), outputs(a, c))
SL_DISPATCH(outputs(const OutputsArgs<double>& a, Control& c), outputs(a, c))
SL_DISPATCH(jacobian(const JacobianArgs<float>& a, Control& c), jacobian(a, c))
SL_DISPATCH(jacobian(const JacobianArgs<double>& a, Control& c), jacobian(a, c))
SL_DISPATCH(jacobian_mod(const JacobianModArgs& a, Control& c), jacobian_mod(a, c))
SL_DISPATCH(descend(const DescendArgs<float>& a, Control& c), descend(a, c))
SL_DISPATCH(descend(const DescendArgs<double>& a, Control& c), descend(a, c))
SL_DISPATCH(continuation(const ContinuationArgs& a, Control& c), continuation(a, c))
SL_DISPATCH(newton(const NewtonArgs& a, Control& c), newton(a, c))
SL_DISPATCH(rank_real(const RankRealArgs<float>& a, Control& c), rank_real(a, c))
SL_DISPATCH(rank_real(const RankRealArgs<double>& a, Control& c), rank_real(a, c))
SL_DISPATCH(project(const ProjectArgs<float>& a, Control& c), project(a, c))
SL_DISPATCH(project(const ProjectArgs<double>& a, Control& c), project(a, c))
SL_DISPATCH(choose_columns(const ChooseColumnsArgs<float>& a, Control& c), choose_columns(a, c))
SL_DISPATCH(choose_columns(const ChooseColumnsArgs<double>& a, Control& c), choose_columns(a, c))
SL_DISPATCH(rank_modp(const RankModpArgs& a, Control& c), rank_modp(a, c))
SL_DISPATCH(substitution(const SubstitutionArgs& a, Control& c), substitution(a, c))
SL_DISPATCH(enclosed_outputs(const EnclosedOutputsArgs& a, Control& c), enclosed_outputs(a, c))
SL_DISPATCH(enclosed_systems(const EnclosedSystemsArgs& a, Control& c), enclosed_systems(a, c))
SL_DISPATCH(pattern_proof(const PatternProofArgs& a, Control& c), pattern_proof(a, c))
SL_DISPATCH(pick_columns(const PickColumnsArgs& a, Control& c), pick_columns(a, c))

double fma_rounds32(int64_t n, int t, Control& c) {
  SL_TRY_AVX512(fma_rounds32(n, t, c)) SL_TRY_AVX2(fma_rounds32(n, t, c)) return base::fma_rounds32(n, t, c);
}
double fma_rounds64(int64_t n, int t, Control& c) {
  SL_TRY_AVX512(fma_rounds64(n, t, c)) SL_TRY_AVX2(fma_rounds64(n, t, c)) return base::fma_rounds64(n, t, c);
}

}  // namespace sl
