// SPDX-License-Identifier: Apache-2.0
// A stream: what one OTLP Resource says from one start time on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/pipeline/group.h"
#include "agent/pipeline/series_plan.h"

namespace sonde {

enum class StreamState : uint8_t {
  Live,
  Ending,   // its last values are still to be sent
  Marking,  // its end marks are still to be sent
};

struct Stream {
  std::string key;
  bool pod = false;
  bool per_process = false;
  uint64_t cgroup_id = 0;  // of the container whose names the Resource has
  ResourcePtr resource;
  DecisionPtr decision;
  SeriesPlanPtr plan;     // null: all series are taken (the node's own streams)
  uint64_t start_ns = 0;  // CLOCK_REALTIME, worked out once: a clock step does not move it
  // Series that a later policy added: they count from then on.
  std::vector<std::pair<uint16_t, uint64_t>> later;
  // The first is the subject's own, others are processes.
  std::vector<std::unique_ptr<Group>> groups;
  std::size_t series = 0;
  uint32_t live = 0;  // slots that count into it
  StreamState state = StreamState::Live;
  bool emitted = false;           // something of it has left
  bool marks = false;             // some series wait for their end mark
  bool folded = false;            // some samples went to overflow: what gets a series later, counts from then on
  uint32_t ratios = 0;            // modules whose ratio of sampled histograms has been sent, as bits
  bool done = false;              // nothing is left to send
  bool due = false;               // at the next emission, whatever the period
  bool continued = false;         // a successor has the same Resource: no end marks
  Stream* predecessor = nullptr;  // must be through before this one is sent
  Stream* successor = nullptr;
  uint64_t sent_boot_ns = 0;  // CLOCK_BOOTTIME of the last emission, or of its begin
  uint64_t last_time_ns = 0;  // CLOCK_REALTIME of its last points
  SeriesPlanPtr wanted;       // plan of the snapshots being applied
  uint64_t wanted_round = 0;

  Group& own() { return *groups.front(); }
  uint64_t period_ns() const { return (decision ? decision->period_ms : 0) * uint64_t{1'000'000}; }
  uint64_t start_of(uint16_t ordinal) const {
    for (const auto& [number, start] : later) {
      if (number == ordinal) return start;
    }
    return start_ns;
  }
};

}  // namespace sonde
