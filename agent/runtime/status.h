// SPDX-License-Identifier: Apache-2.0
// What the agent says about itself, as plain data: made by the loop at one moment, printed by whoever asks
// (status_json.h). An idle agent fills the same (idle_reports.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/functions/functions.h"
#include "agent/kernel/engine.h"
#include "agent/kube/cluster.h"
#include "agent/kube/pod_sources.h"
#include "agent/pipeline/aggregator.h"
#include "agent/runtime/obstacle.h"
#include "agent/runtime/outputs.h"
#include "agent/runtime/overhead.h"
#include "agent/runtime/policy_reports.h"

namespace sonde {

struct StatusSources;

struct Status {
  struct Machine {
    std::string host, kernel, machine;
    static Machine read();
  };
  struct HowMeasured {
    bool fentry = false;
    bool preemptible = false;
    bool read_only_cast = false;
  };
  struct Subjects {
    uint64_t known = 0;
    uint64_t selected = 0;
    uint64_t slots_used = 0;
    uint64_t slots_capacity = 0;
    uint64_t without_slot = 0;
    uint64_t unresolved_paths = 0;
  };
  // How far the overhead budget and failed collections restrict a probe; the core is never restricted.
  struct Restriction {
    OverheadStep step = OverheadStep::Full;
    std::string step_reason;  // empty: not throttled
    uint64_t collection_failures = 0;
    std::string failing;  // empty: its collections work
  };
  struct Module {
    ModuleReport report;
    std::vector<std::pair<std::string, uint64_t>> losses{};  // by reason; those that occurred
    std::optional<ModuleUse> use{};                          // of the last sample
    std::optional<Restriction> restriction{};
  };
  struct PolicyState {
    PolicyStatus status;
    std::vector<std::string> conditions{};
    std::vector<PolicyTrouble> troubles{};
    std::vector<FunctionReport> functions{};
  };
  struct Cost {
    double used_milli_cpu = 0;
    double budget_milli_cpu = 0;
    bool over_budget = false;
  };
  struct Names {
    std::string source;
    bool serving = false;
    uint64_t pods = 0;
    uint64_t fresh_ns = 0;  // CLOCK_BOOTTIME of the last word of the source; 0: never any
    std::vector<kube::SourceStatus> sources{};
  };
  struct Kubernetes {
    bool policies_from_cache = false;
    std::vector<kube::FollowedStats> followed;
    std::optional<kube::ReportWriterStats> report;  // none if reports are off

    static Kubernetes of(const kube::Cluster& cluster);
  };

  Machine machine = Machine::read();
  uint64_t made_ns = 0;  // CLOCK_BOOTTIME
  uint64_t started_ns = 0;
  std::string cgroup_root;
  std::optional<Obstacle> idle;             // why nothing is measured
  std::optional<HowMeasured> how_measured;  // none while idle
  Subjects subjects;
  std::vector<std::string> warnings;
  std::vector<Module> modules;  // "core" is last
  std::vector<PolicyState> policies;
  std::vector<std::string> policy_errors;
  std::vector<std::string> overridden;
  AggregatorStats pipeline;
  CollectStats collection;
  SpanStats spans;
  std::vector<Outputs::Report> exporters;
  std::vector<std::string> export_errors;
  Cost cost;
  Names names;
  std::optional<Kubernetes> kubernetes;  // none outside Kubernetes
};

// By the loop's thread.
Status make_status(const StatusSources& sources);

// "probes: 7 of 9 programs attached (io, sched); …": one line for the log, the rest with reasons.
std::string attached_line(const std::vector<ModuleReport>& modules);

}  // namespace sonde
