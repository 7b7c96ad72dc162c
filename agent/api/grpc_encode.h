// SPDX-License-Identifier: Apache-2.0
// From the agent's own structs to sonde.v1 messages. Internal to agent/api.
#pragma once

#include "agent/api/event_hub.h"
#include "agent/export/prometheus_state.h"
#include "sonde/v1/sonde.pb.h"

namespace sonde {

// False if the filters of the request leave nothing of it.
bool encode_metrics(const ResourceSeries& series, const v1::GetMetricsRequest& request, v1::ResourceMetrics& out);
bool encode_event(const OperationEvent& event, const v1::StreamEventsRequest& request, v1::Event& out);

}  // namespace sonde
