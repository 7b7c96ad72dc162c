// SPDX-License-Identifier: Apache-2.0
// The two halves of parsing a policy's spec: selectors and probes. Used by policy_file.cpp only.
#pragma once

#include <span>

#include "agent/config/policy_file.h"
#include "agent/config/yaml_reader.h"

namespace sonde {

inline constexpr std::size_t kMostEntries = 64;  // of each list in a policy

void read_selectors(MapReader& spec, Policy& policy, bool namespaced);
void read_probes(MapReader& spec, Policy& policy, std::span<const ModuleEntry> modules);
void read_functions(MapReader& spec, Policy& policy, bool namespaced);
void read_traces(MapReader& spec, Policy& policy);

}  // namespace sonde
