// SPDX-License-Identifier: Apache-2.0
// Why nothing at all is measured here: of the machine, the agent's rights, or the policies; not of the configuration.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agent/config/config.h"

namespace sonde {

struct Obstacle {
  // As in status and SondeNode: NoCgroupV2, NoBtf, MissingCapability, BpfRefused, NodeRebootedAfterAttach, Excluded
  std::string reason;
  std::string message;  // a sentence that says what to do
  friend bool operator==(const Obstacle&, const Obstacle&) = default;
};

// It is wanted so: a policy of this name excludes everything on this node. Nothing is wrong, and the agent is ready.
Obstacle exclusion(const std::string& policy);
inline bool is_wanted(const Obstacle& obstacle) { return obstacle.reason == "Excluded"; }

// Files and rights first; where those are fine the core object is loaded for a moment. None: the machine can be measured.
std::optional<Obstacle> find_obstacle(const Config& config);

// What to do when the kernel refuses the core object, whose error says `finding`.
std::string core_remedy(bool may_load, std::string_view finding);

// Will the agent be started again whenever it ends? True in a pod and wherever an API server is configured: there it must
// not end over what only an administrator can change.
bool is_kept_running(const Config& config, const GetEnv& env);

}  // namespace sonde
