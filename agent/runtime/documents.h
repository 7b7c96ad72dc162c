// SPDX-License-Identifier: Apache-2.0
// What the agent knows of its subjects and series, as JSON documents: /pods, /report. The command line prints from these.
#pragma once

#include <string>
#include <vector>

#include "agent/export/prometheus_state.h"
#include "agent/identity/members.h"
#include "agent/identity/subject.h"

namespace sonde {

// Every subject with its names, cgroup and, read now, its processes.
std::string make_pods_json(const IdentitySnapshot& identity, const Members& members);

// The newest value of every series.
std::string report_json(const std::vector<ResourceSeriesPtr>& series);

}  // namespace sonde
