// SPDX-License-Identifier: Apache-2.0
// The two halves of parsing a policy's spec: selectors and probes. Used by policy_file.cpp only.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "agent/config/policy_file.h"
#include "agent/config/yaml_reader.h"

namespace sonde {

inline constexpr std::size_t kMostEntries = 64;  // of each list in a policy
// The words of a level, in the order of the enumeration.
inline constexpr std::array<std::string_view, 4> kLevels{"None", "Minimal", "Standard", "Detailed"};

void read_selectors(MapReader& spec, Policy& policy, bool namespaced);
void read_probes(MapReader& spec, Policy& policy, std::span<const ModuleEntry> modules);
void read_functions(MapReader& spec, Policy& policy, bool namespaced);
void read_traces(MapReader& spec, Policy& policy);

}  // namespace sonde
