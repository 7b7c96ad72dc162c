// SPDX-License-Identifier: Apache-2.0
// Which API server the configuration speaks of, and how it is spoken to.
#pragma once

#include <string>

#include "agent/base/result.h"
#include "agent/config/config.h"
#include "agent/kube/cluster.h"

namespace sonde {

// The kernel's name of this machine.
std::string host_name();
// Who this node is in the cluster.
std::string node_name(const Config& config);

// `api.url` is empty where there is no cluster; pods and changed are left to the caller.
kube::ClusterOptions cluster_options(const Config& config, const GetEnv& env);

}  // namespace sonde
