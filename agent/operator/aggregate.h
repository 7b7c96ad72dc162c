// SPDX-License-Identifier: Apache-2.0
// From what the nodes report to the status of a policy. Pure: no clocks, no API server.
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

// The status of a MonitorPolicy or ClusterMonitorPolicy, as crds/ has it.
struct PolicyStatusDocument {
  int64_t observed_generation = 0;
  uint32_t desired = 0;   // nodes that have to do with it
  uint32_t applied = 0;   // where this generation is in force
  uint32_t failed = 0;    // where something of it does not work
  uint32_t outdated = 0;  // that do not have this generation yet
  uint64_t matched = 0;   // containers
  std::vector<Condition> conditions;
  std::vector<StatusFailure> failures;
  friend bool operator==(const PolicyStatusDocument&, const PolicyStatusDocument&) = default;

  const Condition* find(std::string_view type) const;
  bool is(std::string_view type) const;
};

// What the operator wants to know of a policy object.
struct PolicyFacts {
  std::string kind, namespace_name, name, uid;
  int64_t generation = 0;
  bool excludes = false;
  std::optional<LabelSelector> node_selector;
  std::vector<std::string> problems;  // why it cannot be understood; empty: it can
  PolicyStatusDocument status;        // as it stands at the API server
};

struct Reported {
  std::string_view node;
  const kube::PolicyEntry* entry = nullptr;
};

// What is known about one policy.
struct Evidence {
  uint32_t nodes = 0;  // that have an agent and that nodeSelector selects; not used for policies of a namespace
  uint32_t without_room =
      0;  // that nodeSelector selects, whose agents had no room for all policies and not for this one
  std::vector<Reported> reported;
  bool patience_over = false;  // agents have had all the time they need for this generation
};

// `now` becomes lastTransitionTime of what is new. What `facts.status` has already keeps its time.
PolicyStatusDocument aggregate(const PolicyFacts& facts, Evidence evidence, const std::string& now);

// All of it is told now, or agents may still tell: a status now would soon be wrong.
bool complete(const PolicyStatusDocument& status);

// Only counts of containers differ.
bool same_but_counts(const PolicyStatusDocument& a, const PolicyStatusDocument& b);

// The body of a merge patch of /status.
std::string status_patch(const PolicyStatusDocument& status);

}  // namespace sonde::operators
