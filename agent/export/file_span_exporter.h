// SPDX-License-Identifier: Apache-2.0
// Spans into the file of a FileExporter, by a thread of its own: a slow disk delays nothing else.
#pragma once

#include <memory>

#include "agent/export/file_exporter.h"
#include "agent/export/span_queue.h"

namespace sonde {

// `file` must live longer; it has the failures and bytes of both in its counters.
std::unique_ptr<SpanExporter> make_file_span_exporter(FileExporter& file, const SpanQueueLimits& limits = {});

}  // namespace sonde
