// SPDX-License-Identifier: Apache-2.0
// "kubernetes" of /statusz.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "agent/kube/cluster.h"

namespace sonde {

nlohmann::ordered_json cluster_json(const kube::Cluster& cluster);

}  // namespace sonde
