// SPDX-License-Identifier: Apache-2.0
// From policies to what is done. Everything here is a pure function of its arguments: no clocks, no files.
//
// The rule: Exclude wins, for all probes or for those that it lists; probes of all matching policies are united at
// the highest level asked; every single value comes from the first policy in the order Cluster before namespaced,
// then priority, then name, clamped by ceilings.
// Whether a metric is exported is such a value: the first policy that requests or excludes it decides.
// The default policy comes after all others.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/module/module.h"
#include "agent/policy/decision.h"
#include "agent/policy/policy.h"

namespace sonde {

// What a policy of a namespace may not exceed besides: whoever may write one spends what all tenants share.
struct NamespacedCeilings {
  Level level = Level::Standard;  // functions are another matter: allow_user_functions
  uint32_t min_period_ms = 10'000;
  Granularity granularity = Granularity::Container;  // the finest allowed
  int series_per_container = 200;
  double trees_per_second = 0.2;
};

// What no policy may exceed; from the agent's configuration.
struct Ceilings {
  Level level = Level::Detailed;  // below Detailed, opt-in metrics are refused as well
  uint32_t min_period_ms = 1'000;
  Granularity granularity = Granularity::Process;  // the finest allowed
  int series_per_container = 2'000;
  int series_per_node = 200'000;
  int trees_per_second = 10;  // spans on a node: of a policy, and of all together
  NamespacedCeilings namespaced;
};

// Values that no matching policy gives.
struct DecisionDefaults {
  uint32_t period_ms = 30'000;
  Granularity granularity = Granularity::Container;
  CleanupStrategy cleanup = CleanupStrategy::KeepRecent;
  int idle_seconds = 300;
  int series_per_container = 200;
  int series_per_node = 20'000;
};

struct ResolveContext {
  std::span<const ModuleEntry> modules = sonde::modules();
  DecisionDefaults defaults;
  Ceilings ceilings;
  // Do policies without selectors also take cgroups that are no container's? True outside Kubernetes.
  bool cgroups_outside_containers = true;
  bool allow_user_functions = false;  // may policies of a namespace measure functions of programs?
  std::map<std::string, std::string> node_labels;
  uint64_t now_ns = 0;  // CLOCK_REALTIME, for activeForSeconds
};

// Is the policy's time over?
bool expired(const Policy& policy, uint64_t now_ns);

// Does the policy select this subject, its mode and time aside? `commands` are the comms of the subject's processes,
// or the one of a process with a slot of its own; only policies with `commands` look at them.
// Unattributed work belongs to policies that select everything.
bool selects(const Policy& policy, const Subject& subject, std::span<const std::string> commands,
             const ResolveContext& context);

// The module of that name or alias among these; -1 if there is none.
int module_index(std::span<const ModuleEntry> modules, std::string_view name);

// The level a policy gives where it names none: Standard if it asks for nothing in particular.
Level base_level(const Policy& policy);

// The order of precedence, first the one that wins.
bool precedes(const Policy& a, const Policy& b);

// "name", or "namespace/name".
std::string display_name(const Policy& policy);

// What all policies together ask for this subject. Metrics of the node are never in it.
Decision resolve(std::span<const Policy> policies, const Subject& subject, std::span<const std::string> commands,
                 const ResolveContext& context);

// What they request for the node itself, regardless of their selectors: node metrics and nothing else. Policies of a
// namespace cannot ask for them: a node's numbers speak of all tenants.
Decision resolve_node(std::span<const Policy> policies, const ResolveContext& context);

// The policy that excludes everything on this node, the node's own metrics and what has no name yet included: an Exclude of
// all probes that selects everything here (of its selectors only nodeSelector may narrow). Null: there is none.
const Policy* excludes_all(std::span<const Policy> policies, const ResolveContext& context);
// Of those that do so for some probes: which. Bit i: modules[i].
uint64_t excluded_everywhere(std::span<const Policy> policies, const ResolveContext& context);

// What a single policy requests for the subjects it selects; for estimates.
Decision resolve_alone(const Policy& policy, const ResolveContext& context);

// `probes`: names or aliases; empty: all. Preset OptIn: each of them at Detailed, with its opt-in metrics.
Policy default_policy(Level preset, std::span<const std::string> probes);

}  // namespace sonde
