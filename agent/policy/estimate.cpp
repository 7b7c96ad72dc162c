// SPDX-License-Identifier: Apache-2.0
#include "agent/policy/estimate.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>

#include "sonde/abi.h"
#include "sonde/spans.h"

namespace sonde {

namespace {

// What a hook adds for a selected subject where the module says nothing: docs/ops/policies.md has the same figures.
struct HookCost {
  std::string_view prefix;
  int ns;
};
constexpr std::array<HookCost, 14> kHookCosts{{{"tp_btf/sys_", 118},
                                               {"raw_tp/sys_", 118},
                                               {"tp_btf/sched_", 130},
                                               {"tp_btf/", 80},
                                               {"raw_tp", 80},
                                               {"fentry/", 80},
                                               {"fexit/", 80},
                                               {"fmod_ret/", 80},
                                               {"tp/", 100},
                                               {"tracepoint/", 100},
                                               {"kprobe", 160},
                                               {"kretprobe", 200},
                                               {"uprobe", 500},
                                               {"uretprobe", 800}}};

// Two hooks of one operation have one stem: sys_enter and sys_exit, fentry/f and fexit/f, kprobe/f and kretprobe/f.
std::string stem_of(std::string_view hook) {
  auto slash = hook.rfind('/');
  std::string_view name = slash == std::string_view::npos ? hook : hook.substr(slash + 1);
  for (std::string_view end : {"_enter", "_exit", "_begin", "_end", "_start", "_done", "_issue", "_complete"}) {
    if (name.ends_with(end)) return std::string(name.substr(0, name.size() - end.size()));
  }
  return std::string(name);
}

int operation_cost(const ModuleInfo& info, uint8_t flags) {
  // Alternatives exclude each other; which one will be taken is not known before it is tried.
  int alternatives = std::max<int>(1, static_cast<int>(info.alternatives.size()));
  int worst = 0;
  for (int alternative = 0; alternative < alternatives; ++alternative) {
    std::map<std::string, int> stems;
    for (const ProgramSpec& program : info.programs) {
      bool taken = program.alternative == kEveryAlternative || program.alternative == alternative;
      if (taken && (program.flags & flags)) stems[stem_of(program.hook)] += program_cost_ns(program);
    }
    for (const auto& [stem, ns] : stems) worst = std::max(worst, ns);
  }
  return worst;
}

ProbeEstimate estimate_probe(const ProbeDecision& decision, const ModuleInfo& info) {
  ProbeEstimate estimate;
  estimate.probe = info.name;
  estimate.level = decision.level;
  for (const SeriesSpec& series : info.series) {
    if (!exports(decision, info, series) || covered(decision, info, series)) continue;
    if (info.metrics[series.metric].node) continue;
    if (is_keyed(series.source)) {
      estimate.keyed_series = true;
      continue;
    }
    ++estimate.series;
    estimate.histograms += series.source == Source::Histogram;
  }
  estimate.ns_per_event = operation_cost(info, decision.flags);
  return estimate;
}

constexpr uint64_t kPage = 4096;
constexpr uint64_t kSpanRing = 256 * 1024;  // sonde_spans (sonde/maps.h)
uint64_t array_bytes(uint64_t entries, uint64_t value) {
  return (entries * ((value + 7) / 8 * 8) + kPage - 1) / kPage * kPage;
}
// kernel/bpf/hashtab.c: preallocated elements of 48 bytes plus key and value, one bucket head of 16 bytes each.
uint64_t hash_bytes(uint64_t entries, uint64_t key, uint64_t value) {
  return entries * (48 + (key + 7) / 8 * 8 + (value + 7) / 8 * 8) + std::bit_ceil(entries) * 16;
}

}  // namespace

int program_cost_ns(const ProgramSpec& program) {
  if (program.cost_ns != 0) return program.cost_ns;
  for (const HookCost& cost : kHookCosts) {
    if (program.hook.starts_with(cost.prefix)) return cost.ns;
  }
  return 0;  // an iterator: runs at collections, not at events
}

uint64_t kernel_bytes(const KernelLimits& limits, const Decision& decision, std::span<const ModuleEntry> modules) {
  uint64_t slots = limits.slots;
  uint64_t bytes =
      array_bytes(slots, sizeof(sonde_slot_config)) + array_bytes(slots, sizeof(sonde_slot_info)) +
      hash_bytes(4 * slots, sizeof(uint64_t), sizeof(sonde_subject)) +  // nested and ignored directories too
      hash_bytes(std::min(limits.processes, limits.slots / 2), sizeof(sonde_process_key), sizeof(uint32_t)) +
      array_bytes(limits.histogram_rows, sizeof(sonde_histogram)) + 4 * (slots + 1) +
      4ULL * (limits.histogram_rows + 1) +  // queues of what is free
      array_bytes(slots, sizeof(sonde_span_config)) + array_bytes(slots, sizeof(sonde_span_budget)) + kSpanRing +
      array_bytes(1, sizeof(sonde_globals)) + array_bytes(SONDE_MAX_MODULES, 8 * SONDE_LOSSES) + kPage;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    if (!decision.probes.empty() && decision.probes[i].level == Level::None && decision.probes[i].flags == 0) continue;
    const ModuleInfo& info = modules[i].module->info();
    if (info.counters) bytes += array_bytes(slots, info.counters * sizeof(uint64_t));
    if (info.histograms) bytes += array_bytes(slots, info.histograms * sizeof(uint32_t));
    if (info.gauges) bytes += array_bytes(slots, info.gauges * sizeof(int64_t));
    if (info.cells) bytes += array_bytes(slots, sizeof(sonde_cells));
    if (info.keyed_histograms) bytes += array_bytes(slots, sizeof(sonde_keyed));
  }
  return bytes;
}

Estimate estimate(const Decision& decision, const KernelLimits& limits, std::span<const ModuleEntry> modules) {
  Estimate result;
  for (std::size_t i = 0; i < modules.size() && i < decision.probes.size(); ++i) {
    if (decision.probes[i].level == Level::None && decision.probes[i].flags == 0) continue;
    result.probes.push_back(estimate_probe(decision.probes[i], modules[i].module->info()));
    result.series += result.probes.back().series;
    result.histograms += result.probes.back().histograms;
  }
  result.kernel_bytes = kernel_bytes(limits, decision, modules);
  return result;
}

}  // namespace sonde
