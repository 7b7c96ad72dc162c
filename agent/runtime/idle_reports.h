// SPDX-License-Identifier: Apache-2.0
// What an idle agent tells: the same documents as one that measures, with the obstacle in them.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "agent/config/config.h"
#include "agent/kube/cluster.h"
#include "agent/kube/node_report.h"
#include "agent/runtime/obstacle.h"
#include "agent/runtime/policies.h"
#include "agent/runtime/status.h"

namespace sonde {

// `cluster`: null outside Kubernetes; `started_ns`: of the agent, CLOCK_BOOTTIME.
Status idle_status(const Config& config, const Obstacle& obstacle, const Policies& policies,
                   const kube::Cluster* cluster, uint64_t started_ns);

// The SondeNode: no probe works; of the policies of the API server those of the cluster that select this node. What a
// policy of a namespace would select is not known here.
kube::NodeReport idle_report(const Obstacle& obstacle, const Policies& policies,
                             const std::map<std::string, std::string>& node_labels);

}  // namespace sonde
