// SPDX-License-Identifier: Apache-2.0
// What a queue does with batches of cumulative points that wait: of each stream the newest point is enough.
#pragma once

#include <cstdint>
#include <functional>

#include "agent/export/batch_walk.h"
#include "agent/pipeline/batch.h"

namespace sonde {

// Memory that the batch holds, roughly: points and buckets, and the attributes of points older than the batch.
uint64_t batch_bytes(const Batch& batch);

struct MergedBatch {
  BatchPtr batch;
  uint64_t superseded = 0;  // points of `older` that `newer` made unnecessary
};

// All of `newer`, before them what of `older` it does not replace: points of streams that are not in `newer`, of an
// earlier life of a stream (another start time), what series begin with, and end marks.
MergedBatch merge_batches(const BatchPtr& older, const BatchPtr& newer);

// The points from `from` on.
BatchPtr rest_of(const BatchPtr& batch, const BatchCursor& from);

// Without as many of the oldest points as needed to hold at most `max_bytes`; points as new as the batch stay. Each
// dropped point is shown to `dropped`.
BatchPtr trimmed(const BatchPtr& batch, uint64_t max_bytes,
                 const std::function<void(const Resource&, const Point&)>& dropped);

}  // namespace sonde
