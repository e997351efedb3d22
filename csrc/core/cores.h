// cores.h: how many threads a call takes where nobody says.
//
//   SUBLEARN_NUM_THREADS, else OMP_NUM_THREADS (the first of a list), else the cores this process may use: those of its affinity, and no
//   more than the CPU quota of its control group allows (docker --cpus, Kubernetes limits), rounded up.
// The variables and the quota are read once, when first asked for; the affinity each time.
#pragma once

namespace sl {

// At least 1. Throws std::invalid_argument where SUBLEARN_NUM_THREADS is no whole number from 1 on; an OMP_NUM_THREADS that is none is
// another library's, and does not count.
int default_threads();

// Cores that the quotas of a process allow, those of the groups around its own included; infinity without one. The files are
// /proc/self/cgroup and /proc/self/mountinfo, or others of their form (tests). Control groups of version 1 and 2.
double quota_cores(const char* cgroup_file, const char* mountinfo_file);

}  // namespace sl
