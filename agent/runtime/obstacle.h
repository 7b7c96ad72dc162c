// SPDX-License-Identifier: Apache-2.0
// Why nothing at all can be measured here: of the machine and the agent's rights, not of the configuration.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agent/config/config.h"

namespace sonde {

struct Obstacle {
  std::string reason;   // NoCgroupV2, NoBtf, MissingCapability, BpfRefused: as in status and SondeNode
  std::string message;  // a sentence that says what to do
  friend bool operator==(const Obstacle&, const Obstacle&) = default;
};

// Files and rights first; where those are fine the core object is loaded for a moment. None: the machine can be measured.
std::optional<Obstacle> find_obstacle(const Config& config);

// What to do when the kernel refuses the core object, whose error says `finding`.
std::string core_remedy(bool may_load, std::string_view finding);

// Will the agent be started again whenever it ends? True in a pod and wherever an API server is configured: there it must
// not end over what only an administrator can change.
bool is_kept_running(const Config& config, const GetEnv& env);

}  // namespace sonde
