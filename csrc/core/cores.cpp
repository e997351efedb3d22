#include "core/cores.h"

#include <sched.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

namespace sl {
namespace {

constexpr double kNoQuota = std::numeric_limits<double>::infinity();

// Whether `name` is one of a list with commas.
bool listed(const std::string& list, const std::string& name) { return ("," + list + ",").find("," + name + ",") != std::string::npos; }

// The kernel writes blanks in paths as \040.
std::string unescaped(const std::string& path) {
  std::string out;
  for (size_t k = 0; k < path.size(); ++k) {
    if (path[k] == '\\' && k + 3 < path.size()) {
      out += static_cast<char>(std::strtol(path.substr(k + 1, 3).c_str(), nullptr, 8));
      k += 3;
    } else {
      out += path[k];
    }
  }
  return out;
}

// The path of this process among the groups of version 2 (controller empty), or of a controller of version 1; empty if there is none.
std::string group_of(const char* cgroup_file, const std::string& controller) {
  std::ifstream file(cgroup_file);
  for (std::string line; std::getline(file, line);) {  // number:controllers:path
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? controllers.empty() : listed(controllers, controller)) return line.substr(second + 1);
  }
  return "";
}

double quota_in(const std::string& folder, bool second_version) {
  double quota = -1, period = 0;
  if (second_version) {
    std::string most;
    std::ifstream(folder + "/cpu.max") >> most >> period;  // "max 100000" or "50000 100000"
    if (most != "max") quota = std::atof(most.c_str());
  } else {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;  // -1: none
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : kNoQuota;
}

// The least quota from the group at `path` up to the one that is mounted.
double quota_along(const std::string& mount, const std::string& root, std::string path, bool second_version) {
  // A container may see its group from outside: the mount then shows what is below `root`, or, if the path lies elsewhere, the group
  // itself.
  if (root != "/") {
    const bool below = path.compare(0, root.size(), root) == 0 && (path.size() == root.size() || path[root.size()] == '/');
    path = below ? path.substr(root.size()) : "";
  }
  if (path.find("/..") != std::string::npos) path.clear();
  double least = kNoQuota;
  for (;;) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    least = std::min(least, quota_in(mount + path, second_version));
    if (path.empty()) return least;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

// 0 for what is no whole number from 1 to the largest int.
int whole(const std::string& text) {
  const auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  const auto first = std::find_if_not(text.begin(), text.end(), blank);
  const auto last = std::find_if_not(text.rbegin(), text.rend(), blank).base();
  int64_t value = 0;
  for (auto c = first; c < last; ++c) {
    if (*c < '0' || *c > '9') return 0;
    value = 10 * value + (*c - '0');
    if (value > std::numeric_limits<int>::max()) return 0;
  }
  return static_cast<int>(value);
}

// What the variables say; 0 where they say nothing.
int threads_wanted() {
  const char* own = std::getenv("SUBLEARN_NUM_THREADS");
  if (own && *own) {
    const int threads = whole(own);
    if (threads < 1)
      throw std::invalid_argument(std::string("SUBLEARN_NUM_THREADS: expected a whole number from 1 to 2147483647, got '") + own + "'");
    return threads;
  }
  const char* others = std::getenv("OMP_NUM_THREADS");
  return others ? whole(std::string(others).substr(0, std::string(others).find(','))) : 0;
}

int affine_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    const int n = CPU_COUNT(&set);
    if (n > 0) return n;
  }
  const unsigned n = std::thread::hardware_concurrency();
  return n ? static_cast<int>(n) : 1;
}

}  // namespace

double quota_cores(const char* cgroup_file, const char* mountinfo_file) {
  double least = kNoQuota;
  std::ifstream file(mountinfo_file);
  for (std::string line; std::getline(file, line);) {  // id parent device root mount options [more] - type source options
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream front(line), back(line.substr(dash + 3));
    std::string skip, root, mount, type, options;
    front >> skip >> skip >> skip >> root >> mount;
    back >> type >> skip >> options;
    const bool second_version = type == "cgroup2";
    if (!second_version && !(type == "cgroup" && listed(options, "cpu"))) continue;
    const std::string path = group_of(cgroup_file, second_version ? "" : "cpu");
    if (!path.empty()) least = std::min(least, quota_along(unescaped(mount), unescaped(root), path, second_version));
  }
  return least;
}

int default_threads() {
  static const int wanted = threads_wanted();
  if (wanted > 0) return wanted;
  static const double quota = quota_cores("/proc/self/cgroup", "/proc/self/mountinfo");
  const int cores = affine_cores();
  return quota < cores ? std::max(1, static_cast<int>(std::ceil(quota))) : cores;
}

}  // namespace sl
