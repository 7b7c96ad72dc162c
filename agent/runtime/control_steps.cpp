// SPDX-License-Identifier: Apache-2.0
// What of a decision the series limit, the overhead budget and failing collections take away.
#include <algorithm>

#include "agent/runtime/control.h"

namespace sonde {
namespace {

// Lowers one probe of a decision to `level`: the flags follow from the series that remain.
void lower(ProbeDecision& probe, const ModuleInfo& info, Level level) {
  probe.level = level;
  for (std::size_t i = 0; i < info.metrics.size(); ++i) {
    if (info.metrics[i].level > level) probe.metrics &= ~(uint64_t{1} << i);
  }
  probe.flags = flags_of(probe, info);
}

}  // namespace

Decision Control::adjusted(Decision decision) const {
  const auto limited = lowered_.empty() ? lowered_.end() : lowered_.find(series_limit_owner(decision));
  for (std::size_t i = 0; limited != lowered_.end() && i < decision.probes.size(); ++i) {
    ProbeDecision& probe = decision.probes[i];
    const int level = std::max(static_cast<int>(probe.level) - limited->second, static_cast<int>(Level::Minimal));
    if (probe.level > Level::Minimal) lower(probe, context_.modules[i].module->info(), static_cast<Level>(level));
  }
  for (std::size_t i = 0; i < steps_.size() && i < decision.probes.size(); ++i) {
    ProbeDecision& probe = decision.probes[i];
    if (probe.level == Level::None && !probe.metrics) continue;
    const ModuleInfo& info = context_.modules[i].module->info();
    if (steps_[i] == OverheadStep::Off) {
      probe = ProbeDecision{};
      continue;
    }
    if (steps_[i] >= OverheadStep::Sampled) {
      probe.sample_every = static_cast<uint16_t>(std::min<uint32_t>(probe.sample_every * kSampleFactor, 60'000));
    }
    if (steps_[i] == OverheadStep::Lowered && probe.level > Level::Minimal) {
      lower(probe, info, static_cast<Level>(static_cast<int>(probe.level) - 1));
    }
  }
  return decision;
}

}  // namespace sonde
