// SPDX-License-Identifier: Apache-2.0
// From `traces` of a policy to what is recorded. Pure. The default thresholds are in docs/ops/traces.md.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "agent/policy/decision.h"

namespace sonde {

class TraceRules {
 public:
  // `functions`: those that are measured for the subject.
  TraceRules(std::span<const ModuleEntry> modules, const Policy& policy, std::span<const FunctionAsk> functions);

  // Without policy: the caller knows its name, and the ceilings.
  const TraceSettings& settings() const { return settings_; }
  // What the policy names and this version does not record, for its status.
  const std::vector<std::string>& sentences() const { return sentences_; }

 private:
  void add_operations(const Policy& policy);
  void add_functions(const Policy& policy, std::span<const FunctionAsk> functions);
  bool recordable(SpanOperation operation) const { return (recordable_ >> static_cast<unsigned>(operation) & 1) != 0; }
  void say_unrecorded(const Policy& policy);

  uint32_t recordable_ = 0;  // bit per operation: some module sends spans of it
  TraceSettings settings_;
  std::vector<std::string> sentences_;
};

}  // namespace sonde
