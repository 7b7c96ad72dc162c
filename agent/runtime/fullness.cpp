// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/fullness.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace sonde {
namespace {

constexpr uint64_t kPercent = 80;

struct Limit {
  std::string_view map, advice;
};
constexpr Limit kLimits[] = {
    {"sonde_slot_info", "raise limits.subjects (--max-subjects): what finds no slot counts as unattributed"},
    {"sonde_subjects", "raise limits.subjects (--max-subjects): what finds no room counts as unattributed"},
    {"sonde_histograms",
     "raise limits.histograms (--max-histograms): a sample without a row is counted as lost (no_row)"},
    {"sonde_processes", "raise limits.processes (--max-processes): others count on their container"},
};

bool is_full(const MapStats& map) { return map.capacity > 0 && map.entries * 100 >= map.capacity * kPercent; }

std::string sentence(const std::string& module, const MapStats& map) {
  std::string_view advice = "what finds no room is counted as lost";
  for (const Limit& limit : kLimits) {
    if (limit.map == map.name) advice = limit.advice;
  }
  return fmt::format("map {} of {} is {} % full ({} of {}): {}", map.name, module, map.entries * 100 / map.capacity,
                     map.entries, map.capacity, advice);
}

}  // namespace

void Fullness::note(const KernelStats& stats) {
  warnings_.clear();
  std::vector<std::string> full;
  for (const ModuleStats& module : stats.modules) {
    for (const MapStats& map : module.maps) {
      if (!is_full(map)) continue;
      warnings_.push_back(sentence(module.name, map));
      if (std::ranges::find(told_, map.name) == told_.end()) spdlog::warn("{}", warnings_.back());
      full.push_back(map.name);
    }
  }
  told_ = std::move(full);
}

}  // namespace sonde
