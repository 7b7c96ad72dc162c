// SPDX-License-Identifier: Apache-2.0
// Kernel memory before anything is loaded: every BPF object is opened and its maps are sized as the engine would, for any
// number of CPUs. No right is needed. The arithmetic is the kernel's own (its map_mem_usage() functions, Linux 6.4 and later);
// a kernel test holds it against what the kernel says of the maps as loaded.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"
#include "agent/kernel/core.h"
#include "agent/module/module.h"

namespace sonde {

inline constexpr uint64_t kKernelMemoryLimit = 64ULL << 20;

struct PlanSizes {
  CoreSizes core{};      // as the engine is given them
  uint32_t cpus = 128;   // possible ones
  uint32_t threads = 0;  // that have task storage: assumed, the kernel bounds them
  uint32_t sockets = 0;  // that have socket storage: likewise
};

struct MapPlan {
  std::string module;  // "core" or a module
  std::string map;
  std::string_view kind;  // "array", "per-CPU array", "hash", …
  uint64_t key_bytes = 0;
  uint64_t value_bytes = 0;
  uint64_t entries = 0;  // of storages: threads or sockets as assumed
  bool per_cpu = false;  // values × CPUs
  bool assumed = false;  // grows with threads or sockets, not bounded by a size
  uint64_t bytes = 0;
};

// Error: an object that cannot be opened or prepared, which the engine could not load either.
Result<std::vector<MapPlan>> plan_maps(const PlanSizes& sizes, std::span<const ModuleEntry> modules = sonde::modules());
uint64_t total_bytes(std::span<const MapPlan> maps);

// Of one map; `type` as enum bpf_map_type. Hash tables that allocate on demand count as full.
uint64_t map_bytes(uint32_t type, uint32_t flags, uint64_t key, uint64_t value, uint64_t entries, uint64_t cpus);

// Of the pool and the list of what is free in it.
uint64_t histogram_pool_bytes(uint64_t histograms);

// Histograms in the pool that one container takes when all of this level have moved. Each keyed one: `keys` of its keys.
uint32_t histograms_of_container(std::span<const ModuleEntry> modules, Level level, uint32_t keys);
// Likewise those of the node, once.
uint32_t histograms_of_node(std::span<const ModuleEntry> modules, Level level, uint32_t keys);

}  // namespace sonde
