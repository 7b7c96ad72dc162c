// SPDX-License-Identifier: Apache-2.0
// Batches whose memory is used again: touching fresh pages costs more than writing the points into them.
#pragma once

#include <cstddef>
#include <memory>

#include "agent/base/mutex.h"
#include "agent/pipeline/batch.h"

namespace sonde {

class BatchPool {
 public:
  // An empty batch with that much room. Its memory comes back here when its last owner, on whatever thread, lets go,
  // also after the pool itself is gone.
  std::shared_ptr<Batch> take(std::size_t resources, std::size_t points, std::size_t buckets);

 private:
  // One batch waits, no more: while exporters keep up there are never two.
  struct Shelf {
    Mutex mutex;
    std::unique_ptr<Batch> spare SONDE_GUARDED_BY(mutex);
  };
  static void put_back(Shelf& shelf, std::unique_ptr<Batch> batch);

  std::shared_ptr<Shelf> shelf_ = std::make_shared<Shelf>();
};

}  // namespace sonde
