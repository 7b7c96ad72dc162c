// SPDX-License-Identifier: Apache-2.0
// A file of MonitorPolicy and ClusterMonitorPolicy documents (docs/ops/policies.md) as Policies, strictly: a file with
// any problem gives none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/module/module.h"
#include "agent/policy/policy.h"

namespace sonde {

struct PolicyFile {
  std::vector<Policy> policies;
  std::vector<uint64_t> fingerprints;  // of each policy's spec: equal if nothing in it changed
  std::vector<std::string> problems;   // "file:line:column: sentence"; not empty: do not use the policies
  std::vector<std::string> notes;      // the same form; what is well written and has no effect in this build
};

// `name` is how messages call the file; `created_ns` (CLOCK_REALTIME) starts activeForSeconds.
PolicyFile parse_policies(std::string_view text, const std::string& name, uint64_t created_ns,
                          std::span<const ModuleEntry> modules = sonde::modules());

}  // namespace sonde
