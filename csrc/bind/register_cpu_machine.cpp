// What this machine has: instruction sets, threads, the peak of its multiply-add units.
#include "bind/cpu.h"
#include "core/cores.h"
#include "ops/isa.h"
#include "ops/peak.h"

namespace cpu_bindings {
void register_machine(py::module_& m) {
  m.def("fma_peak", [](int bits, int threads) {
    check(bits == 32 || bits == 64, "bits: expected 32 or 64");
    double best = 0;
    for (int repeat = 0; repeat < 5; ++repeat) {
      const auto began = std::chrono::steady_clock::now();
      double done = 0;
      run([&](sl::Control& c) { done = bits == 32 ? sl::fma_rounds32(4'000'000, threads, c) : sl::fma_rounds64(4'000'000, threads, c); });
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
      best = std::max(best, done / took.count() / 1e9);
    }
    return best;
  }, "bits"_a, "threads"_a = 0, "Best of five: GFLOP/s of independent multiply-adds in the chosen instruction set.");
  m.def("isa", [] { return sl::isa_name(sl::isa_chosen()); });
  m.def("isas",
        [](bool compiled) {
    std::vector<std::string> names;
    for (auto isa : {sl::Isa::base, sl::Isa::avx2, sl::Isa::avx512})
      if (compiled ? sl::isa_available(isa) : sl::isa_supported(isa)) names.push_back(sl::isa_name(isa));
    return names;
  }, "compiled"_a = true,
        "Instruction sets that this machine runs, slowest first: those that are compiled in, or all that sublearn knows.");
  m.def("set_isa", [](const std::string& name) {
    for (auto isa : {sl::Isa::base, sl::Isa::avx2, sl::Isa::avx512})
      if (name == sl::isa_name(isa)) return sl::set_isa(isa);
    throw py::value_error("isa: expected base, avx2 or avx512, got " + name);
  }, "name"_a);
  m.def("threads_available", [] { return sl::default_threads(); });
  m.def("quota_cores", [](const std::string& cgroup, const std::string& mountinfo) {
    return sl::quota_cores(cgroup.c_str(), mountinfo.c_str());
  }, "cgroup"_a, "mountinfo"_a, "Cores that the CPU quota of a process allows, inf without one, by two files as in /proc/self; for tests.");
}

}  // namespace cpu_bindings
