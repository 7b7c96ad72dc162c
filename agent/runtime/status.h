// SPDX-License-Identifier: Apache-2.0
// What the agent says about itself, as JSON documents: /statusz, /pods, /report. The command line prints from these.
#pragma once

#include <string>
#include <vector>

#include "agent/export/prometheus_state.h"
#include "agent/functions/functions.h"
#include "agent/identity/members.h"
#include "agent/identity/subject.h"
#include "agent/kernel/engine.h"
#include "agent/kube/cluster.h"
#include "agent/kube/pod_sources.h"
#include "agent/pipeline/aggregator.h"
#include "agent/runtime/control.h"
#include "agent/runtime/failures.h"
#include "agent/runtime/outputs.h"
#include "agent/runtime/overhead.h"
#include "agent/runtime/policies.h"

namespace sonde {

struct StatusSources {
  const Engine& engine;
  const Control& control;
  const Functions& functions;
  const Aggregator& aggregator;
  const Outputs& outputs;
  const Overhead& overhead;
  const Failures& failures;
  const Policies& policies;
  const Config& config;
  std::string cgroup_root;
  uint64_t started_ns = 0;  // CLOCK_BOOTTIME
  CollectStats last_collect;
  std::vector<std::string> warnings;  // sentences about what is nearly used up
  std::vector<kube::NodeCondition> conditions;
  const kube::Cluster* cluster = nullptr;  // none outside Kubernetes
  const kube::PodTable* pods = nullptr;    // none where names come from the cgroups' paths alone
  const kube::PodSources* pod_sources = nullptr;
};
std::string make_status_json(const StatusSources& sources);
// The "policies" of a status document, by itself.
std::string policies_of_status(const std::string& status);

// Every subject with its names, cgroup and, read now, its processes.
std::string make_pods_json(const IdentitySnapshot& identity, const Members& members);

// The newest value of every series.
std::string report_json(const std::vector<ResourceSeriesPtr>& series);

// "probes: 7 of 9 programs attached (io, sched); …": one line for the log, the rest with reasons.
std::string attached_line(const std::vector<ModuleReport>& modules);

std::string_view health_word(ModuleHealth health);
std::string_view program_state_word(ProgramState state);

}  // namespace sonde
