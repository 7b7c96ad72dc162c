// SPDX-License-Identifier: Apache-2.0
// Where a report on the agent's state comes from (status.h, policy_reports.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/functions/functions.h"
#include "agent/kernel/engine.h"
#include "agent/kube/cluster.h"
#include "agent/kube/node_report.h"
#include "agent/kube/pod_sources.h"
#include "agent/kube/pod_table.h"
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
  SpanStats spans;
  std::vector<std::string> warnings;  // sentences about what is nearly used up
  std::vector<kube::NodeCondition> conditions;
  const kube::Cluster* cluster = nullptr;  // none outside Kubernetes
  const kube::PodTable* pods = nullptr;    // none where names come from the cgroups' paths alone
  const kube::PodSources* pod_sources = nullptr;
};

}  // namespace sonde
