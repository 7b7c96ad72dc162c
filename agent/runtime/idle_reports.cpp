// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/idle_reports.h"

#include <set>

#include "agent/base/clock.h"
#include "agent/policy/resolve.h"

namespace sonde {
namespace {

constexpr const char* kProbe = "core";  // the part that all probes need

std::vector<Status::Module> modules_of(const Obstacle& obstacle) {
  const ModuleHealth health = is_wanted(obstacle) ? ModuleHealth::Disabled : ModuleHealth::Failed;
  std::vector<Status::Module> list;
  for (const ModuleEntry& entry : modules()) {
    list.push_back({.report = {.name = std::string(entry.module->info().name), .health = health}});
  }
  list.push_back({.report = {.name = kProbe, .health = health, .reasons = {obstacle.message}}});
  return list;
}

std::vector<std::string> conditions_of(bool asks, const Obstacle& obstacle) {
  if (!asks) return {};
  return {is_wanted(obstacle) ? "Overridden" : "Degraded"};
}

std::vector<Status::PolicyState> policies_of(const Obstacle& obstacle, const Policies& policies) {
  std::vector<Status::PolicyState> list;
  for (const Policy& policy : policies.all()) {
    const bool asks = policy.mode == Mode::Monitor;
    Status::PolicyState& state = list.emplace_back();
    state.status.name = display_name(policy);
    state.status.source = policy.source;
    state.status.mode = policy.mode;
    state.conditions = conditions_of(asks, obstacle);
    if (asks && is_wanted(obstacle)) state.status.overridden = {obstacle.message};
    if (asks && !is_wanted(obstacle)) state.troubles = {{kProbe, obstacle.reason, obstacle.message}};
  }
  return list;
}

}  // namespace

Status idle_status(const Config& config, const Obstacle& obstacle, const Policies& policies,
                   const kube::Cluster* cluster, uint64_t started_ns) {
  Status status;
  status.started_ns = started_ns;
  status.cgroup_root = config.cgroup_root;
  status.idle = obstacle;
  status.subjects.slots_capacity = config.limits.slots;
  status.modules = modules_of(obstacle);
  status.policies = policies_of(obstacle, policies);
  status.policy_errors = policies.errors();
  status.cost.budget_milli_cpu = config.overhead.milli_cpu;
  if (cluster) status.kubernetes = Status::Kubernetes::of(*cluster);
  status.made_ns = boottime_ns();
  return status;
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
