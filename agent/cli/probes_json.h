// SPDX-License-Identifier: Apache-2.0
// `sonde probes -o json` (docs/ops/probes.schema.json): every probe from the tables that docs/ops/metrics.md is made from, with
// what a running agent says of it.
#pragma once

#include <nlohmann/json.hpp>
#include <span>

#include "agent/module/module.h"

namespace sonde::cli {

// `running`: "modules" of /statusz; an empty list if no agent runs.
nlohmann::ordered_json probes_json(const nlohmann::ordered_json& running,
                                   std::span<const ModuleEntry> modules = sonde::modules());

}  // namespace sonde::cli
