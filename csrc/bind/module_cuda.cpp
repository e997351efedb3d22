// The Python module sublearn._cuda, or _cuda_emulated.
#include "bind/cuda.h"

PYBIND11_MODULE(SL_MODULE, m) {
  m.doc() = "Compiled CUDA kernels of sublearn. Arguments are checked by the Python layer.";
  pybind11::module_::import("sublearn._cpu");  // where Shape is known to Python
#if defined(SL_EMULATE)
  m.attr("EMULATED") = true;
#else
  m.attr("EMULATED") = false;
#endif
  cuda_bindings::register_arrays(m);
  cuda_bindings::register_devices(m);
  cuda_bindings::register_ranks(m);
  cuda_bindings::register_projection(m);
  cuda_bindings::register_networks(m);
  cuda_bindings::register_fit(m);
  cuda_bindings::register_searches(m);
  cuda_bindings::register_screen(m);
  cuda_bindings::register_draws(m);
}
