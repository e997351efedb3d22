// planted_races.h: see planted_races.cpp.
#pragma once

namespace sl {
namespace cuda {
enum class PlantedRace { none, no_barrier, one_buffer, no_atomic };
int planted_race(PlantedRace race);  // 40 * 39 / 2 + 32 * 31 / 2 = 1276 where the lanes are ordered
}  // namespace cuda
}  // namespace sl
