// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/failures.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace sonde {

void Failures::note(std::span<const CollectFailure> failures, std::span<const OverheadStep> steps, uint64_t now_ns) {
  for (std::size_t i = 0; i < backoff_.size(); ++i) {
    if (i < steps.size() && steps[i] == OverheadStep::Off) continue;
    const auto failed = std::ranges::find(failures, static_cast<uint16_t>(i), &CollectFailure::module);
    if (failed == failures.end()) {
      backoff_[i].succeeded(now_ns);
      continue;
    }
    ++counted_[i];
    backoff_[i].failed(now_ns, failed->why);
    spdlog::warn("{}: {}", modules()[i].module->info().name, backoff_[i].reason(now_ns));
  }
}

std::vector<OverheadStep> Failures::over(std::vector<OverheadStep> steps, uint64_t now_ns) const {
  steps.resize(backoff_.size());
  for (std::size_t i = 0; i < backoff_.size(); ++i) {
    if (!backoff_[i].allowed(now_ns)) steps[i] = OverheadStep::Off;
  }
  return steps;
}

}  // namespace sonde
