// SPDX-License-Identifier: Apache-2.0
// Halves of an encoded request: for one that was written to disk and turned out too large for the receiver, and for one that
// a receiver refused as a whole because of one of its Resources.
#pragma once

#include <vector>

#include "agent/export/otlp_encoder.h"

namespace sonde {

// Two requests with together the same points, cut between resources, else between metrics, else between points. Empty
// if there is nothing to cut: one point, or not a request.
std::vector<EncodedRequest> split_request(const std::string& bytes);

// The same between Resources alone, half of them each. Empty if there are not two of them.
std::vector<EncodedRequest> split_resources(const std::string& bytes);

// How many there are in a request; a walk over its outermost fields.
uint32_t count_resources(const std::string& bytes);

}  // namespace sonde
