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

const Json& member(const Json& object, const char* key) {
  static const Json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

std::string text_in(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

template <typename T>
T number_in(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_number_integer() ? static_cast<T>(std::max<int64_t>(value.get<int64_t>(), 0)) : T{0};
}

PolicyStatusDocument status_of(const Json& json) {
  PolicyStatusDocument status;
  status.observed_generation = number_in<int64_t>(json, "observedGeneration");
  status.desired = number_in<uint32_t>(json, "desiredNodes");
  status.applied = number_in<uint32_t>(json, "appliedNodes");
  status.failed = number_in<uint32_t>(json, "failedNodes");
  status.outdated = number_in<uint32_t>(json, "outdatedNodes");
  status.matched = number_in<uint64_t>(json, "matchedContainers");
  for (const Json& one : member(json, "conditions")) {
    status.conditions.push_back({text_in(one, "type"), text_in(one, "status") == "True", text_in(one, "reason"),
                                 text_in(one, "message"), number_in<int64_t>(one, "observedGeneration"),
                                 text_in(one, "lastTransitionTime"), text_in(one, "status") == "Unknown"});
  }
  for (const Json& one : member(json, "failures")) {
    status.failures.push_back({text_in(one, "nodeName"), text_in(one, "probe"), text_in(one, "reason"),
                               text_in(one, "message"), text_in(one, "lastTransitionTime")});
  }
  return status;
}

}  // namespace

std::shared_ptr<const PolicyFacts> read_policy(std::string_view object) {
  const Json json = parse_json<Json>(object);
  const Json& metadata = member(json, "metadata");
  PolicyFacts facts;
  facts.kind = text_in(json, "kind");
  facts.namespace_name = text_in(metadata, "namespace");
  facts.name = text_in(metadata, "name");
  facts.uid = text_in(metadata, "uid");
  if (facts.name.empty()) return nullptr;
  if (facts.kind.empty()) facts.kind = facts.namespace_name.empty() ? "ClusterMonitorPolicy" : "MonitorPolicy";
  facts.generation = number_in<int64_t>(metadata, "generation");
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

std::shared_ptr<const kube::NodeReport> read_report(std::string_view object) {
  auto named = kube::parse_node_report(object);
  return named ? std::make_shared<const kube::NodeReport>(std::move(named->report)) : nullptr;
}

std::shared_ptr<const Labels> read_labels(std::string_view object) {
  const Json json = parse_json<Json>(object);
  if (!json.is_object()) return nullptr;
  Labels labels;
  const Json& written = member(member(json, "metadata"), "labels");
  if (written.is_object()) {
    for (const auto& [key, value] : written.items()) {
      if (value.is_string()) labels[key] = value.get<std::string>();
    }
  }
  return std::make_shared<const Labels>(std::move(labels));
}

}  // namespace sonde::operators
