// The Python module sublearn._cpu.
#include "bind/cpu.h"
#include "ops/isa.h"

PYBIND11_MODULE(_cpu, m) {
  namespace py = pybind11;
  if (!sl::isa_available(sl::Isa::base))  // asked before any kernel can run: it would end the process by SIGILL
    throw py::import_error(
        "sublearn needs a processor with SSE4.2 and POPCNT (x86-64-v2), and this one lacks them; a virtual machine may hide "
        "them: give it the processor model of its host");
  m.doc() = "Compiled CPU kernels of sublearn. Arguments are checked by the Python layer.";
  cpu_bindings::register_networks(m);
  cpu_bindings::register_fit(m);
  cpu_bindings::register_searches(m);
  cpu_bindings::register_enclosures(m);
  cpu_bindings::register_ranks(m);
  cpu_bindings::register_projection(m);
  cpu_bindings::register_patterns(m);
  cpu_bindings::register_draws(m);
  cpu_bindings::register_machine(m);
}
