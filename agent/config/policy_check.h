// SPDX-License-Identifier: Apache-2.0
// `sonde policy check FILE… [--estimate]`: what a policy would do, without a cluster, without privileges, without an
// agent.
#pragma once

#include <string>
#include <vector>

#include "agent/config/policy_file.h"
#include "agent/policy/estimate.h"
#include "agent/policy/resolve.h"

namespace sonde {

struct PolicyCheckOptions {
  bool estimate = false;  // series, ns per operation, kernel bytes
  bool json = false;
  ResolveContext context;  // defaults, ceilings and modules (Config::resolve_context)
  KernelLimits limits;     // Config::limits
};

struct PolicyCheck {
  std::string output;    // for standard output, each line ends in a newline
  std::string problems;  // for standard error, one a line; empty with `json`, which holds them
  int exit_code = 0;     // 0: all good, 2: something is wrong
};

// Files, or directories whose *.yaml and *.yml are meant.
PolicyCheck check_policies(const std::vector<std::string>& paths, const PolicyCheckOptions& options);

}  // namespace sonde
