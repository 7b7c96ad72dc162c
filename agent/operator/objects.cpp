// SPDX-License-Identifier: Apache-2.0
#include "agent/operator/objects.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/base/json.h"
#include "agent/base/text.h"
#include "agent/config/policy_file.h"

namespace sonde::operators {
namespace {

using Json = nlohmann::json;

PolicyStatusDocument status_of(const Json& json) {
  PolicyStatusDocument status;
  status.observed_generation = static_cast<int64_t>(number_in(json, "observedGeneration"));
  status.desired = static_cast<uint32_t>(number_in(json, "desiredNodes"));
  status.applied = static_cast<uint32_t>(number_in(json, "appliedNodes"));
  status.failed = static_cast<uint32_t>(number_in(json, "failedNodes"));
  status.outdated = static_cast<uint32_t>(number_in(json, "outdatedNodes"));
  status.matched = static_cast<uint64_t>(number_in(json, "matchedContainers"));
  for (const Json& one : member(json, "conditions")) {
    status.conditions.push_back({text_in(one, "type"), text_in(one, "status") == "True", text_in(one, "reason"),
                                 text_in(one, "message"), static_cast<int64_t>(number_in(one, "observedGeneration")),
                                 text_in(one, "lastTransitionTime"), text_in(one, "status") == "Unknown"});
  }
  for (const Json& one : member(json, "failures")) {
    status.failures.push_back({text_in(one, "nodeName"), text_in(one, "probe"), text_in(one, "reason"),
                               text_in(one, "message"), text_in(one, "lastTransitionTime")});
  }
  return status;
}

}  // namespace

std::shared_ptr<const PolicyFacts> read_policy(const Json& json) {
  const Json& metadata = member(json, "metadata");
  PolicyFacts facts;
  facts.kind = text_in(json, "kind");
  facts.namespace_name = text_in(metadata, "namespace");
  facts.name = text_in(metadata, "name");
  facts.uid = text_in(metadata, "uid");
  if (facts.name.empty()) return nullptr;
  if (facts.kind.empty()) facts.kind = facts.namespace_name.empty() ? "ClusterMonitorPolicy" : "MonitorPolicy";
  facts.generation = static_cast<int64_t>(number_in(metadata, "generation"));
  facts.status = status_of(member(json, "status"));
  // Lists leave out what all their items have in common; the reader of files wants to see it, and no status.
  Json whole{{"apiVersion", "sonde.dev/v1alpha1"}, {"kind", facts.kind}, {"metadata", metadata}};
  whole["spec"] = member(json, "spec");
  const PolicyFile file = parse_policies(json_text(whole), facts.name, 0);
  facts.problems = file.problems;
  if (facts.problems.empty() && file.policies.size() == 1) {
    facts.excludes = file.policies[0].mode == Mode::Exclude;
    facts.node_selector = file.policies[0].node_selector;
  }
  return std::make_shared<const PolicyFacts>(std::move(facts));
}

std::shared_ptr<const kube::NodeReport> read_report(const Json& object) {
  auto named = kube::node_report_of(object);
  return named ? std::make_shared<const kube::NodeReport>(std::move(named->report)) : nullptr;
}

std::shared_ptr<const Labels> read_labels(const Json& json) {
  if (!json.is_object()) return nullptr;
  return std::make_shared<const Labels>(texts_in(member(member(json, "metadata"), "labels")));
}

}  // namespace sonde::operators
