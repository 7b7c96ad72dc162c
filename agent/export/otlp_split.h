// SPDX-License-Identifier: Apache-2.0
// Halves of an encoded request, for one that was written to disk and turned out too large for the receiver.
#pragma once

#include <vector>

#include "agent/export/otlp_encoder.h"

namespace sonde {

// Two requests with together the same points, cut between resources, else between metrics, else between points. Empty
// if there is nothing to cut: one point, or not a request.
std::vector<EncodedRequest> split_request(const std::string& bytes);

}  // namespace sonde
