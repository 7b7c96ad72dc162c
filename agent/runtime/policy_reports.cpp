// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/policy_reports.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "agent/base/file.h"
#include "agent/base/text.h"
#include "agent/policy/tenancy.h"

namespace sonde {
namespace {

// What all reports of one moment have in common.
struct Moment {
  explicit Moment(const StatusSources& sources)
      : modules(sources.engine.modules()),
        functions(sources.functions.reports()),
        limited(sources.aggregator.stats().series_limited) {
    over_budget = sources.overhead.budget().over_budget() ||
                  std::ranges::any_of(sources.overhead.steps(), [](auto s) { return s != OverheadStep::Full; });
  }
  std::vector<ModuleReport> modules;
  std::vector<FunctionReport> functions;
  std::vector<std::string> limited;
  bool over_budget = false;
};

void add_trouble(std::vector<PolicyTrouble>& troubles, PolicyTrouble trouble) {
  const bool known = std::ranges::any_of(troubles, [&](const PolicyTrouble& t) { return t.probe == trouble.probe; });
  if (!known) troubles.push_back(std::move(trouble));
}

// Requested probes that do not work at all. Partial gaps are reported for the node.
void add_failed_probes(const PolicyReport& report, const Moment& moment, const StatusSources& sources,
                       std::vector<PolicyTrouble>& troubles) {
  const Decision asked = resolve_alone(*report.policy, sources.control.context());
  for (std::size_t i = 0; i < moment.modules.size() && i < asked.probes.size(); ++i) {
    const ModuleReport& module = moment.modules[i];
    if (asked.probes[i].metrics == 0 || module.health != ModuleHealth::Failed) continue;
    add_trouble(troubles, {module.name, "ProbeFailed", join(module.reasons, "; "), report.status.matched, 0});
  }
}

std::vector<PolicyTrouble> troubles_of(const PolicyReport& report, const Moment& moment, const StatusSources& sources) {
  std::vector<PolicyTrouble> troubles;
  const uint32_t matched = report.status.matched;
  if (report.status.expired) return troubles;
  for (RefusedAsk& ask : refused_asks(*report.policy, sources.control.context())) {
    add_trouble(troubles, {std::move(ask.probe), std::move(ask.reason), std::move(ask.message), matched, 0});
  }
  for (const FunctionReport& function : moment.functions) {
    if (function.policy != report.status.name || function.refusal == Refusal::None) continue;
    add_trouble(troubles, {"function/" + function.name, std::string(word_of(function.refusal)), function.message,
                           function.asked, function.attached});
  }
  if (matched && report.status.mode == Mode::Monitor) add_failed_probes(report, moment, sources, troubles);
  return troubles;
}

std::vector<std::string> conditions_of(const PolicyReport& report, const Moment& moment, const StatusSources& sources) {
  const PolicyStatus& status = report.status;
  std::vector<std::string> conditions;
  if (!report.troubles.empty()) conditions.emplace_back("Degraded");
  if (status.expired) conditions.emplace_back("Expired");
  if (status.matched && status.mode == Mode::Monitor && moment.over_budget) conditions.emplace_back("OverBudget");
  if (!status.overridden.empty()) conditions.emplace_back("Overridden");
  const bool in_the_way = std::ranges::find(moment.limited, status.name) != moment.limited.end();
  if (in_the_way || sources.control.lowered().contains(status.name)) conditions.emplace_back("SeriesLimited");
  return conditions;
}

kube::PolicyEntry entry_of(PolicyReport report) {
  kube::PolicyEntry entry;
  entry.namespace_name = report.policy->namespace_name;
  entry.name = report.policy->name;
  entry.generation = report.policy->generation;
  entry.matched = report.status.containers;
  entry.conditions = std::move(report.conditions);
  if (!report.status.overridden.empty()) entry.message = std::move(report.status.overridden.front());
  for (PolicyTrouble& trouble : report.troubles) {
    entry.failures.push_back({std::move(trouble.probe), std::move(trouble.reason), std::move(trouble.message)});
  }
  entry.state = report.status.expired ? "Expired" : entry.failures.empty() ? "Applied" : "Degraded";
  return entry;
}

// Its nodeSelector must select this node; a policy of a namespace must have something to select here as well.
bool concerns(const PolicyReport& report, const ResolveContext& context) {
  const Policy& policy = *report.policy;
  if (policy.node_selector && !policy.node_selector->matches(context.node_labels)) return false;
  return policy.namespace_name.empty() || report.status.containers > 0;
}

std::string lockdown() {
  auto modes = read_small_file("/sys/kernel/security/lockdown");
  const auto open = modes ? modes->find('[') : std::string::npos;
  return open == std::string::npos ? "none" : modes->substr(open + 1, modes->find(']') - open - 1);
}

}  // namespace

std::vector<PolicyReport> policy_reports(const StatusSources& sources) {
  const Moment moment(sources);
  std::map<std::string, const Policy*> by_name;
  for (const Policy& policy : sources.control.policies())
    by_name.emplace(display_name(policy) + "\n" + policy.source, &policy);
  const Decided decisions = sources.control.decided();
  std::vector<PolicyReport> reports;
  for (PolicyStatus& status : policy_status(sources.control.policies(), decisions, sources.control.context())) {
    PolicyReport report;
    report.policy = by_name.at(status.name + "\n" + status.source);
    report.status = std::move(status);
    report.troubles = troubles_of(report, moment, sources);
    report.conditions = conditions_of(report, moment, sources);
    reports.push_back(std::move(report));
  }
  return reports;
}

kube::NodeReport report_of_machine() {
  utsname name{};
  uname(&name);
  kube::NodeReport report;
  report.agent_version = SONDE_VERSION;
  report.kernel = name.release;
  report.btf = access("/sys/kernel/btf/vmlinux", R_OK) == 0;
  report.lockdown = lockdown();
  return report;
}

void add_probes(const std::vector<ModuleReport>& modules, kube::NodeReport& report) {
  for (const ModuleReport& module : modules) {
    if (module.health == ModuleHealth::Ok) {
      ++report.probes_ok;
      continue;
    }
    const std::string why = join(module.reasons, "; ");
    if (module.health == ModuleHealth::Disabled) {
      report.probes.push_back({module.name, "Disabled", "Disabled", why});
      continue;
    }
    ++report.probes_degraded;
    const bool failed = module.health == ModuleHealth::Failed;
    report.probes.push_back({module.name, failed ? "Failed" : "Degraded", failed ? "LoadFailed" : "HooksMissing", why});
  }
  std::ranges::stable_sort(report.probes, {}, [](const auto& probe) { return probe.state != "Failed"; });
}

std::vector<kube::PolicyEntry> refused_entries(const Policies& policies) {
  std::vector<kube::PolicyEntry> entries;
  for (const RefusedObject& object : policies.refused()) {
    kube::PolicyEntry entry{object.namespace_name, object.name, object.generation, "Failed"};
    entry.failures.push_back({"policy", "NotUnderstood", object.message});
    entry.conditions = {"Degraded"};
    entries.push_back(std::move(entry));
  }
  return entries;
}

kube::NodeReport node_report(const StatusSources& sources) {
  kube::NodeReport report = report_of_machine();
  report.identity_source = sources.pod_sources ? sources.pod_sources->last_used() : "cgroup";
  report.series = sources.aggregator.stats().series;
  report.containers = static_cast<uint32_t>(sources.control.stats().containers);
  report.conditions = sources.conditions;
  add_probes(sources.engine.modules(), report);
  report.policies = refused_entries(sources.policies);
  std::set<std::string> refused;
  for (const kube::PolicyEntry& entry : report.policies) refused.insert(entry.namespace_name + "/" + entry.name);
  for (PolicyReport& policy : policy_reports(sources)) {
    const bool object = sources.policies.is_object(*policy.policy);
    if (!object || refused.contains(policy.policy->namespace_name + "/" + policy.policy->name)) continue;
    if (concerns(policy, sources.control.context())) report.policies.push_back(entry_of(std::move(policy)));
  }
  return report;
}

}  // namespace sonde
