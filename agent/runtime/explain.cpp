// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/explain.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "agent/base/json.h"
#include "agent/base/text.h"
#include "agent/identity/cgroup_tree.h"
#include "agent/identity/proc.h"
#include "agent/identity/subject.h"
#include "agent/policy/tenancy.h"

namespace sonde {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kDefaults = "the agent's default";

Json policies_json(const Subject& subject, std::span<const std::string> commands, const Rules& rules) {
  std::vector<const Policy*> order;
  for (const Policy& policy : rules.policies) order.push_back(&policy);
  std::ranges::sort(order, [](const Policy* a, const Policy* b) { return precedes(*a, *b); });
  Json list = Json::array();
  for (const Policy* policy : order) {
    const std::string why = why_not_selected(*policy, subject, commands, rules.context);
    Json one{{"name", display_name(*policy)},
             {"mode", word_of(policy->mode)},
             {"priority", policy->priority},
             {"selects", why.empty()}};
    if (!why.empty()) one["why_not"] = why;
    Json refused = Json::array();
    for (const RefusedAsk& ask : refused_asks(*policy, rules.context)) {
      if (why.empty()) refused.push_back({{"probe", ask.probe}, {"reason", ask.reason}, {"message", ask.message}});
    }
    if (!refused.empty()) one["refused"] = std::move(refused);
    list.push_back(std::move(one));
  }
  return list;
}

Json values_json(const Decision& decision) {
  const std::pair<const char*, std::string> values[] = {
      {"periodSeconds", std::to_string(decision.period_ms / 1000)},
      {"granularity", std::string(word_of(decision.granularity))},
      {"cleanup", std::string(word_of(decision.cleanup))},
      {"idleSeconds", std::to_string(decision.idle_seconds)},
      {"seriesPerContainer", std::to_string(decision.series_per_container)},
      {"seriesPerNode", std::to_string(decision.series_per_node)},
      {"podLabels", join(decision.pod_labels)},
      {"podAnnotations", join(decision.pod_annotations)}};
  Json list = Json::array();
  for (const auto& [field, value] : values) {
    const auto winner = decision.winners.find(field);
    const std::string who = winner == decision.winners.end() ? kDefaults : winner->second;
    list.push_back({{"field", field}, {"value", value}, {"policy", who}});
  }
  return list;
}

// What is asked of each probe, what of it is obeyed, and how the probe is.
Json probes_json(const Decision& asked, const Decision* in_force, const Rules& rules,
                 const std::vector<ModuleReport>& modules) {
  Json list = Json::array();
  for (std::size_t i = 0; i < asked.probes.size(); ++i) {
    const ProbeDecision& probe = asked.probes[i];
    if (probe.metrics == 0) continue;
    const ModuleInfo& info = rules.context.modules[i].module->info();
    Json metrics = Json::array();
    for (std::size_t m = 0; m < info.metrics.size(); ++m) {
      if (probe.metrics >> m & 1) metrics.push_back(info.metrics[m].name);
    }
    const auto winner = asked.winners.find(std::string(info.name) + ".level");
    Json one{{"name", info.name},
             {"level", word_of(probe.level)},
             {"policy", winner == asked.winners.end() ? kDefaults : winner->second},
             {"sample_every", probe.sample_every},
             {"metrics", std::move(metrics)}};
    if (in_force && i < in_force->probes.size()) {
      const ProbeDecision& now = in_force->probes[i];
      if (now.level != probe.level) one["lowered_to"] = now.metrics ? word_of(now.level) : "Off";
      if (now.metrics && now.sample_every != probe.sample_every) one["sampled_every"] = now.sample_every;
    }
    for (const ModuleReport& module : modules) {
      if (module.name != info.name || module.health == ModuleHealth::Ok) continue;
      one[module.health == ModuleHealth::Degraded ? "lacks" : "fails"] = join(module.reasons, "; ");
    }
    list.push_back(std::move(one));
  }
  return list;
}

Json functions_json(const Decision& asked, const std::vector<FunctionReport>& reports) {
  Json list = Json::array();
  for (const auto& [request, policy] : asked.functions) {
    Json one{{"name", request.name}, {"policy", policy}, {"type", request.type}, {"symbol", request.symbol}};
    one["measure"] = request.measure;
    if (!request.path.empty()) one["path"] = request.path;
    for (const FunctionReport& report : reports) {
      if (report.policy != policy || report.name != request.name) continue;
      one["attached"] = report.attached;
      if (report.refusal != Refusal::None) one["reason"] = word_of(report.refusal), one["message"] = report.message;
    }
    list.push_back(std::move(one));
  }
  return list;
}

Json json_of(const Subject& subject, std::span<const std::string> commands, const Rules& rules,
             const Decision* in_force, const ExplainSources& sources) {
  const Decision asked = resolve(rules.policies, subject, commands, rules.context);
  Json json{{"container", subject.container_name.empty() ? subject.container_id.substr(0, 12) : subject.container_name},
            {"cgroup", subject.cgroup_path},
            {"selected", asked.selected},
            {"measured", in_force != nullptr && in_force->selected},
            {"policies", policies_json(subject, commands, rules)}};
  if (const auto winner = asked.winners.find("mode"); winner != asked.winners.end())
    json["excluded_by"] = winner->second;
  if (asked.selected) {
    json["values"] = values_json(asked);
    json["probes"] = probes_json(asked, in_force, rules, sources.modules);
    json["functions"] = functions_json(asked, sources.functions);
  }
  json["overridden"] = asked.overridden;
  return json;
}

bool is_of(const Subject& subject, const std::string& pod, const std::string& container) {
  if (subject.kind != SubjectKind::Container || subject.type == ContainerType::Sandbox) return false;
  if (subject.namespace_name + "/" + subject.pod_name != pod && subject.pod_uid != pod) return false;
  return container.empty() || subject.container_name == container ||
         (container.size() >= 12 && subject.container_id.starts_with(container));
}

std::vector<std::string> commands_in(const std::string& path, const ExplainSources& sources) {
  std::vector<std::string> commands;
  if (std::ranges::all_of(sources.served->rules->policies, [](const Policy& p) { return p.commands.empty(); }))
    return commands;
  const Proc proc(sources.proc_root);
  auto pids = cgroup_pids(sources.cgroup_root, path);
  for (const uint32_t pid : pids ? pids->pids : std::vector<uint32_t>()) {
    if (auto process = proc.process(pid)) commands.push_back(process->comm);
  }
  return commands;
}

}  // namespace

