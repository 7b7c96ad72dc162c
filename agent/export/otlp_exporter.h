// SPDX-License-Identifier: Apache-2.0
// OTLP over gRPC or HTTP. A thread of its own sends; push() only queues.
//
// While the receiver is away nothing that matters is lost and memory stays flat: at most OtlpQueue::max_batches batches
// wait, older ones are merged into newer ones. Of each stream (resource, metric, attributes, start time) the newest
// cumulative point is kept, so totals are right with the first request that gets through; the last points and the end
// marks of streams that ended meanwhile are kept too, up to OtlpQueue::max_bytes, from where on the oldest are dropped
// and counted. Delta points are differences to what was last accepted, made when a request is encoded: what could not
// be sent is in the next difference. With a directory all requests are written there first and each is sent.
#pragma once

#include <memory>
#include <string>

#include "agent/base/result.h"
#include "agent/export/exporter.h"
#include "agent/export/otlp_options.h"

namespace sonde {

// `http` is needed for OtlpProtocol::HttpProtobuf only. Fails if a certificate or the queue's directory cannot be used.
Result<std::unique_ptr<Exporter>> make_otlp_exporter(OtlpOptions options,
                                                     std::shared_ptr<HttpTransport> http = nullptr);

}  // namespace sonde
