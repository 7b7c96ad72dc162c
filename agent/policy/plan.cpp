// SPDX-License-Identifier: Apache-2.0
#include "agent/policy/plan.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <set>

namespace sonde {

namespace {

constexpr std::size_t kMostSentences = 10;  // per policy; a status is for people

template <typename T>
T shorter(T current, T offered) {
  return current == 0 ? offered : std::min(current, offered);
}

void add(Plan& plan, const Decision& decision) {
  for (std::size_t i = 0; i < plan.probes.size() && i < decision.probes.size(); ++i) {
    const ProbeDecision& asked = decision.probes[i];
    ProbePlan& probe = plan.probes[i];
    probe.flags |= asked.flags;
    if (asked.level == Level::None) continue;
    probe.level = std::max(probe.level, asked.level);
    probe.metrics |= asked.metrics;
    probe.cleanup = std::max(probe.cleanup, decision.cleanup);
  }
  plan.period_ms = shorter(plan.period_ms, decision.period_ms);
  plan.idle_seconds = shorter(plan.idle_seconds, decision.idle_seconds);
  plan.series_per_node = std::max(plan.series_per_node, decision.series_per_node);
  plan.per_process |= decision.granularity == Granularity::Process;
  ++plan.selected;
}

std::string cleanup_winner(const Decision& decision) {
  auto found = decision.winners.find("cleanup");
  return found == decision.winners.end() ? "the agent's default" : found->second;
}

}  // namespace

Plan plan_of(std::span<const DecisionPtr> decisions, std::span<const ModuleEntry> modules) {
  Plan plan;
  plan.probes.resize(modules.size());
  for (const DecisionPtr& decision : decisions) {
    if (decision && decision->selected) add(plan, *decision);
  }
  std::set<std::string> sentences;
  for (const DecisionPtr& decision : decisions) {
    if (!decision || !decision->selected) continue;
    for (std::size_t i = 0; i < modules.size(); ++i) {
      if (decision->probes[i].level == Level::None || decision->cleanup == plan.probes[i].cleanup) continue;
      sentences.insert(fmt::format("{}: cleanup {} of {} is overridden by {}, the strictest on this node",
                                   cleanup_winner(*decision), word_of(decision->cleanup),
                                   modules[i].module->info().name, word_of(plan.probes[i].cleanup)));
    }
  }
  plan.overridden.assign(sentences.begin(), sentences.end());
  return plan;
}

std::vector<uint8_t> provisional_flags(std::span<const Policy> policies, const ResolveContext& context) {
  std::vector<uint8_t> flags(context.modules.size());
  const uint64_t excluded = excluded_everywhere(policies, context);
  for (const Policy& policy : policies) {
    if (policy.mode == Mode::Exclude || expired(policy, context.now_ns)) continue;
    if (policy.node_selector && !policy.node_selector->matches(context.node_labels)) continue;
    Decision decision = resolve_alone(policy, context);
    for (std::size_t i = 0; i < flags.size(); ++i) {
      if ((excluded >> i & 1) == 0) flags[i] |= decision.probes[i].flags;
    }
  }
  return flags;
}

std::vector<DecisionPtr>* Decided::list_of(const Subject& subject) {
  if (subject.kind != SubjectKind::Container) return &others;
  return subject.type == ContainerType::Sandbox ? nullptr : &containers;
}

std::vector<PolicyStatus> policy_status(std::span<const Policy> policies, const Decided& decided,
                                        const ResolveContext& context) {
  std::vector<const Policy*> order;
  for (const Policy& policy : policies) order.push_back(&policy);
  std::ranges::sort(order, [](const Policy* a, const Policy* b) { return precedes(*a, *b); });
  std::map<std::string, uint32_t> containers, others;
  std::set<std::string> sentences;
  const auto count = [&](const std::vector<DecisionPtr>& decisions, std::map<std::string, uint32_t>& matched) {
    for (const DecisionPtr& decision : decisions) {
      if (!decision) continue;
      for (const std::string& name : decision->policies) ++matched[name];
      sentences.insert(decision->overridden.begin(), decision->overridden.end());
    }
  };
  count(decided.containers, containers);
  count(decided.others, others);
  std::vector<PolicyStatus> result;
  for (const Policy* policy : order) {
    PolicyStatus status;
    status.name = display_name(*policy);
    status.source = policy->source;
    status.mode = policy->mode;
    status.expired = expired(*policy, context.now_ns);
    status.containers = containers[status.name];
    status.matched = status.containers + others[status.name];
    std::string prefix = status.name + ": ";
    for (auto at = sentences.lower_bound(prefix); at != sentences.end() && at->starts_with(prefix); ++at) {
      if (status.overridden.size() < kMostSentences) status.overridden.push_back(at->substr(prefix.size()));
    }
    result.push_back(std::move(status));
  }
  return result;
}

}  // namespace sonde
