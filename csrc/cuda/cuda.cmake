# Everything about building for NVIDIA GPUs. SUBLEARN_CUDA:
#   AUTO     the module _cuda where nvcc is installed and works, else quietly a CPU-only build
#   ON       the module _cuda, or an error     OFF   CPU only
#   EMULATE  the module _cuda_emulated: the same .cu files run on the CPU (csrc/cuda/emulate.h), for tests without a GPU
# One .cu file per contract of csrc/ops; importing the module needs no GPU and no driver (the CUDA runtime is linked statically).
set(SUBLEARN_CUDA AUTO CACHE STRING "CUDA module: AUTO, ON, OFF or EMULATE")
set_property(CACHE SUBLEARN_CUDA PROPERTY STRINGS AUTO ON OFF EMULATE)
if(NOT SUBLEARN_CUDA MATCHES "^(AUTO|ON|OFF|EMULATE)$")
  message(FATAL_ERROR "SUBLEARN_CUDA: expected AUTO, ON, OFF or EMULATE, got ${SUBLEARN_CUDA}")
endif()

set(SUBLEARN_CUDA_MODULE "")
if(SUBLEARN_CUDA STREQUAL "EMULATE")
  set(SUBLEARN_CUDA_MODULE _cuda_emulated)
elseif(NOT SUBLEARN_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER AND SUBLEARN_CUDA STREQUAL "AUTO")
    # enable_language ends the configuration where nvcc cannot compile (no host compiler it accepts, too old for sm_90): try first.
    set(trial ${CMAKE_CURRENT_BINARY_DIR}/cuda_trial)
    file(WRITE ${trial}/trial.cu "#include <cuda_runtime.h>\n__global__ void f(int* x) { *x = 1; }\nint main() { return 0; }\n")
    execute_process(COMMAND ${CMAKE_CUDA_COMPILER} -std=c++17 -gencode=arch=compute_90,code=sm_90 -c trial.cu -o trial.o
      WORKING_DIRECTORY ${trial} RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
    if(failed)
      message(STATUS "SUBLEARN_CUDA: ${CMAKE_CUDA_COMPILER} does not work here, building for the CPU only")
    else()
      set(SUBLEARN_CUDA_MODULE _cuda)
    endif()
  elseif(CMAKE_CUDA_COMPILER)
    set(SUBLEARN_CUDA_MODULE _cuda)
  elseif(SUBLEARN_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SUBLEARN_CUDA=ON: no CUDA compiler (nvcc) found; put it on the PATH or set CUDACXX")
  endif()
endif()

if(SUBLEARN_CUDA_MODULE)
  file(GLOB SUBLEARN_CUDA_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cu)
  set(trial_source ${CMAKE_CURRENT_LIST_DIR}/trial.cu)
  if(SUBLEARN_CUDA_MODULE STREQUAL "_cuda")
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)  # "native" would need a GPU where it is built
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
    endif()
    set(CMAKE_CUDA_STANDARD 17)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    enable_language(CUDA)
    add_library(sublearn_cuda STATIC ${SUBLEARN_CUDA_SOURCES})
    set_target_properties(sublearn_cuda PROPERTIES CUDA_RUNTIME_LIBRARY Static CUDA_VISIBILITY_PRESET hidden)
    target_compile_options(sublearn_cuda PRIVATE -Xcompiler=-Wall,-Wextra,-Wno-psabi $<$<BOOL:${SUBLEARN_WERROR}>:-Werror=all-warnings -Xcompiler=-Werror>)
    set_source_files_properties(${trial_source} PROPERTIES COMPILE_OPTIONS "-fmad=false")  # bit-equal draws
  else()
    set_source_files_properties(${SUBLEARN_CUDA_SOURCES} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++;-Wno-unknown-pragmas")
    set_source_files_properties(${trial_source} PROPERTIES COMPILE_OPTIONS "-x;c++;-Wno-unknown-pragmas;-ffp-contract=off")
    add_library(sublearn_cuda STATIC ${SUBLEARN_CUDA_SOURCES} ${CMAKE_CURRENT_LIST_DIR}/emulate.cpp)
    target_compile_definitions(sublearn_cuda PUBLIC SL_EMULATE)
    target_compile_options(sublearn_cuda PRIVATE -O1 ${SUBLEARN_WARNINGS})  # -O3 takes four times as long to compile
  endif()
  # The mathematics is compiled into a namespace of its own, as for the instruction sets of the CPU: no copy can replace another.
  target_compile_definitions(sublearn_cuda PRIVATE SL_ISA=device)
  target_include_directories(sublearn_cuda PUBLIC csrc)
  target_link_libraries(sublearn_cuda PUBLIC sublearn_core)
  message(STATUS "SUBLEARN_CUDA=${SUBLEARN_CUDA}: building ${SUBLEARN_CUDA_MODULE}")
endif()
