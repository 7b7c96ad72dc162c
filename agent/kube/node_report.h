// SPDX-License-Identifier: Apache-2.0
// What one agent tells the cluster about its node: the status of a SondeNode (crds/sondenodes.yaml). Plain data,
// written by the agent, read by the operator. As JSON it has at most room_for() bytes: etcd and a watch hold one per
// node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"

namespace sonde::kube {

inline constexpr std::size_t kMostReportBytes = 64 << 10;
// 2 KB for the node and a quarter of one for each policy, kMostReportBytes at most.
std::size_t room_for(std::size_t policies);

// A probe that lacks something or does not work here.
struct ProbeProblem {
  std::string name;
  std::string state;   // Degraded, Failed, Disabled
  std::string reason;  // a word in CamelCase
  std::string message;
  friend bool operator==(const ProbeProblem&, const ProbeProblem&) = default;
};

// Something that a policy asks for and does not get here.
struct PolicyFailure {
  std::string probe;  // io, function/wal_flush
  std::string reason;
  std::string message;
  friend bool operator==(const PolicyFailure&, const PolicyFailure&) = default;
};

// What is so of the node as a whole, or is not.
struct NodeCondition {
  std::string type;  // MapsNearlyFull
  bool value = false;
  std::string reason;  // a word in CamelCase
  std::string message;
  std::string since;  // RFC 3339: since when it is as it is
  friend bool operator==(const NodeCondition&, const NodeCondition&) = default;
};

struct PolicyEntry {
  std::string namespace_name;  // empty: a ClusterMonitorPolicy
  std::string name;
  int64_t generation = 0;               // that is in force
  std::string state;                    // Applied, Degraded, Failed, Expired
  uint32_t matched = 0;                 // containers
  std::vector<std::string> conditions;  // those that are True here, sorted
  std::string message;                  // of Overridden: the first sentence
  std::vector<PolicyFailure> failures;
  friend bool operator==(const PolicyEntry&, const PolicyEntry&) = default;
};

struct NodeReport {
  std::string agent_version, kernel, lockdown, identity_source;
  bool btf = false;
  uint32_t probes_ok = 0;
  uint32_t probes_degraded = 0;
  uint64_t series = 0;
  uint32_t containers = 0;  // that are measured
  std::vector<NodeCondition> conditions;
  std::vector<ProbeProblem> probes;
  std::vector<PolicyEntry> policies;  // in order of precedence
  uint32_t omitted_policies = 0;      // for which there was no room
  friend bool operator==(const NodeReport&, const NodeReport&) = default;
};

// The status as JSON. What does not fit goes in this order: messages, failures beyond one of a policy, probes. Each
// policy has room for its state, counts, conditions and one failure, so policies themselves are left out only beyond
// some 250 of them (the last first, which are then counted as omitted).
std::string status_json(NodeReport report);

struct NamedReport {
  std::string node;
  NodeReport report;
};
// Of a SondeNode object. One without status is a report that says nothing.
Result<NamedReport> node_report_of(const nlohmann::json& object);

// Apart from counts that move all the time (series, containers): is it the same news?
bool same_substance(const NodeReport& a, const NodeReport& b);

}  // namespace sonde::kube
