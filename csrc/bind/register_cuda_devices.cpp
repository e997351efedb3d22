// Devices and their streams, and what tests and measurements may set.
#include "bind/cuda.h"
#include "core/error.h"

#if defined(SL_EMULATE)
#include "cuda/emulation/planted_limit.h"
#include "cuda/emulation/runtime.h"
#if defined(SL_RACES)
#include "cuda/emulation/planted_races.h"
#endif
#endif

namespace cuda_bindings {
void register_devices(py::module_& m) {
  m.def("device_count", &sl::cuda::device_count);
  m.def("why_no_device", &sl::cuda::why_no_device);
  m.def("device_of", [](uintptr_t p) { return sl::cuda::device_of(reinterpret_cast<const void*>(p)); }, "pointer"_a);
  m.def("device_info", [](int device) {
    const sl::cuda::Device d = sl::cuda::device_info(device);
    return py::dict("name"_a = d.name, "capability"_a = py::make_tuple(d.major, d.minor), "multiprocessors"_a = d.multiprocessors,
                    "total_bytes"_a = d.total_bytes, "free_bytes"_a = d.free_bytes);
  }, "device"_a = 0);
  m.def("free_bytes", &sl::cuda::free_bytes, "device"_a);
  m.def("let_wait", [](int device, uintptr_t later, uintptr_t earlier) {
    WithoutGil unlocked;
    sl::cuda::Stream(reinterpret_cast<void*>(earlier), device).let_wait(reinterpret_cast<void*>(later));
  }, "device"_a, "later"_a, "earlier"_a, "What `later` does from now on waits for what `earlier` has been given so far.");
#if defined(SL_EMULATE)
  m.def("pretend",
        [](bool busy, bool capturing, bool passed, bool pageable) {
    sl::emulate::pretence().busy = busy;
    sl::emulate::pretence().capturing = capturing;
    sl::emulate::pretence().passed = passed;
    sl::emulate::pretence().pageable = pageable;
  }, "busy"_a = false, "capturing"_a = false, "passed"_a = false, "pageable"_a = false,
        "For tests: events do not happen; a graph is being captured; events have happened at once; no host memory is pinned.");
  m.def("finish", [] {
    WithoutGil unlocked;
    const cudaError_t code = cudaDeviceSynchronize();
    if (code != cudaSuccess) throw sl::Error(cudaGetErrorString(code));
  }, "For tests: waits for all streams.");
  m.def("planted_limit", &sl::cuda::planted_limit, "by_call"_a,
        "For tests: one kernel with two sizes of shared memory, allowed once or, by mistake, call by call.");
#endif
#if defined(SL_RACES)
  m.attr("RACES") = true;
  m.def("planted_race", [](int race) { return sl::cuda::planted_race(static_cast<sl::cuda::PlantedRace>(race)); }, "race"_a);
#endif
  m.def("synchronize", [](int device, uintptr_t stream) {
    WithoutGil unlocked;
    sl::cuda::Stream(reinterpret_cast<void*>(stream), device).wait();
  }, "device"_a = 0, "stream"_a = 0);
  m.def("strips", [](size_t most) {
    sl::cuda::strip_tuning().most = most;
    return sl::cuda::strip_tuning().last.load();
  }, "most"_a, "Bytes per warp up to which tables lie in shared memory, 0: the constants of the kernels. Returns the last launch's.");
}

}  // namespace cuda_bindings
