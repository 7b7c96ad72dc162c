// SPDX-License-Identifier: Apache-2.0
#include "agent/policy/policy.h"

#include <array>

#include "agent/policy/resolve.h"

namespace sonde {

namespace {

template <typename Enum, std::size_t N>
std::string_view nth(const std::array<std::string_view, N>& words, Enum value) {
  auto at = static_cast<std::size_t>(value);
  return at < N ? words[at] : "?";
}

}  // namespace

std::string_view word_of(Level level) {
  static constexpr std::array<std::string_view, 5> kWords{"None", "Minimal", "Standard", "Detailed", "OptIn"};
  return nth(kWords, level);
}

std::string_view word_of(Granularity granularity) {
  static constexpr std::array<std::string_view, 4> kWords{"Workload", "Pod", "Container", "Process"};
  return nth(kWords, granularity);
}

std::string_view word_of(CleanupStrategy strategy) {
  static constexpr std::array<std::string_view, 3> kWords{"NoCleanup", "KeepRecent", "ClearAfterRead"};
  return nth(kWords, strategy);
}

std::string_view word_of(Mode mode) { return mode == Mode::Exclude ? "Exclude" : "Monitor"; }

namespace {

// All that the probe has, opt-in metrics too.
void include_opt_in(ProbeRequest& request) {
  request.level = Level::Detailed;
  for (const ModuleEntry& entry : modules()) {
    const ModuleInfo& info = entry.module->info();
    if (!stands_for(modules(), request.name, info)) continue;
    for (const MetricSpec& metric : info.metrics) {
      if (metric.level == Level::OptIn) request.include_metrics.emplace_back(metric.name);
    }
  }
}

}  // namespace

Policy default_policy(Level preset, std::span<const std::string> probes) {
  Policy policy;
  policy.name = "default";
  policy.source = "default";
  policy.is_default = true;
  if (probes.empty()) {
    policy.preset = preset;
    return policy;
  }
  policy.preset = Level::None;
  for (const std::string& name : probes) {
    ProbeRequest request;
    request.name = name;
    request.level = preset;
    if (preset == Level::OptIn) include_opt_in(request);
    policy.probes.push_back(std::move(request));
  }
  return policy;
}

}  // namespace sonde
