# Which instruction sets the kernels are compiled for. Every kernel source is compiled once per set, each time inside a
# namespace of that set's name (SL_ISA), so that the linker can never mix them; csrc/cpu/isa.cpp chooses at run time.
set(SUBLEARN_ISA_NAMES base)
set(SUBLEARN_KERNEL_OPTIMIZATION "-O3" CACHE STRING "Optimisation of the kernels (sanitizer builds take -O1: they compile ten times faster)")
set(SUBLEARN_SIMD AUTO CACHE STRING "Instruction sets beside the baseline: AUTO (the best of this machine), ALL (those of any machine: for wheels) or OFF")
set_property(CACHE SUBLEARN_SIMD PROPERTY STRINGS AUTO ALL OFF)
if(NOT SUBLEARN_SIMD MATCHES "^(AUTO|ALL|OFF)$")
  message(FATAL_ERROR "SUBLEARN_SIMD: expected AUTO, ALL or OFF, got ${SUBLEARN_SIMD}")
endif()

# The best set that this machine runs: base, avx2 or avx512. `all` where that cannot be known, as when compiling for another machine.
function(sublearn_set_of_this_machine found)
  set(${found} all PARENT_SCOPE)
  if(CMAKE_CROSSCOMPILING)
    return()
  endif()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/which_isa.cpp)
  file(WRITE ${source} "#include <cstdio>
int main() {
  __builtin_cpu_init();
  const bool two = __builtin_cpu_supports(\"avx2\") && __builtin_cpu_supports(\"fma\");
  const bool more = __builtin_cpu_supports(\"avx512f\") && __builtin_cpu_supports(\"avx512dq\") && __builtin_cpu_supports(\"avx512vl\") &&
                    __builtin_cpu_supports(\"avx512bw\");
  std::puts(!two ? \"base\" : !more ? \"avx2\" : \"avx512\");
}
")
  try_run(ran compiled ${CMAKE_CURRENT_BINARY_DIR}/which_isa ${source} RUN_OUTPUT_VARIABLE said)
  if(compiled AND ran EQUAL 0)
    string(STRIP "${said}" said)
    set(${found} ${said} PARENT_SCOPE)
  endif()
endfunction()

set(SUBLEARN_ISA_FLAGS_base "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # The floor is x86-64-v2, as in NumPy's own builds (and GCC 12 fails on 64-bit lane comparisons without SSE4.2).
  set(SUBLEARN_ISA_FLAGS_base -msse4.2)
  set(SUBLEARN_ISA_FLAGS_avx2 -mavx2 -mfma)
  set(SUBLEARN_ISA_FLAGS_avx512 -mavx2 -mfma -mavx512f -mavx512dq -mavx512vl -mavx512bw -mprefer-vector-width=512)
  check_cxx_compiler_flag("-mavx2 -mfma" SUBLEARN_HAS_AVX2)
  check_cxx_compiler_flag("-mavx512f -mavx512dq -mavx512vl -mavx512bw" SUBLEARN_HAS_AVX512)
  set(wanted none)
  if(SUBLEARN_SIMD STREQUAL "ALL")
    set(wanted all)
  elseif(SUBLEARN_SIMD STREQUAL "AUTO")
    sublearn_set_of_this_machine(wanted)
  endif()
  # Each set is a third of the time to compile. Where AVX-512 is wanted and the compiler has none, AVX2 takes its place.
  if(SUBLEARN_HAS_AVX512 AND wanted MATCHES "all|avx512")
    list(APPEND SUBLEARN_ISA_NAMES avx512)
  endif()
  if(SUBLEARN_HAS_AVX2 AND (wanted MATCHES "all|avx2" OR (wanted STREQUAL "avx512" AND NOT SUBLEARN_HAS_AVX512)))
    list(APPEND SUBLEARN_ISA_NAMES avx2)
  endif()
endif()
# With AUTO the baseline only runs where the module was carried to another machine: there it has to be right, not fast, and at -O1 it
# takes a tenth of the time to compile. (SUBLEARN_ISA_OPTIMIZATION_avx2=-O1 and its like do the same by hand, for any set.)
if(SUBLEARN_SIMD STREQUAL "AUTO" AND NOT SUBLEARN_ISA_NAMES STREQUAL "base")
  set(SUBLEARN_ISA_OPTIMIZATION_base -O1)
endif()
message(STATUS "Kernels are compiled for: ${SUBLEARN_ISA_NAMES}")

function(sublearn_add_isa_variants dispatch)  # dispatch: the target whose isa.cpp is told which there are
  set(targets "")
  foreach(isa ${SUBLEARN_ISA_NAMES})
    set(target sublearn_${isa})
    add_library(${target} OBJECT ${ARGN})
    target_include_directories(${target} PRIVATE csrc)
    target_compile_definitions(${target} PRIVATE SL_ISA=${isa})
    if(SUBLEARN_ISA_OPTIMIZATION_${isa} STREQUAL "-O1")  # GCC 12 then takes vectors that are filled lane by lane for uninitialised ones
      list(APPEND SUBLEARN_ISA_FLAGS_${isa} -Wno-maybe-uninitialized)
    endif()
    target_compile_options(${target} PRIVATE ${SUBLEARN_ISA_FLAGS_${isa}} ${SUBLEARN_KERNEL_OPTIMIZATION} ${SUBLEARN_ISA_OPTIMIZATION_${isa}} -fno-math-errno -fno-trapping-math)
    # Read by source files that gain nothing from -O3 (CMakeLists.txt).
    set_target_properties(${target} PROPERTIES SUBLEARN_OPTIMIZATION "${SUBLEARN_KERNEL_OPTIMIZATION}${SUBLEARN_ISA_OPTIMIZATION_${isa}}")
    target_compile_definitions(${dispatch} PRIVATE SL_HAS_${isa}=1)
    list(APPEND targets ${target})
  endforeach()
  set(SUBLEARN_ISA_TARGETS ${targets} PARENT_SCOPE)
endfunction()
