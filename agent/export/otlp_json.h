// SPDX-License-Identifier: Apache-2.0
// Batch → OTLP/JSON: one ExportMetricsServiceRequest without line breaks, as the Collector's file exporter writes it
// (protocol buffers' JSON with 64-bit integers as strings and enumerations as numbers).
#pragma once

#include <string>

#include "agent/export/otlp_encoder.h"

namespace sonde {

// As OtlpEncoder::encode; `request.bytes` is text without the final line break.
EncodedRequest encode_otlp_json(const EncodeOptions& options, const Batch& batch, BatchCursor& at, uint64_t max_bytes);

// Appends `text` as a JSON string with its quotes; what is not UTF-8 becomes '?'.
void append_json_string(std::string& out, std::string_view text);

}  // namespace sonde
