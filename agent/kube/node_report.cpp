// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/node_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/base/json.h"

namespace sonde::kube {
namespace {

using OrderedJson = nlohmann::ordered_json;

// As crds/sondenodes.yaml admits.
constexpr std::size_t kMostProbes = 16;
constexpr std::size_t kMostConditions = 4;
constexpr std::size_t kMostPolicies = 512;
constexpr std::size_t kMostFailures = 4;  // of one policy
constexpr std::size_t kRoomForNode = 2048;
constexpr std::size_t kRoomForPolicy = 256;
constexpr std::size_t kMostWord = 128;
constexpr std::size_t kMostMessage = 256;

// Not in the middle of a character.
std::string cut(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  text.resize(most);
  return text;
}

void put(OrderedJson& object, const char* key, const std::string& value, std::size_t most) {
  if (!value.empty()) object[key] = cut(value, most);
}

OrderedJson json_of(const ProbeProblem& probe) {
  OrderedJson json{{"name", probe.name}, {"state", probe.state}, {"reason", cut(probe.reason, kMostWord)}};
  put(json, "message", probe.message, kMostMessage);
  return json;
}

OrderedJson json_of(const NodeCondition& condition) {
  OrderedJson json{{"type", condition.type},
            {"status", condition.value ? "True" : "False"},
            {"reason", cut(condition.reason, kMostWord)},
            {"lastTransitionTime", condition.since}};
  put(json, "message", condition.message, kMostMessage);
  return json;
}

OrderedJson json_of(const PolicyEntry& policy) {
  OrderedJson json = OrderedJson::object();
  put(json, "namespace", policy.namespace_name, 63);
  json["name"] = policy.name;
  json["observedGeneration"] = policy.generation;
  json["state"] = policy.state;
  json["matchedContainers"] = policy.matched;
  if (!policy.conditions.empty()) json["conditions"] = policy.conditions;
  put(json, "message", policy.message, kMostMessage);
  for (const PolicyFailure& failure : policy.failures) {
    OrderedJson one{{"probe", cut(failure.probe, kMostWord)}, {"reason", cut(failure.reason, kMostWord)}};
    put(one, "message", failure.message, kMostMessage);
    json["failures"].push_back(std::move(one));
  }
  return json;
}

std::string text_of(const NodeReport& report) {
  OrderedJson json = OrderedJson::object();
  put(json, "agentVersion", report.agent_version, 64);
  put(json, "kernel", report.kernel, 128);
  json["btf"] = report.btf;
  put(json, "lockdown", report.lockdown, 32);
  put(json, "identitySource", report.identity_source, 32);
  json["probesOk"] = report.probes_ok;
  json["probesDegraded"] = report.probes_degraded;
  json["series"] = report.series;
  json["containers"] = report.containers;
  if (report.omitted_policies) json["omittedPolicies"] = report.omitted_policies;
  for (const NodeCondition& condition : report.conditions) json["conditions"].push_back(json_of(condition));
  for (const ProbeProblem& probe : report.probes) json["probes"].push_back(json_of(probe));
  for (const PolicyEntry& policy : report.policies) json["policies"].push_back(json_of(policy));
  return json_text(json);
}

void shorten_messages(NodeReport& report, std::size_t most) {
  for (NodeCondition& condition : report.conditions) condition.message = cut(condition.message, most);
  for (ProbeProblem& probe : report.probes) probe.message = cut(probe.message, most);
  for (PolicyEntry& policy : report.policies) {
    policy.message = cut(policy.message, most);
    for (PolicyFailure& failure : policy.failures) failure.message = cut(failure.message, most);
  }
}

void keep_failures(NodeReport& report, std::size_t most) {
  for (PolicyEntry& policy : report.policies) {
    if (policy.failures.size() > most) policy.failures.resize(most);
  }
}

void keep_policies(NodeReport& report, std::size_t most) {
  if (report.policies.size() <= most) return;
  report.omitted_policies += static_cast<uint32_t>(report.policies.size() - most);
  report.policies.resize(most);
}

// --- Reading ---

using Tree = nlohmann::json;

PolicyEntry policy_of(const Tree& json) {
  PolicyEntry policy;
  policy.namespace_name = text_in(json, "namespace");
  policy.name = text_in(json, "name");
  policy.generation = static_cast<int64_t>(number_in(json, "observedGeneration"));
  policy.state = text_in(json, "state");
  policy.matched = static_cast<uint32_t>(number_in(json, "matchedContainers"));
  policy.message = text_in(json, "message");
  for (const Tree& condition : member(json, "conditions")) {
    if (condition.is_string()) policy.conditions.push_back(condition.get<std::string>());
  }
  for (const Tree& failure : member(json, "failures")) {
    policy.failures.push_back({text_in(failure, "probe"), text_in(failure, "reason"), text_in(failure, "message")});
  }
  return policy;
}

}  // namespace

std::size_t room_for(std::size_t policies) {
  return std::min(kRoomForNode + policies * kRoomForPolicy, kMostReportBytes);
}

std::string status_json(NodeReport report) {
  if (report.conditions.size() > kMostConditions) report.conditions.resize(kMostConditions);
  if (report.probes.size() > kMostProbes) report.probes.resize(kMostProbes);
  keep_policies(report, kMostPolicies);
  keep_failures(report, kMostFailures);
  const std::size_t room = room_for(report.policies.size());
  std::string text = text_of(report);
  for (const std::size_t most : {120, 60, 0}) {
    if (text.size() <= room) return text;
    shorten_messages(report, most);
    text = text_of(report);
  }
  if (text.size() > room) {
    keep_failures(report, 1);
    text = text_of(report);
  }
  while (text.size() > room && !report.probes.empty()) {
    report.probes.pop_back();
    text = text_of(report);
  }
  while (text.size() > room && !report.policies.empty()) {
    const std::size_t there = report.policies.size();
    const std::size_t too_many = (text.size() - room) * there / text.size() / 2;  // rather more than one turn
    keep_policies(report, there - std::max<std::size_t>(too_many, 1));
    text = text_of(report);
  }
  return text;
}

Result<NamedReport> node_report_of(const Tree& json) {
  NamedReport named;
  named.node = text_in(member(json, "metadata"), "name");
  if (named.node.empty()) return Error("a SondeNode without a name");
  const Tree& status = member(json, "status");
  NodeReport& report = named.report;
  report.agent_version = text_in(status, "agentVersion");
  report.kernel = text_in(status, "kernel");
  report.lockdown = text_in(status, "lockdown");
  report.identity_source = text_in(status, "identitySource");
  const Tree& btf = member(status, "btf");
  report.btf = btf.is_boolean() && btf.get<bool>();
  report.probes_ok = static_cast<uint32_t>(number_in(status, "probesOk"));
  report.probes_degraded = static_cast<uint32_t>(number_in(status, "probesDegraded"));
  report.series = number_in(status, "series");
  report.containers = static_cast<uint32_t>(number_in(status, "containers"));
  report.omitted_policies = static_cast<uint32_t>(number_in(status, "omittedPolicies"));
  for (const Tree& one : member(status, "conditions")) {
    report.conditions.push_back({text_in(one, "type"), text_in(one, "status") == "True", text_in(one, "reason"),
                                 text_in(one, "message"), text_in(one, "lastTransitionTime")});
  }
  for (const Tree& probe : member(status, "probes")) {
    report.probes.push_back(
        {text_in(probe, "name"), text_in(probe, "state"), text_in(probe, "reason"), text_in(probe, "message")});
  }
  for (const Tree& policy : member(status, "policies")) report.policies.push_back(policy_of(policy));
  return named;
}

bool same_substance(const NodeReport& a, const NodeReport& b) {
  const auto still = [](NodeReport report) {
    report.series = 0;
    report.containers = 0;
    for (PolicyEntry& policy : report.policies) policy.matched = policy.matched ? 1 : 0;
    return report;
  };
  return still(a) == still(b);
}

}  // namespace sonde::kube
