// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/fullness.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "agent/base/text.h"
#include "agent/kube/lease.h"

namespace sonde {
namespace {

constexpr uint64_t kPercent = 80;

struct Limit {
  std::string_view map, advice;
};
constexpr Limit kLimits[] = {
    {"sonde_slot_info", "raise limits.subjects (--max-subjects): cgroups without a slot are counted as unattributed"},
    {"sonde_subjects", "raise limits.subjects (--max-subjects): cgroups without room are counted as unattributed"},
    {"sonde_histograms",
     "raise limits.histograms (--max-histograms): samples without a row are counted as lost (no_row)"},
    {"sonde_processes", "raise limits.processes (--max-processes): further processes are counted on their container"},
};

bool is_full(const MapStats& map) { return map.capacity > 0 && map.entries * 100 >= map.capacity * kPercent; }

std::string_view advice_for(const MapStats& map) {
  for (const Limit& limit : kLimits) {
    if (limit.map == map.name) return limit.advice;
  }
  return "what does not fit is counted as lost";
}

std::string sentence(const std::string& module, const MapStats& map) {
  return fmt::format("map {} of {} is {} % full ({} of {}): {}", map.name, module, map.entries * 100 / map.capacity,
                     map.entries, map.capacity, advice_for(map));
}

}  // namespace

void Fullness::note(const KernelStats& stats, uint64_t now_ns) {
  const bool was_full = !warnings_.empty();
  warnings_.clear();
  advice_.clear();
  std::vector<std::string> full;
  for (const ModuleStats& module : stats.modules) {
    for (const MapStats& map : module.maps) {
      if (!is_full(map)) continue;
      warnings_.push_back(sentence(module.name, map));
      if (std::ranges::find(told_, map.name) == told_.end()) spdlog::warn("{}", warnings_.back());
      advice_.push_back(fmt::format("{} of {}: {}", map.name, module.name, advice_for(map)));
      full.push_back(map.name);
    }
  }
  told_ = std::move(full);
  if (was_full == warnings_.empty()) since_ns_ = now_ns;
}

kube::NodeCondition Fullness::condition() const {
  const bool full = !advice_.empty();
  return {"MapsNearlyFull", full, full ? "EightyPercentReached" : "RoomLeft", join(advice_, "; "),
          kube::time_text(since_ns_)};
}

}  // namespace sonde
