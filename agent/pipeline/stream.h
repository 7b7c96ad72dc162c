// SPDX-License-Identifier: Apache-2.0
// A stream: what one OTLP Resource says. It outlives what it counts: the lives of a container that is started again and
// again are one stream.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/pipeline/group.h"
#include "agent/pipeline/resource.h"
#include "agent/pipeline/series_plan.h"

namespace sonde {

struct Stream;

enum class StreamState : uint8_t {
  Live,    // also while its container is between two lives
  Ending,  // its last values and its end marks are still to be sent
  Parked,  // its end marks are out; its totals wait for its container to go by this name again
};

// The streams of one container, pod or workload: more than one if labels that are on the Resource were edited.
struct Family {
  std::string key;
  std::vector<Stream*> streams;  // the one that was joined last is the last
  SubjectPtr subject;            // of the latest life
  uint32_t live = 0;             // slots that count into any of them
  std::string refused;           // name of the latest stream that was one too many
};

struct Stream {
  std::string key;  // how it is counted, and service.instance.id
  Family* family = nullptr;
  StreamScope scope = StreamScope::Container;
  ResourcePtr resource;
  DecisionPtr decision;
  SeriesPlanPtr plan;     // null: all series are taken (the node's own streams)
  uint64_t start_ns = 0;  // CLOCK_REALTIME, worked out once: a clock step does not move it
  // The first is the subject's own, others are processes.
  std::vector<std::unique_ptr<Group>> groups;
  std::size_t series = 0;  // those that are sent
  uint32_t live = 0;       // slots that count into it
  StreamState state = StreamState::Live;
  bool keeps = false;         // Ending: parked afterwards
  bool deselected = false;    // its last slot did not end: no policy selects it any more
  bool returns = false;       // some series are Returning
  bool emitted = false;       // something of it has left
  bool marks = false;         // some series wait for their end mark
  bool done = false;          // nothing is left to send
  uint32_t ratios = 0;        // modules whose ratio of sampled histograms has been sent, as bits
  uint64_t idle_boot_ns = 0;  // CLOCK_BOOTTIME since when nothing counts into it
  uint64_t sent_boot_ns = 0;  // CLOCK_BOOTTIME of the last emission, or of its begin
  uint64_t last_time_ns = 0;  // CLOCK_REALTIME of its last points
  SeriesPlanPtr wanted;       // plan of the snapshots being applied
  uint64_t wanted_round = 0;

  Group& own() { return *groups.front(); }
  uint64_t period_ns() const { return (decision ? decision->period_ms : 0) * uint64_t{1'000'000}; }
};

}  // namespace sonde
