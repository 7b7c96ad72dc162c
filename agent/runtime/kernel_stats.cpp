// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/kernel_stats.h"

#include <algorithm>

#include "agent/module/module.h"

namespace sonde {
namespace {

ModuleState state_of(const ModuleReport& report, OverheadStep step) {
  if (report.health == ModuleHealth::Failed) return ModuleState::Failed;
  if (step != OverheadStep::Full) return ModuleState::Throttled;
  if (report.health == ModuleHealth::Degraded) return ModuleState::Degraded;
  const bool attached =
      std::ranges::any_of(report.programs, [](const auto& program) { return program.state == ProgramState::Attached; });
  const bool only_reads = report.programs.empty() && report.health == ModuleHealth::Ok;
  return attached || only_reads ? ModuleState::Running : ModuleState::Off;
}

void add_use(ModuleStats& stats, const Overhead& overhead) {
  const auto found = overhead.use().find(stats.name);
  if (found == overhead.use().end()) return;
  stats.events = found->second.runs;
  stats.run_ns = found->second.run_ns;
  stats.mean_run_ns = found->second.mean_ns;
}

}  // namespace

KernelStats kernel_stats(const Engine& engine, const Overhead& overhead, const Failures& failures,
                         uint64_t functions_missed) {
  KernelStats stats;
  const auto losses = engine.losses();
  const auto reports = engine.modules();
  const int declared = function_module(modules());  // its programs are attached by agent/functions, not by the engine
  for (std::size_t i = 0; i < reports.size(); ++i) {
    ModuleStats module;
    module.name = reports[i].name;
    module.state = state_of(reports[i], overhead.steps()[i]);
    module.overhead_step = static_cast<uint64_t>(overhead.steps()[i]);
    module.losses = losses[i];
    if (static_cast<int>(i) == declared) module.missed_runs = functions_missed;
    module.collection_failures = failures.count(i);
    module.programs = static_cast<uint64_t>(std::ranges::count_if(
        reports[i].programs, [](const auto& program) { return program.state == ProgramState::Attached; }));
    stats.modules.push_back(std::move(module));
  }
  ModuleStats core;
  core.name = "core";
  core.state = engine.core_report().health == ModuleHealth::Ok ? ModuleState::Running : ModuleState::Degraded;
  core.losses = losses.back();
  core.programs = engine.core_programs();
  stats.modules.push_back(std::move(core));
  for (const ProgramRuns& runs : engine.program_stats()) {
    for (ModuleStats& module : stats.modules) {
      if (module.name == runs.module) module.missed_runs += runs.missed;
    }
  }
  for (const MapReport& map : engine.map_stats()) {
    for (ModuleStats& module : stats.modules) {
      if (module.name == map.module)
        module.maps.push_back({map.map, map.entries, map.capacity, map.bytes, map.update_failures});
    }
  }
  for (ModuleStats& module : stats.modules) add_use(module, overhead);
  stats.slots_used = engine.slots_used();
  stats.slots_capacity = engine.slots_capacity();
  return stats;
}

}  // namespace sonde
