// SPDX-License-Identifier: Apache-2.0
// A module's rows (bpf/include/sonde/rows.h) read as deltas. Two ways with the same answer: remember the last value and
// subtract (u32 buckets wrap; modular subtraction takes that out), or exchange with zero atomically. Which one may
// change from one collection to the next.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "agent/kernel/core.h"
#include "agent/module/mapped.h"
#include "agent/module/module.h"
#include "agent/module/sample.h"

struct bpf_object;
struct sonde_histogram;

namespace sonde {

class Rows {
 public:
  // Maps what the module's object has of <module>_counters, _histograms, _cells and _gauges.
  static Result<Rows> map(bpf_object* object, const ModuleInfo& info, uint16_t module_id, Core& core);

  // Hands over everything that changed on this slot since the last call; returns how many series moved.
  uint64_t drain(uint32_t slot, SampleSink& sink, bool clear);
  void read_gauges(uint32_t slot, SampleSink& sink) const;
  // After the last drain: empties the slot's rows and gives its histogram rows back to the pool.
  void forget(uint32_t slot);

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  template <typename T>
  using Zeroed = std::unique_ptr<T[], Free>;  // calloc: pages that nobody touches take no memory
  template <typename T>
  static Zeroed<T> zeroed(std::size_t n) {
    return Zeroed<T>(static_cast<T*>(std::calloc(n, sizeof(T))));
  }

  uint64_t drain_counters(uint32_t slot, SampleSink& sink, bool clear);
  uint64_t drain_histograms(uint32_t slot, SampleSink& sink, bool clear);
  uint64_t drain_cells(uint32_t slot, SampleSink& sink, bool clear);

  const ModuleInfo* info_ = nullptr;
  uint16_t module_ = 0;
  Core* core_ = nullptr;
  Mapped counters_, histograms_, cells_, gauges_;
  std::vector<uint16_t> series_of_counter_, series_of_histogram_, series_of_gauge_;
  uint16_t cell_series_ = 0;
  // Last values, by slot. Those of histograms stand behind each index of the slot's row of row numbers.
  Zeroed<uint64_t> last_counters_, last_cells_;
  Zeroed<sonde_histogram> last_histograms_;  // by row of the pool; rows have one owner, so modules never collide
};

}  // namespace sonde
