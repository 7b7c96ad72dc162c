// SPDX-License-Identifier: Apache-2.0
// Spans → an ExportTraceServiceRequest (collector/trace/v1): its bytes, or one line of OTLP/JSON. Spans of one Resource
// share an entry where they stand next to each other.
#pragma once

#include <span>
#include <string>

#include "agent/pipeline/span.h"

namespace sonde {

std::string encode_otlp_spans(std::span<const Span* const> spans);
// Without the final line break.
std::string encode_otlp_spans_json(std::span<const Span* const> spans);

}  // namespace sonde
