// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/decisions.h"

#include <algorithm>
#include <utility>

#include "agent/base/text.h"
#include "agent/pipeline/span_reader.h"
#include "agent/policy/plan.h"

namespace sonde {
namespace {

std::string key_of(const Decision& decision, bool process) {
  std::string key = decision.selected ? "+" : "-";
  if (process) key += "p";
  for (const auto& policy : decision.policies) key += "\n" + policy;
  // Node metrics and flags differ between subjects that the same policies select.
  for (const auto& probe : decision.probes) {
    key += "\n" + std::to_string(probe.metrics) + "," + std::to_string(probe.flags) + "," +
           std::to_string(static_cast<int>(probe.level));
  }
  const TraceSettings& traces = decision.traces;
  if (!traces.policy.empty()) {
    key += "\n" + traces.policy + "," + std::to_string(traces.errors) + "," + std::to_string(traces.trees_per_second) +
           (traces.peer_address ? "a" : "");
    for (const uint32_t threshold : traces.threshold_us) key += "," + std::to_string(threshold);
    for (const auto& [function, threshold] : traces.functions) key += "\n" + function + "=" + std::to_string(threshold);
  }
  for (const auto& [request, policy] : decision.functions) {
    key += "\n" + request.name + "," + request.type + "," + request.path + "," + request.symbol + "," +
           join(request.measure) + "," + std::to_string(request.bytes_argument.value_or(0)) + request.bytes_abi + "," +
           request.errors_when;
  }
  return key;
}

// Lowers one probe of a decision to `level`: the flags follow from the series that remain.
void lower(ProbeDecision& probe, const ModuleInfo& info, Level level) {
  probe.level = level;
  for (std::size_t i = 0; i < info.metrics.size(); ++i) {
    if (info.metrics[i].level > level) probe.metrics &= ~(uint64_t{1} << i);
  }
  probe.flags = flags_of(probe, info);
}

}  // namespace

SlotSetting setting_of(const Decision& decision) {
  SlotSetting setting;
  if (!decision.selected) return setting;
  for (std::size_t i = 0; i < decision.probes.size() && i < setting.flags.size(); ++i) {
    setting.flags[i] = decision.probes[i].flags;
    setting.sample[i] = decision.probes[i].sample_every;
  }
  setting.spans = span_config(decision.traces);
  setting.per_process = decision.granularity == Granularity::Process;
  return setting;
}

Decisions::Decisions(DecisionsOptions options)
    : options_(std::move(options)),
      proc_(options_.proc_root),
      members_({.cgroup_root = options_.cgroup_root, .proc_root = options_.proc_root}) {}

void Decisions::set(std::vector<Policy> policies, const ResolveContext& context) {
  policies_ = std::move(policies);
  context_ = context;
  interned_.clear();
  commands_matter_ = std::ranges::any_of(policies_, [](const Policy& policy) { return !policy.commands.empty(); });
  provisional_ = {};
  const auto flags = provisional_flags(policies_, context_);
  std::copy_n(flags.begin(), std::min(flags.size(), provisional_.size()), provisional_.begin());
  for (std::size_t i = 0; i < steps_.size() && i < provisional_.size(); ++i) {
    if (steps_[i] == OverheadStep::Off) provisional_[i] = 0;
  }
}

bool Decisions::set_steps(const std::vector<OverheadStep>& steps) {
  if (steps == steps_) return false;
  steps_ = steps;
  return true;
}

bool Decisions::set_lowered(std::map<std::string, int> lowered) {
  if (lowered == lowered_) return false;
  lowered_ = std::move(lowered);
  return true;
}

// A sidecar speaks of one process tree, not of the machine.
DecisionPtr Decisions::of_node() const {
  if (options_.target) return nullptr;
  Decision decision = adjusted(resolve_node(policies_, context_));
  return decision.selected ? std::make_shared<const Decision>(std::move(decision)) : nullptr;
}

std::vector<std::string> Decisions::commands_of(const Subject& subject, uint32_t tgid, const std::string& comm) const {
  if (!commands_matter_) return {};
  if (tgid) return {comm};
  std::vector<std::string> commands;
  auto pids = members_.pids(subject.cgroup_path);
  if (!pids) return {};
  for (const uint32_t pid : pids->pids) {
    if (auto process = proc_.process(pid)) commands.push_back(process->comm);
  }
  return commands;
}

bool Decisions::in_target(const Subject& subject, uint32_t tgid) const {
  const Target& target = *options_.target;
  const bool inside = std::ranges::any_of(target.cgroups, [&](const TargetCgroup& cgroup) {
    return subject.cgroup_path == cgroup.path || subject.cgroup_path.starts_with(cgroup.path + "/");
  });
  if (!inside || !tgid || !target.per_process) return inside;
  // It, a descendant that was there at the start, or one that came since.
  for (uint32_t pid = tgid; pid > 1;) {
    if (std::ranges::binary_search(target.pids, pid)) return true;
    auto process = proc_.process(pid);
    if (!process) return false;
    pid = process->parent;
  }
  return false;
}

DecisionPtr Decisions::of(const Subject& subject, uint32_t tgid, const std::string& comm) {
  Decision decision;
  if (!options_.target || (subject.kind != SubjectKind::Unattributed && in_target(subject, tgid))) {
    decision = resolve(policies_, subject, commands_of(subject, tgid, comm), context_);
    if (options_.target && options_.target->per_process) decision.granularity = Granularity::Process;
  } else {
    decision.probes.resize(context_.modules.size());
  }
  decision = adjusted(std::move(decision));
  DecisionPtr& known = interned_[key_of(decision, options_.target.has_value())];
  if (!known) known = std::make_shared<const Decision>(std::move(decision));
  return known;
}

Decision Decisions::adjusted(Decision decision) const {
  const auto limited = lowered_.empty() ? lowered_.end() : lowered_.find(series_limit_owner(decision));
  for (std::size_t i = 0; limited != lowered_.end() && i < decision.probes.size(); ++i) {
    ProbeDecision& probe = decision.probes[i];
    const int level = std::max(static_cast<int>(probe.level) - limited->second, static_cast<int>(Level::Minimal));
    if (probe.level > Level::Minimal) lower(probe, context_.modules[i].module->info(), static_cast<Level>(level));
  }
  for (std::size_t i = 0; i < steps_.size() && i < decision.probes.size(); ++i) {
    ProbeDecision& probe = decision.probes[i];
    if (probe.level == Level::None && !probe.metrics && !probe.flags) continue;
    const ModuleInfo& info = context_.modules[i].module->info();
    if (steps_[i] == OverheadStep::Off) {
      probe = ProbeDecision{};
      continue;
    }
    if (steps_[i] >= OverheadStep::Sampled) {
      probe.sample_every = static_cast<uint16_t>(std::min<uint32_t>(probe.sample_every * kSampleFactor, 60'000));
    }
    if (steps_[i] == OverheadStep::Lowered && probe.level > Level::Minimal) {
      lower(probe, info, static_cast<Level>(static_cast<int>(probe.level) - 1));
    }
  }
  return decision;
}

}  // namespace sonde
