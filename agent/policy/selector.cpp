// SPDX-License-Identifier: Apache-2.0
// Whether a policy selects a subject.
#include <algorithm>

#include "agent/base/text.h"
#include "agent/policy/resolve.h"

namespace sonde {

namespace {

constexpr std::size_t kShortestIdPrefix = 12;  // what docker ps shows

bool holds(const LabelRequirement& requirement, const std::map<std::string, std::string>& labels) {
  auto found = labels.find(requirement.key);
  bool present = found != labels.end();
  auto listed = [&] { return std::ranges::find(requirement.values, found->second) != requirement.values.end(); };
  switch (requirement.op) {
    case SelectorOperator::In: return present && listed();
    case SelectorOperator::NotIn: return !present || !listed();
    case SelectorOperator::Exists: return present;
    case SelectorOperator::DoesNotExist: return !present;
  }
  return false;
}

bool any_glob(const std::vector<std::string>& patterns, std::string_view text) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) { return glob_match(pattern, text); });
}

bool named(const std::vector<std::string>& names, const Subject& subject) {
  return std::ranges::any_of(names, [&](const std::string& name) {
    if (!subject.container_name.empty() && name == subject.container_name) return true;
    return name.size() >= kShortestIdPrefix && subject.container_id.starts_with(name);
  });
}

std::string_view type_of(const Subject& subject) {
  switch (subject.type) {
    case ContainerType::Regular: return "Regular";
    case ContainerType::Init: return "Init";
    case ContainerType::Sidecar: return "Sidecar";
    case ContainerType::Ephemeral: return "Ephemeral";
    case ContainerType::Sandbox: return "Sandbox";
    case ContainerType::Unknown: break;
  }
  // Only Kubernetes knows other types than the regular one.
  return subject.pod_uid.empty() ? "Regular" : "";
}

bool in_pod(const Subject& subject) { return !subject.pod_uid.empty() || !subject.namespace_name.empty(); }

bool is_all(const std::optional<LabelSelector>& selector) {
  return !selector || (selector->match_labels.empty() && selector->match_expressions.empty());
}

bool asks_pods(const Policy& policy) {
  return !policy.namespace_name.empty() || !is_all(policy.namespace_selector) || !is_all(policy.pod_selector);
}

bool asks_containers(const Policy& policy) {
  return !policy.container_names.empty() || !policy.container_types.empty();
}

bool asks_local(const Policy& policy) { return !policy.cgroups.empty() || !policy.commands.empty(); }

bool local_match(const Policy& policy, const Subject& subject, std::span<const std::string> commands) {
  if (!policy.cgroups.empty() && !any_glob(policy.cgroups, subject.cgroup_path)) return false;
  if (policy.commands.empty()) return true;
  return std::ranges::any_of(commands, [&](const std::string& comm) { return any_glob(policy.commands, comm); });
}

bool pod_match(const Policy& policy, const Subject& subject) {
  if (!asks_pods(policy)) return true;
  if (!in_pod(subject)) return false;
  if (!policy.namespace_name.empty() && policy.namespace_name != subject.namespace_name) return false;
  if (!is_all(policy.namespace_selector) && !policy.namespace_selector->matches(subject.namespace_labels)) return false;
  // Labels of a pod that has no name yet are not known: an empty set would match NotIn and DoesNotExist.
  if (is_all(policy.pod_selector)) return true;
  return !subject.pod_name.empty() && policy.pod_selector->matches(subject.pod_labels);
}

}  // namespace

bool LabelSelector::matches(const std::map<std::string, std::string>& labels) const {
  for (const auto& [key, value] : match_labels) {
    auto found = labels.find(key);
    if (found == labels.end() || found->second != value) return false;
  }
  return std::ranges::all_of(match_expressions, [&](const LabelRequirement& r) { return holds(r, labels); });
}

bool expired(const Policy& policy, uint64_t now_ns) {
  if (!policy.active_for_seconds) return false;
  uint64_t lasts = static_cast<uint64_t>(std::max<int64_t>(*policy.active_for_seconds, 0)) * 1'000'000'000;
  return now_ns >= policy.created_ns && now_ns - policy.created_ns >= lasts;
}

bool selects(const Policy& policy, const Subject& subject, std::span<const std::string> commands,
             const ResolveContext& context) {
  if (!is_all(policy.node_selector) && !policy.node_selector->matches(context.node_labels)) return false;
  bool narrows = asks_pods(policy) || asks_containers(policy) || asks_local(policy);
  if (subject.kind == SubjectKind::Unattributed) return !narrows;
  if (subject.kind == SubjectKind::Cgroup) {
    if (asks_pods(policy) || asks_containers(policy)) return false;
    if (asks_local(policy)) return local_match(policy, subject, commands);
    return context.cgroups_outside_containers || policy.mode == Mode::Exclude;
  }
  if (!policy.container_names.empty() && !named(policy.container_names, subject)) return false;
  if (!policy.container_types.empty() &&
      std::ranges::find(policy.container_types, type_of(subject)) == policy.container_types.end()) {
    return false;
  }
  return pod_match(policy, subject) && local_match(policy, subject, commands);
}

bool precedes(const Policy& a, const Policy& b) {
  auto rank = [](const Policy& p) {
    // The last two only make the order total; two policies with all else equal cannot select one subject.
    return std::tuple(p.is_default, !p.namespace_name.empty(), -p.priority, std::string_view(p.name),
                      std::string_view(p.namespace_name), std::string_view(p.source));
  };
  return rank(a) < rank(b);
}

std::string display_name(const Policy& policy) {
  return policy.namespace_name.empty() ? policy.name : policy.namespace_name + "/" + policy.name;
}

}  // namespace sonde
