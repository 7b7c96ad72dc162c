// SPDX-License-Identifier: Apache-2.0
// What the stages know about themselves, as plain data: for the agent's own metrics, `sonde status` and the conditions of
// policies. All numbers count since the start of the agent unless said otherwise.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <sonde/abi.h>

namespace sonde {

struct MapStats {
  std::string name;
  uint64_t entries = 0;
  uint64_t capacity = 0;
  uint64_t bytes = 0;            // kernel memory
  uint64_t update_failures = 0;  // by user space
};

enum class ModuleState : uint8_t { Off, Running, Degraded, Failed, Throttled };

struct ModuleStats {
  std::string name;
  ModuleState state = ModuleState::Off;
  uint64_t events = 0;       // runs of its programs
  uint64_t run_ns = 0;       // in its programs; sampled, so an estimate
  double mean_run_ns = 0;    // per event, of the last sample; 0: not sampled yet
  uint64_t missed_runs = 0;  // nmissed and recursion_misses
  uint64_t collection_failures = 0;
  uint64_t programs = 0;                        // attached now
  uint64_t overhead_step = 0;                   // OverheadStep; 0: not throttled
  std::array<uint64_t, SONDE_LOSSES> losses{};  // by reason: loss_name()
  std::vector<MapStats> maps;
};

// Whose names are in use: a source of pods ("kubelet", …), or "cgroup"; empty: nobody has told any yet.
struct NamesStats {
  std::string source;
  uint64_t fresh_ns = 0;  // CLOCK_BOOTTIME when it last held; 0: never
};

// Filled by the runtime from the kernel layer.
struct KernelStats {
  std::vector<ModuleStats> modules;  // the core object is one of them: "core"
  uint64_t slots_used = 0;
  uint64_t slots_capacity = 0;
};

std::string_view state_name(ModuleState state);

// Why a sample did not become part of its subject's series.
enum class Discard : uint8_t {
  NotSelected,    // no policy selects the subject (it counted provisionally until that was known)
  NotAsked,       // the policy does not ask for this series (any more)
  UnknownSeries,  // the kernel layer named a series that no module has
  Count,
};
// Samples that were kept, but not under their own name.
enum class Detour : uint8_t {
  UnattributedSlot,    // slot 0: the kernel did not know whose it was
  UnknownSlot,         // no snapshot knew the slot within some collections: to unattributed
  AfterEnd,            // the stream of its subject had been closed: to unattributed
  PendingFull,         // too many unknown slots at once: to unattributed
  SeriesPerContainer,  // folded into otel.metric.overflow of the same container
  SeriesPerNode,       // the same, because the node has too many series
  HardLimit,           // the agent's own bound on memory: to unattributed
  Count,
};
std::string_view discard_name(Discard reason);
std::string_view detour_name(Detour reason);

// `value` adds up deltas of counters and counts of histograms, whatever their units: for the books to balance.
struct Tally {
  uint64_t samples = 0;
  uint64_t value = 0;
};

struct AggregatorStats {
  Tally received;  // counters and histograms that the kernel layer delivered
  std::array<Tally, static_cast<std::size_t>(Discard::Count)> discards{};
  std::array<Tally, static_cast<std::size_t>(Detour::Count)> detours{};
  uint64_t labels_held = 0;  // changes of labels that made no new stream: the container had too many already
  // Now, not since the start:
  uint64_t streams = 0;
  uint64_t series = 0;
  uint64_t pending_slots = 0;
  // Policies whose seriesPerNode was in the way of the last collection: condition SeriesLimited. Whoever lowers a level
  // because of it decides when to try the old one again.
  std::vector<std::string> series_limited;
  std::vector<std::string> labels_held_by;  // namespace/pod/uid/container whose labels stay as they are
};

struct QueueStats {
  uint64_t items = 0;  // now
  uint64_t bytes = 0;  // now
  uint64_t max_bytes = 0;
  uint64_t pushed = 0;
  uint64_t dropped = 0;  // oldest first, because the queue was full
  uint64_t dropped_bytes = 0;
};

// As ExporterStats (agent/export/exporter.h), which this layer does not see.
struct ExportStats {
  std::string exporter;  // otlp, prometheus, file; of spans: otlp_traces, file_traces
  uint64_t batches = 0;
  uint64_t points_sent = 0;
  uint64_t points_rejected = 0;
  uint64_t points_dropped = 0;
  uint64_t points_superseded = 0;
  uint64_t spans_sent = 0;
  uint64_t spans_rejected = 0;
  std::map<std::string, uint64_t> spans_dropped;  // by reason
  uint64_t retries = 0;
  uint64_t halved = 0;           // OTLP: refused requests that went out again in two parts
  uint64_t scrapers = 0;         // of /metrics
  uint64_t ended_unscraped = 0;  // of /metrics: series that went before each scraper had their last value
  uint64_t bytes_sent = 0;
  uint64_t queued_batches = 0;
  uint64_t queued_bytes = 0;
  uint64_t queued_spans = 0;
  std::map<std::string, uint64_t> failures;  // by code

  bool of_spans() const { return exporter.ends_with("_traces"); }
};

// From the kernel side to the sinks of spans.
struct SpanStats {
  uint64_t recorded = 0;       // handed over
  uint64_t suppressed = 0;     // qualified, but there was no token
  uint64_t unknown_owner = 0;  // lost: nobody has the slot
  uint64_t malformed = 0;      // lost: no record
  uint64_t not_requested = 0;  // sent by settings that are not in force any more, or below its function's own threshold
  uint64_t buffer_full = 0;    // lost: the ring had no room
};

// The agent's own process, from /proc/self.
struct ProcessStats {
  double cpu_seconds = 0;
  uint64_t resident_bytes = 0;
  uint64_t virtual_bytes = 0;
  uint64_t open_fds = 0;
  uint64_t threads = 0;
};
ProcessStats read_process_stats();

}  // namespace sonde
