// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/batch_pool.h"

#include <utility>

namespace sonde {
namespace {

constexpr std::size_t kWaste = 4;  // memory of more than so many times what is needed goes back to the system

}  // namespace

std::shared_ptr<Batch> BatchPool::take(std::size_t resources, std::size_t points, std::size_t buckets) {
  std::unique_ptr<Batch> batch;
  if (points > 0) {
    const MutexLock lock(shelf_->mutex);
    batch = std::move(shelf_->spare);
  }
  if (!batch || batch->points.capacity() > kWaste * points || batch->buckets.capacity() > kWaste * buckets) {
    batch = std::make_unique<Batch>();
  }
  batch->resources.reserve(resources);
  batch->points.reserve(points);
  batch->buckets.reserve(buckets);
  return {batch.release(), [shelf = shelf_](Batch* used) { put_back(*shelf, std::unique_ptr<Batch>(used)); }};
}

void BatchPool::put_back(Shelf& shelf, std::unique_ptr<Batch> batch) {
  batch->resources.clear();
  batch->points.clear();
  batch->buckets.clear();
  if (batch->points.capacity() == 0) return;
  const MutexLock lock(shelf.mutex);
  shelf.spare.swap(batch);  // what waited there so far is freed outside the lock
}

}  // namespace sonde
