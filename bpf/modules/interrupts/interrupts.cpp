// SPDX-License-Identifier: Apache-2.0
#include "interrupts.h"

#include <array>
#include <fstream>
#include <string>
#include <string_view>

#include "agent/module/bpf_run.h"
#include "agent/module/intern.h"
#include "agent/module/module.h"
#include "agent/module/series.h"

namespace sonde {
namespace {

enum Metric : uint8_t { kTime, kCount };

constexpr AttributeSpec kInterrupt[] = {
    {"sonde.irq.kind", "hard, soft"},
    {"sonde.irq.name", "name of the handler without trailing digits, or of the softirq"}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.irq.time",
     .unit = "s",
     .level = Level::OptIn,
     .description = "Time spent in interrupt handlers; for softirqs, without the hard interrupts in between.",
     .attributes = kInterrupt,
     .node = true,
     .integer = false},
    {.name = "sonde.irq.count",
     .unit = "{interrupt}",
     .level = Level::OptIn,
     .description = "Interrupt handler runs.",
     .attributes = kInterrupt,
     .node = true},
};

constexpr double kNanoseconds = 1e-9;
constexpr std::array<std::string_view, INTERRUPTS_SOFT> kSoftNames = {
    "hi", "timer", "net_tx", "net_rx", "block", "irq_poll", "tasklet", "sched", "hrtimer", "rcu"};

constexpr SeriesList make_series() {
  SeriesList all;
  all.add({.metric = kCount, .source = Source::Cells, .level = Level::OptIn, .flag = INTERRUPTS_FLAG});
  all.add({.metric = kTime,
           .source = Source::Cells,
           .level = Level::OptIn,
           .flag = INTERRUPTS_FLAG,
           .scale = kNanoseconds});
  for (uint16_t i = 0; i < INTERRUPTS_SOFT; ++i) {
    all.add({.metric = kCount,
             .index = static_cast<uint16_t>(INTERRUPTS_SOFT_COUNT + i),
             .values = {"soft", kSoftNames[i]},
             .level = Level::OptIn,
             .flag = INTERRUPTS_FLAG});
    all.add({.metric = kTime,
             .index = static_cast<uint16_t>(INTERRUPTS_SOFT_TIME + i),
             .values = {"soft", kSoftNames[i]},
             .level = Level::OptIn,
             .flag = INTERRUPTS_FLAG,
             .scale = kNanoseconds});
  }
  return all;
}
constexpr auto kSeries = series_of<make_series>();

constexpr ProgramSpec kPrograms[] = {
    {.program = "interrupts_hard_entry",
     .hook = "tp_btf/irq_handler_entry",
     .flags = INTERRUPTS_FLAG,
     .gap = "hard interrupts are not counted"},
    {.program = "interrupts_hard_exit",
     .hook = "tp_btf/irq_handler_exit",
     .flags = INTERRUPTS_FLAG,
     .gap = "hard interrupts are not counted"},
    {.program = "interrupts_soft_entry",
     .hook = "tp_btf/softirq_entry",
     .flags = INTERRUPTS_FLAG,
     .gap = "softirqs are not counted"},
    {.program = "interrupts_soft_exit",
     .hook = "tp_btf/softirq_exit",
     .flags = INTERRUPTS_FLAG,
     .gap = "softirqs are not counted"},
    {.program = "interrupts_flush", .hook = "run by the agent on each CPU before a collection", .flags = 0},
};

constexpr ModuleInfo kInfo = {
    .name = "interrupts",
    .summary = "Time spent in interrupt handlers of the node, and how often they run",
    .part_of = "sched",
    .metrics = kMetrics,
    .series = kSeries,
    .programs = kPrograms,
    .needs = "BTF; CAP_BPF and CAP_PERFMON",
    .counters = INTERRUPTS_COUNTERS,
    .cells = true,
};

// The first handler of an interrupt, as the kernel side names it: at most 15 characters, digits at the end cut off.
std::string_view interrupt_name(uint32_t number) {
  std::ifstream file("/sys/kernel/irq/" + std::to_string(number) + "/actions");
  std::string name;
  if (number == INTERRUPTS_OTHER || !std::getline(file, name, ',')) return "other";
  name = name.substr(0, name.find('\n')).substr(0, 15);
  while (name.size() > 1 && name.back() >= '0' && name.back() <= '9') name.pop_back();
  return intern(name);
}

class InterruptsModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  CellSeries decode_cell(uint32_t key) const override {
    if (key == kOtherCells) return {kCount, {"hard", "other"}};
    return {static_cast<uint8_t>(key & 1 ? kTime : kCount), {"hard", interrupt_name(key >> 1)}};
  }

  Result<void> flush(bpf_object* object) const override { return run_on_each_cpu(object, "interrupts_flush"); }
};

}  // namespace

const Module& sonde_module_interrupts() {
  static const InterruptsModule module;
  return module;
}

}  // namespace sonde
