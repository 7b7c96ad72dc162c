// SPDX-License-Identifier: Apache-2.0
// The series of one subject that have moved: sorted, sparse, with a table from the series' number to its place.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "agent/pipeline/bucket_run.h"
#include "agent/pipeline/catalog.h"

namespace sonde {

struct HistogramState {
  uint64_t count = 0;
  BucketRun buckets;
};

enum class SeriesState : uint8_t {
  Live,
  Ending,     // its last value is still to be sent
  Returning,  // was Parked and is asked for again: what it had is said first, and at once
  Marking,    // its end mark is still to be sent; from here on it takes no samples
  Parked,     // its end mark is out; its total is kept, so that it never falls under one start time
};

struct Accumulator {
  SeriesKey key = 0;
  uint64_t value = 0;  // counter: total; histogram: sum; gauge: the bits of an int64_t; in kernel units
  AttributeSetPtr attributes;
  std::unique_ptr<HistogramState> histogram;
  uint32_t stamp = 0;  // gauges: collection of the value; while nobody owns it: number of samples
  uint16_t ordinal = 0;
  SeriesState state = SeriesState::Live;
  bool emitted = false;

  void add(const HistogramDelta& delta);
  void add(const Accumulator& other);
  bool takes_samples() const { return state < SeriesState::Marking; }
  uint64_t amount() const { return histogram ? histogram->count : value; }  // for the books
};

class Group {
 public:
  Group() = default;
  Group(uint32_t tgid, std::string comm, AttributeSet extra)
      : tgid_(tgid), comm_(std::move(comm)), extra_(std::move(extra)) {}

  Accumulator* find(uint16_t ordinal) {  // not for cells
    if (ordinal >= places_.size() || places_[ordinal] == 0) return nullptr;
    return &series_[places_[ordinal] - 1];
  }
  Accumulator* find_key(SeriesKey key);
  // The key must not be there yet. Pointers to others become invalid.
  Accumulator& insert(const Located& located, const Catalog& catalog);
  template <typename Predicate>
  std::size_t erase_if(Predicate predicate) {
    const std::size_t erased = std::erase_if(series_, predicate);
    if (erased) place_from(0);
    return erased;
  }

  std::vector<Accumulator>& series() { return series_; }
  const std::vector<Accumulator>& series() const { return series_; }
  const AttributeSet& extra() const { return extra_; }  // on all its points
  uint32_t tgid() const { return tgid_; }
  const std::string& comm() const { return comm_; }

  // Is it the same process, and takes samples still?
  bool goes_on_as(const Group& other) const { return !ending && tgid_ == other.tgid_ && comm_ == other.comm_; }

  uint64_t start_ns = 0;  // CLOCK_REALTIME, of a process; 0: as the stream
  uint32_t live = 0;      // slots that count into it
  bool ending = false;

 private:
  void place_from(std::size_t first);

  std::vector<Accumulator> series_;  // sorted by key
  std::vector<uint16_t> places_;     // by ordinal: place in series_ + 1
  uint32_t tgid_ = 0;
  std::string comm_;
  AttributeSet extra_;
};

}  // namespace sonde
