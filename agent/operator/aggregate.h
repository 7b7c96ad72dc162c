// SPDX-License-Identifier: Apache-2.0
// Aggregates the reports of the nodes into the status of a policy. Pure: no clocks, no API server.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/kube/node_report.h"
#include "agent/policy/policy.h"

namespace sonde::operators {

inline constexpr std::size_t kMostFailures = 10;

struct Condition {
  std::string type;
  bool value = false;
  std::string reason;
  std::string message;
  int64_t generation = 0;
  std::string since;     // lastTransitionTime
  bool unknown = false;  // neither True nor False; `value` is then false
  friend bool operator==(const Condition&, const Condition&) = default;
};

struct StatusFailure {
  std::string node, probe, reason, message;
  std::string since;
  friend bool operator==(const StatusFailure&, const StatusFailure&) = default;
};

// The status of a MonitorPolicy or ClusterMonitorPolicy, as defined in crds/.
struct PolicyStatusDocument {
  int64_t observed_generation = 0;
  uint32_t desired = 0;   // nodes concerned
  uint32_t applied = 0;   // nodes on which this generation is in force
  uint32_t failed = 0;    // nodes on which some part does not work
  uint32_t outdated = 0;  // nodes that do not have this generation yet
  uint64_t matched = 0;   // containers
  std::vector<Condition> conditions;
  std::vector<StatusFailure> failures;
  friend bool operator==(const PolicyStatusDocument&, const PolicyStatusDocument&) = default;

  const Condition* find(std::string_view type) const;
  bool is(std::string_view type) const;
};

// What the operator needs from a policy object.
struct PolicyFacts {
  std::string kind, namespace_name, name, uid;
  int64_t generation = 0;
  bool excludes = false;
  std::optional<LabelSelector> node_selector;
  std::vector<std::string> problems;  // why it is invalid; empty: it is valid
  PolicyStatusDocument status;        // the current one at the API server
};

struct Reported {
  std::string_view node;
  const kube::PolicyEntry* entry = nullptr;
};

// What is known about one policy.
struct Evidence {
  uint32_t nodes = 0;         // with an agent and selected by nodeSelector; not used for namespaced policies
  uint32_t without_room = 0;  // selected by nodeSelector, whose agents had no room to report this policy
  std::vector<Reported> reported;
  bool patience_over = false;  // agents have had enough time for this generation
};

// `now` becomes lastTransitionTime of new entries. Entries already in `facts.status` keep their time.
PolicyStatusDocument aggregate(const PolicyFacts& facts, Evidence evidence, const std::string& now);

// Whether all agents have reported; otherwise a status written now would soon be outdated.
bool complete(const PolicyStatusDocument& status);

// Whether only container counts differ.
bool same_but_counts(const PolicyStatusDocument& a, const PolicyStatusDocument& b);

// The body of a merge patch of /status.
std::string status_patch(const PolicyStatusDocument& status);

}  // namespace sonde::operators
