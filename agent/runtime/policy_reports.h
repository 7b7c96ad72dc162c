// SPDX-License-Identifier: Apache-2.0
// State of each policy on this node, for all who report it: /statusz, the SondeNode.
#pragma once

#include <string>
#include <vector>

#include "agent/kube/node_report.h"
#include "agent/policy/plan.h"
#include "agent/runtime/status_sources.h"

namespace sonde {

// What of a policy does not work, or is refused.
struct PolicyTrouble {
  std::string probe;    // io, function/wal_flush
  std::string reason;   // a word
  std::string message;  // a sentence
  uint32_t asked = 0;   // containers
  uint32_t attached = 0;
};

struct PolicyReport {
  PolicyStatus status;
  const Policy* policy = nullptr;       // as long as Control's stand
  std::vector<std::string> conditions;  // those that are true, sorted
  std::vector<PolicyTrouble> troubles;  // each probe once
};

// In order of precedence. By the loop's thread.
std::vector<PolicyReport> policy_reports(const StatusSources& sources);

// Of the machine, whatever the agent can do on it: kernel, BTF, lockdown; and the agent's version.
kube::NodeReport report_of_machine();

// Counts the probes that work, and lists the others with their reasons: failed ones first.
void add_probes(const std::vector<ModuleReport>& modules, kube::NodeReport& report);

// Policies that this agent cannot read.
std::vector<kube::PolicyEntry> refused_entries(const Policies& policies);

// What the SondeNode is to say: of the policies of the API server, those that have to do with this node.
kube::NodeReport node_report(const StatusSources& sources);

}  // namespace sonde
