// SPDX-License-Identifier: Apache-2.0
// `sonde doctor --plan`: kernel memory of all maps for so many containers on so many CPUs, by module, kind of map and level.
#pragma once

#include <string>
#include <vector>

#include "agent/base/result.h"
#include "agent/kernel/map_plan.h"
#include "agent/policy/estimate.h"

namespace sonde::cli {

// What the kernel bounds and no map's size does: assumed, and named as such.
inline constexpr uint32_t kThreadsPerContainer = 10;
inline constexpr uint32_t kSocketsPerContainer = 4;
inline constexpr uint32_t kKeysPerHistogram = 4;  // devices, interrupts, locks that a subject meets

struct LevelPlan {
  Level level = Level::None;
  uint64_t histograms = 0;  // that all containers take when everything of this level has moved
  uint64_t bytes = 0;       // of all maps, with a pool that holds them
};

struct MemoryPlan {
  uint32_t containers = 0;
  uint32_t cpus = 0;
  KernelLimits limits;  // of the configuration, raised to the containers where they are more
  bool raised = false;
  std::vector<MapPlan> maps;
  std::vector<LevelPlan> levels;

  uint64_t bytes() const { return total_bytes(maps); }
  bool fits() const { return bytes() <= kKernelMemoryLimit; }
};

Result<MemoryPlan> make_memory_plan(const KernelLimits& limits, uint32_t containers, uint32_t cpus);
// An error if the maps of an agent with these limits on a machine of that many processors would take more than a quarter of
// its memory. Nothing is looked at where the limits are not raised.
Result<void> check_fits(const KernelLimits& limits, uint32_t cpus, uint64_t machine_bytes);
std::string plan_text(const MemoryPlan& plan);
std::string plan_json(const MemoryPlan& plan);

}  // namespace sonde::cli
