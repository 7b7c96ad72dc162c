// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/idle_reports.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>

#include "agent/base/json.h"
#include "agent/policy/resolve.h"
#include "agent/runtime/cluster_status.h"
#include "agent/runtime/policy_reports.h"
#include "agent/runtime/status.h"

namespace sonde {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kProbe = "core";  // the part that all probes need

Json modules_json(const Obstacle& obstacle) {
  Json list = Json::array();
  const auto add = [&](std::string_view name, Json reasons) {
    list.push_back({{"name", name},
                    {"health", health_word(is_wanted(obstacle) ? ModuleHealth::Disabled : ModuleHealth::Failed)},
                    {"reasons", std::move(reasons)},
                    {"programs", Json::array()},
                    {"losses", Json::object()}});
  };
  for (const ModuleEntry& entry : modules()) add(entry.module->info().name, Json::array());
  add(kProbe, Json::array({obstacle.message}));
  return list;
}

std::vector<std::string> conditions_of(bool asks, const Obstacle& obstacle) {
  if (!asks) return {};
  return {is_wanted(obstacle) ? "Overridden" : "Degraded"};
}

Json policies_json(const Obstacle& obstacle, const Policies& policies) {
  Json list = Json::array();
  for (const Policy& policy : policies.all()) {
    const bool asks = policy.mode == Mode::Monitor;
    const bool fails = asks && !is_wanted(obstacle);
    Json failures = Json::array();
    if (fails) {
      failures.push_back({{"probe", kProbe},
                          {"reason", obstacle.reason},
                          {"message", obstacle.message},
                          {"containers", 0},
                          {"attached", 0}});
    }
    list.push_back({{"name", display_name(policy)},
                    {"source", policy.source},
                    {"failures", std::move(failures)},
                    {"functions", Json::array()},
                    {"conditions", conditions_of(asks, obstacle)},
                    {"mode", word_of(policy.mode)},
                    {"expired", false},
                    {"matched", 0},
                    {"overridden", asks && !fails ? Json::array({obstacle.message}) : Json::array()}});
  }
  return list;
}

// What is counted of an agent that measures.
void add_nothing(const Config& config, Json& json) {
  json["features"] = Json::object();
  json["subjects"] = {{"known", 0},        {"selected", 0},
                      {"slots_used", 0},   {"slots_capacity", config.limits.slots},
                      {"without_slot", 0}, {"unresolved_paths", 0}};
  json["overridden"] = Json::array();
  json["warnings"] = Json::array();
  json["pipeline"] = {{"samples", 0},
                      {"streams", 0},
                      {"series", 0},
                      {"discarded", Json::object()},
                      {"detoured", Json::object()},
                      {"pending_slots", 0},
                      {"labels_held", 0},
                      {"labels_held_by", Json::array()},
                      {"series_limited", Json::array()}};
  json["collection"] = {{"slots", 0}, {"series_moved", 0}, {"duration_seconds", 0}};
  json["exporters"] = Json::array();
  json["export_errors"] = Json::array();
  json["overhead"] = {{"used_milli_cpu", 0}, {"budget_milli_cpu", config.overhead.milli_cpu}, {"over_budget", false}};
  json["identity"] = {{"source", ""}, {"serving", false}, {"pods", 0}, {"sources", Json::array()}};
}

}  // namespace

std::string idle_status_json(const Config& config, const Obstacle& obstacle, const Policies& policies,
                             const kube::Cluster* cluster, uint64_t up_ns) {
  utsname name{};
  uname(&name);
  Json json{{"version", SONDE_VERSION},
            {"pid", getpid()},
            {"host", name.nodename},
            {"kernel", name.release},
            {"machine", name.machine},
            {"uptime_seconds", static_cast<double>(up_ns) / 1e9},
            {"cgroup_root", config.cgroup_root}};
  json["idle"] = {{"reason", obstacle.reason}, {"message", obstacle.message}};
  json["modules"] = modules_json(obstacle);
  json["policies"] = policies_json(obstacle, policies);
  json["policy_errors"] = policies.errors();
  add_nothing(config, json);
  if (cluster) json["kubernetes"] = cluster_json(*cluster);
  return json_text(json, 2) + "\n";
}

kube::NodeReport idle_report(const Obstacle& obstacle, const Policies& policies,
                             const std::map<std::string, std::string>& node_labels) {
  kube::NodeReport report = report_of_machine();
  const bool wanted = is_wanted(obstacle);
  if (!wanted) report.probes_degraded = static_cast<uint32_t>(modules().size());
  report.probes = {{kProbe, wanted ? "Disabled" : "Failed", obstacle.reason, obstacle.message}};
  report.policies = refused_entries(policies);
  std::set<std::string> refused;
  for (const kube::PolicyEntry& entry : report.policies) refused.insert(entry.name);
  for (const Policy& policy : policies.all()) {
    if (!policies.is_object(policy) || !policy.namespace_name.empty() || refused.contains(policy.name)) continue;
    if (policy.node_selector && !policy.node_selector->matches(node_labels)) continue;
    kube::PolicyEntry entry{"", policy.name, policy.generation, "Applied"};
    entry.conditions = conditions_of(policy.mode == Mode::Monitor, obstacle);
    if (policy.mode == Mode::Monitor && wanted) {
      entry.message = obstacle.message;
    } else if (policy.mode == Mode::Monitor) {  // nothing is watched here: who excludes has what it wants
      entry.state = "Failed";
      entry.failures.push_back({kProbe, obstacle.reason, obstacle.message});
    }
    report.policies.push_back(std::move(entry));
  }
  return report;
}

}  // namespace sonde
