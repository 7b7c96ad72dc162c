// SPDX-License-Identifier: Apache-2.0
// Counts of a histogram's buckets, kept only between the lowest and the highest one in use: a container's latencies
// rarely span more than 40 of 147 buckets. Counts are 32 bits wide until one of them needs more.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace sonde {

class BucketRun {
 public:
  void add(uint32_t bucket, uint64_t count);  // buckets beyond the last one count in the last
  void add(const BucketRun& other);
  uint64_t at(uint32_t bucket) const;

  // Appends the counts from the first to the last bucket that is not zero and returns the first one's number; 0 and
  // nothing appended if all are zero.
  uint32_t append_to(std::vector<uint64_t>& out) const;

  std::size_t heap_bytes() const { return (low_ ? size_ * 4u : 0) + (high_ ? size_ * 4u : 0); }

 private:
  void cover(uint32_t bucket);
  uint64_t count(uint32_t place) const { return low_[place] | (high_ ? uint64_t{high_[place]} << 32 : 0); }

  std::unique_ptr<uint32_t[]> low_;
  std::unique_ptr<uint32_t[]> high_;  // upper halves, once needed
  uint8_t begin_ = 0;                 // multiple of kStep
  uint8_t size_ = 0;
};

}  // namespace sonde
