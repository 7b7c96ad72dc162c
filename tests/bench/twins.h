// SPDX-License-Identifier: Apache-2.0
// For every program of a probe an empty one on the same hook: what the kernel takes for running anything there.
#pragma once

#include <string>
#include <vector>

#include "tests/bench/variants.h"

namespace sonde::bench {

// Is it a hook that an empty program can be attached to here: tracepoints of all kinds, fentry, fexit, packets of
// cgroups, perf events.
bool has_twin(const std::string& hook);

// Empty programs on these hooks, two on one that is named twice. Hooks without a twin are left out.
Variant empty_twins(const std::string& name, const std::vector<std::string>& hooks);

}  // namespace sonde::bench
