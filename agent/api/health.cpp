// SPDX-License-Identifier: Apache-2.0
#include "agent/api/health.h"

#include <algorithm>
#include <utility>

namespace sonde {

void HealthChecks::add(HealthKind kind, std::string name, Check check) {
  const MutexLock lock(mutex_);
  entries_.push_back({kind, std::move(name), std::move(check)});
}

void HealthChecks::shutting_down() {
  const MutexLock lock(mutex_);
  shutting_down_ = true;
}

std::vector<HealthResult> HealthChecks::run(HealthKind kind) const {
  std::vector<Entry> entries;
  bool shutting_down;
  {
    // The checks run without the lock: one may take a while.
    const MutexLock lock(mutex_);
    entries = entries_;
    shutting_down = shutting_down_;
  }
  std::vector<HealthResult> out;
  for (const Entry& entry : entries) {
    if (kind == HealthKind::Live && entry.kind != HealthKind::Live) continue;
    Result<void> result = entry.check();
    out.push_back({entry.name, static_cast<bool>(result), result ? "" : result.error().message()});
  }
  if (kind == HealthKind::Ready)
    out.push_back({"shutdown", !shutting_down, shutting_down ? "the agent is shutting down" : ""});
  return out;
}

bool HealthChecks::ok(HealthKind kind) const {
  std::vector<HealthResult> results = run(kind);
  return std::all_of(results.begin(), results.end(), [](const HealthResult& result) { return result.ok; });
}

}  // namespace sonde
