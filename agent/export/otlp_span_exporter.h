// SPDX-License-Identifier: Apache-2.0
// Spans over OTLP, by gRPC or HTTP. A thread of its own sends; consume() only queues, in memory, within SpanQueueLimits.
// A request that fails is retried as those of metrics are; what is retried for too long, refused or has no room is dropped and
// counted by reason. A request that is too large, or refused for its contents, is sent again in halves.
#pragma once

#include <memory>

#include "agent/base/result.h"
#include "agent/export/exporter.h"
#include "agent/export/otlp_options.h"
#include "agent/export/span_queue.h"

namespace sonde {

// `http` is needed for OtlpProtocol::HttpProtobuf only. Of `options`, what concerns metrics and the queue is not used.
Result<std::unique_ptr<SpanExporter>> make_otlp_span_exporter(OtlpOptions options, const SpanQueueLimits& limits = {},
                                                              std::shared_ptr<HttpTransport> http = nullptr);

}  // namespace sonde
