// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/bucket_run.h"

#include <sonde/histogram.h>

#include <algorithm>

namespace sonde {
namespace {

constexpr uint32_t kStep = 8;  // grows by so many, so that a wandering latency does not allocate each time

std::unique_ptr<uint32_t[]> widened(const std::unique_ptr<uint32_t[]>& old, uint32_t old_size, uint32_t size,
                                    uint32_t shift) {
  auto wide = std::make_unique<uint32_t[]>(size);
  if (old) std::copy_n(old.get(), old_size, wide.get() + shift);
  return wide;
}

}  // namespace

void BucketRun::cover(uint32_t bucket) {
  const uint32_t begin = bucket / kStep * kStep;
  const uint32_t end = begin + kStep;
  const uint32_t new_begin = size_ ? std::min<uint32_t>(begin_, begin) : begin;
  const uint32_t new_end = size_ ? std::max<uint32_t>(begin_ + size_, end) : end;
  const uint32_t shift = size_ ? begin_ - new_begin : 0;
  low_ = widened(low_, size_, new_end - new_begin, shift);
  if (high_) high_ = widened(high_, size_, new_end - new_begin, shift);
  begin_ = static_cast<uint8_t>(new_begin);
  size_ = static_cast<uint8_t>(new_end - new_begin);
}

void BucketRun::add(uint32_t bucket, uint64_t count) {
  if (count == 0) return;
  bucket = std::min<uint32_t>(bucket, SONDE_HIST_BUCKETS);
  if (bucket < begin_ || bucket >= uint32_t{begin_} + size_) cover(bucket);
  const uint32_t place = bucket - begin_;
  const uint64_t sum = this->count(place) + count;
  low_[place] = static_cast<uint32_t>(sum);
  if (sum >> 32) {
    if (!high_) high_ = std::make_unique<uint32_t[]>(size_);
    high_[place] = static_cast<uint32_t>(sum >> 32);
  }
}

void BucketRun::add(const BucketRun& other) {
  for (uint32_t i = 0; i < other.size_; ++i) add(other.begin_ + i, other.count(i));
}

uint64_t BucketRun::at(uint32_t bucket) const {
  return bucket < begin_ || bucket >= uint32_t{begin_} + size_ ? 0 : count(bucket - begin_);
}

uint32_t BucketRun::append_to(std::vector<uint64_t>& out) const {
  uint32_t first = 0, last = size_;
  while (first < last && count(first) == 0) ++first;
  while (last > first && count(last - 1) == 0) --last;
  if (first == last) return 0;
  for (uint32_t i = first; i < last; ++i) out.push_back(count(i));
  return begin_ + first;
}

}  // namespace sonde
