// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/status.h"

#include <spdlog/fmt/fmt.h>
#include <sys/utsname.h>

#include <algorithm>
#include <iterator>

#include "agent/base/clock.h"
#include "agent/base/text.h"
#include "agent/export/prometheus_family.h"
#include "agent/module/losses.h"
#include "agent/runtime/status_sources.h"

namespace sonde {
namespace {

std::vector<std::pair<std::string, uint64_t>> losses_of(const std::string& module,
                                                        const std::array<uint64_t, SONDE_LOSSES>& losses) {
  std::vector<std::pair<std::string, uint64_t>> lost;
  for (std::size_t reason = 0; reason < losses.size(); ++reason) {
    if (losses[reason]) lost.emplace_back(loss_name(module, reason), losses[reason]);
  }
  return lost;
}

std::vector<Status::Module> modules_of(const StatusSources& sources) {
  std::vector<Status::Module> modules;
  std::vector<ModuleReport> reports = sources.engine.modules();
  const auto losses = sources.engine.losses();
  const auto& steps = sources.overhead.steps();
  const auto add = [&](ModuleReport report, const std::array<uint64_t, SONDE_LOSSES>& lost) -> Status::Module& {
    Status::Module& module = modules.emplace_back();
    module.losses = losses_of(report.name, lost);
    const auto use = sources.overhead.use().find(report.name);
    if (use != sources.overhead.use().end()) module.use = use->second;
    module.report = std::move(report);
    return module;
  };
  for (std::size_t i = 0; i < reports.size(); ++i) {
    Status::Module& module = add(std::move(reports[i]), losses[i]);
    if (i >= steps.size()) continue;
    module.restriction = {steps[i], sources.overhead.budget().reason(i), sources.failures.count(i),
                          sources.failures.reason(i, boottime_ns())};
  }
  add(sources.engine.core_report(), losses.back());
  return modules;
}

std::vector<Status::PolicyState> policies_of(const StatusSources& sources) {
  std::vector<Status::PolicyState> policies;
  const std::vector<FunctionReport> functions = sources.functions.reports();
  for (PolicyReport& report : policy_reports(sources)) {
    Status::PolicyState& policy = policies.emplace_back();
    std::ranges::copy_if(functions, std::back_inserter(policy.functions),
                         [&](const FunctionReport& function) { return function.policy == report.status.name; });
    policy.status = std::move(report.status);
    policy.conditions = std::move(report.conditions);
    policy.troubles = std::move(report.troubles);
  }
  return policies;
}

Status::Names names_of(const StatusSources& sources) {
  if (!sources.pod_sources) return {"cgroup", true};
  const kube::PodSources& from = *sources.pod_sources;
  const std::string in_use = from.in_use();
  return {in_use.empty() ? from.last_used() : in_use, !in_use.empty(), sources.pods->size(), from.fresh_ns(),
          from.status()};
}

// Also what Prometheus shows otherwise than it was given.
std::vector<std::string> warnings_of(const StatusSources& sources, const Status& status) {
  std::vector<std::string> warnings = sources.warnings;
  if (const uint64_t unresolved = status.subjects.unresolved_paths) {
    warnings.push_back(fmt::format(
        "{} cgroups were gone before their path could be determined: their counts are under /?/ and their name",
        unresolved));
  }
  for (const std::string& name : status.pipeline.labels_held_by) {
    warnings.push_back("labels of " + name + " have changed too often and stay as they are until its pod ends");
  }
  for (const auto& [label, values] : joined_labels(sources.outputs.newest().snapshot())) {
    warnings.push_back("several attributes map to the Prometheus label " + label +
                       " with different values, which are joined: " + values);
  }
  return warnings;
}

}  // namespace

Status::Machine Status::Machine::read() {
  utsname name{};
  uname(&name);
  return {name.nodename, name.release, name.machine};
}

Status::Kubernetes Status::Kubernetes::of(const kube::Cluster& cluster) {
  return {cluster.policies_from_cache(), cluster.stats(), cluster.report_stats()};
}

Status make_status(const StatusSources& sources) {
  Status status;
  const ControlStats control = sources.control.stats();
  const Features& features = sources.engine.features();
  status.started_ns = sources.started_ns;
  status.cgroup_root = sources.cgroup_root;
  status.how_measured = {features.fentry, features.preemptible, features.read_only_cast};
  status.subjects = {
      control.subjects,     control.selected,  sources.engine.slots_used(), sources.engine.slots_capacity(),
      control.without_slot, control.unresolved};
  status.pipeline = sources.aggregator.stats();
  status.warnings = warnings_of(sources, status);
  status.modules = modules_of(sources);
  status.policies = policies_of(sources);
  status.policy_errors = sources.policies.errors();
  status.overridden = sources.control.plan().overridden;
  status.collection = sources.last_collect;
  status.spans = sources.spans;
  status.exporters = sources.outputs.reports();
  status.export_errors = sources.outputs.last_errors();
  status.cost = {sources.overhead.budget().used_milli_cpu(), sources.overhead.milli_cpu(),
                 sources.overhead.budget().over_budget()};
  status.names = names_of(sources);
  if (sources.cluster) status.kubernetes = Status::Kubernetes::of(*sources.cluster);
  status.made_ns = boottime_ns();
  return status;
}

std::string attached_line(const std::vector<ModuleReport>& modules) {
  std::size_t attached = 0;
  std::size_t wanted = 0;
  std::vector<std::string> names;
  std::string troubles;
  for (const ModuleReport& module : modules) {
    const std::size_t before = attached;
    for (const ProgramReport& program : module.programs) {
      attached += program.state == ProgramState::Attached;
      wanted += program.state == ProgramState::Attached || program.state == ProgramState::Failed;
      if (program.state == ProgramState::Failed) troubles += "; " + program.name + " failed: " + program.reason;
    }
    if (module.health == ModuleHealth::Failed) {
      troubles += "; " + module.name + " is off: " + join(module.reasons, ", ");
    } else if (attached > before) {
      names.push_back(module.name + (module.alternative.empty() ? "" : " by " + module.alternative));
    }
  }
  return "probes: " + std::to_string(attached) + " of " + std::to_string(wanted) + " programs attached (" +
         (names.empty() ? "nothing is enabled" : join(names, ", ")) + ")" + troubles;
}

}  // namespace sonde
