// SPDX-License-Identifier: Apache-2.0
#include "agent/policy/tenancy.h"

#include <algorithm>

#include "agent/base/text.h"

namespace sonde {
namespace {

// Metrics of the node among those that the request names.
std::vector<std::string_view> node_metrics(const ProbeRequest& request, const ResolveContext& context) {
  std::vector<std::string_view> names;
  for (const ModuleEntry& entry : context.modules) {
    const ModuleInfo& info = entry.module->info();
    if (request.name != "all" && !stands_for(context.modules, request.name, info)) continue;
    for (const MetricSpec& metric : info.metrics) {
      if (metric.node && std::ranges::find(request.include_metrics, metric.name) != request.include_metrics.end()) {
        names.push_back(metric.name);
      }
    }
  }
  return names;
}

// Why this policy's function is not measured; null: it is.
const char* why_not(const Policy& policy, const FunctionRequest& function, const ResolveContext& context) {
  if (policy.namespace_name.empty()) return nullptr;
  if (function.type == "Kernel")
    return "kernel functions concern all tenants: only a ClusterMonitorPolicy may measure them";
  if (context.allow_user_functions) return nullptr;
  return "namespaced policies may only measure functions if the agent allows it: tenancy.allowUserFunctions";
}

}  // namespace

std::vector<RefusedAsk> refused_asks(const Policy& policy, const ResolveContext& context) {
  std::vector<RefusedAsk> refused;
  if (policy.mode == Mode::Exclude) return refused;
  for (const ProbeRequest& request : policy.probes) {
    if (policy.namespace_name.empty()) break;
    const auto names = node_metrics(request, context);
    if (names.empty()) continue;
    refused.push_back({request.name, "NotAllowed",
                       join(names) + (names.size() == 1 ? " applies" : " apply") +
                           " to the whole node: only a ClusterMonitorPolicy may enable that"});
  }
  for (const FunctionRequest& function : policy.functions) {
    if (const char* why = why_not(policy, function, context)) {
      refused.push_back({"function/" + function.name, "NotAllowed", why});
    } else if (context.ceilings.level < Level::Detailed) {
      refused.push_back(
          {"function/" + function.name, "BeyondCeiling",
           "functions need the ceiling Detailed, but the agent's is " + std::string(word_of(context.ceilings.level))});
    }
  }
  return refused;
}

}  // namespace sonde