std::string why_not_selected(const Policy& policy, const Subject& subject, std::span<const std::string> commands,
                             const ResolveContext& context) {
  if (expired(policy, context.now_ns)) return "activeForSeconds has passed";
  if (selects(policy, subject, commands, context)) return "";
  if (policy.node_selector && !policy.node_selector->matches(context.node_labels)) {
    return "nodeSelector does not select this node";
  }
  if (!policy.namespace_name.empty() && policy.namespace_name != subject.namespace_name)
    return "the pod is in another namespace";
  if (policy.namespace_selector && !policy.namespace_selector->matches(subject.namespace_labels)) {
    return "namespaceSelector does not select the pod's namespace";
  }
  if (policy.pod_selector && !policy.pod_selector->matches(subject.pod_labels))
    return "podSelector does not match the pod's labels";
  if (!policy.container_names.empty() || !policy.container_types.empty())
    return "containers selects other containers of the pod";
  return "it selects by cgroups or commands, which do not match";
}

std::string explain_subject(const Subject& subject, std::span<const std::string> commands, const Rules& rules,
                            const Decision* in_force, const ExplainSources& sources) {
  return json_text(json_of(subject, commands, rules, in_force, sources), 2);
}

std::string explain_pod(const ExplainSources& sources, const std::string& pod, const std::string& container) {
  std::map<std::string, DecisionPtr> in_force;  // by cgroup
  for (const auto& [slot, owner] : sources.served->identity->slots) {
    const auto decision = sources.served->decisions->slots.find(slot);
    if (decision != sources.served->decisions->slots.end() && !owner.tgid)
      in_force[owner.subject->cgroup_path] = decision->second;
  }
  Json list = Json::array();
  auto tree = walk_cgroups(sources.cgroup_root);
  for (const CgroupDirectory& directory : tree ? tree->directories : std::vector<CgroupDirectory>()) {
    if (!directory.is_container || directory.inside) continue;
    Subject subject = subject_of(directory.path, directory.id, 0);
    if (sources.names) sources.names->enrich(subject);
    if (!is_of(subject, pod, container)) continue;
    const auto now = in_force.find(directory.path);
    list.push_back(json_of(subject, commands_in(directory.path, sources), *sources.served->rules,
                           now == in_force.end() ? nullptr : now->second.get(), sources));
  }
  const Json json{{"pod", pod}, {"containers", std::move(list)}};
  return json_text(json, 2) + "\n";
}

}  // namespace sonde
