// SPDX-License-Identifier: Apache-2.0
// A module's rows (bpf/include/sonde/rows.h) read as deltas. Two ways with the same answer: remember the last value and
// subtract (u32 buckets wrap; modular subtraction takes that out), or exchange with zero atomically. Which one may
// change from one collection to the next.
#pragma once

#include <cstdint>
#include <vector>

#include "agent/kernel/core.h"
#include "agent/kernel/zeroed.h"
#include "agent/module/mapped.h"
#include "agent/module/module.h"
#include "agent/module/sample.h"

struct bpf_object;

namespace sonde {

class Rows {
 public:
  // Maps what the module's object has of <module>_counters, _histograms, _cells, _keyed and _gauges.
  static Result<Rows> map(bpf_object* object, const ModuleInfo& info, uint16_t module_id, Core& core);

  // Hands over everything that changed on this slot since the last call; returns how many series moved.
  uint64_t drain(uint32_t slot, SampleSink& sink, bool clear);
  void read_gauges(uint32_t slot, SampleSink& sink) const;
  // Takes rows for the histograms that these flags ask and that cannot take them themselves (SeriesSpec::early). Where the
  // pool is empty they go without: their samples are lost and counted.
  void reserve(uint32_t slot, uint8_t flags);
  // After the last drain: empties the slot's rows and gives its histogram rows back to the pool.
  void forget(uint32_t slot);
  // Rows of the histogram pool that this slot has.
  uint64_t histograms_of(uint32_t slot) const;

 private:
  uint64_t drain_counters(uint32_t slot, SampleSink& sink, bool clear);
  uint64_t drain_histograms(uint32_t slot, SampleSink& sink, bool clear);
  uint64_t drain_cells(uint32_t slot, SampleSink& sink, bool clear);
  uint64_t drain_keyed(uint32_t slot, SampleSink& sink, bool clear);
  // Of one row of the pool; 1 if it moved.
  uint64_t drain_row(uint32_t slot, SeriesId id, const uint32_t* place, SampleSink& sink, bool clear);
  void forget_row(uint32_t* place);

  const ModuleInfo* info_ = nullptr;
  uint16_t module_ = 0;
  Core* core_ = nullptr;
  Mapped counters_, histograms_, cells_, keyed_, gauges_;
  std::vector<uint16_t> series_of_counter_, series_of_histogram_, series_of_gauge_;
  uint16_t cell_series_ = 0, keyed_series_ = 0;
  struct Early {
    uint16_t index;
    uint8_t flag;
  };
  std::vector<Early> early_;
  Zeroed<uint64_t> last_counters_, last_cells_;  // by slot
};

}  // namespace sonde
