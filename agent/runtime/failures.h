// SPDX-License-Identifier: Apache-2.0
// Modules whose collections fail: counted, switched off when they go on failing, tried again after a growing time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "agent/kernel/engine.h"
#include "agent/pipeline/budget.h"

namespace sonde {

class Failures {
 public:
  explicit Failures(std::size_t modules, BackoffOptions options = {})
      : backoff_(modules, FailureBackoff(options)), counted_(modules) {}

  // After a collection; `steps` are those that were in force: a module that was off neither failed nor succeeded.
  void note(std::span<const CollectFailure> failures, std::span<const OverheadStep> steps, uint64_t now_ns);
  // Off for the modules that have to wait; the others stay as the budget has them.
  std::vector<OverheadStep> over(std::vector<OverheadStep> steps, uint64_t now_ns) const;

  uint64_t count(std::size_t module) const { return counted_[module]; }
  // A sentence for status; empty while it works.
  std::string reason(std::size_t module, uint64_t now_ns) const { return backoff_[module].reason(now_ns); }

 private:
  std::vector<FailureBackoff> backoff_;
  std::vector<uint64_t> counted_;  // since the start
};

}  // namespace sonde
