// SPDX-License-Identifier: Apache-2.0
// What a policy asks for and may not have: by its namespace, or by the ceilings of the agent's configuration. Pure.
#pragma once

#include <string>
#include <vector>

#include "agent/policy/policy.h"
#include "agent/policy/resolve.h"

namespace sonde {

struct RefusedAsk {
  std::string probe;    // io, function/wal_flush; each once
  std::string reason;   // NotAllowed, BeyondCeiling
  std::string message;  // a sentence that says who may
};

// In the order of the policy's text: probes, then functions.
std::vector<RefusedAsk> refused_asks(const Policy& policy, const ResolveContext& context);

}  // namespace sonde
