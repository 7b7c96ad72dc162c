// SPDX-License-Identifier: Apache-2.0
// The block probe in user space: what it measures, and by which programs.
#include "bpf/modules/block/block.h"

#include <array>
#include <string>

#include "agent/base/file.h"
#include "agent/module/module.h"
#include "agent/module/series.h"
#include "bpf/modules/block/devices_tables.h"
#include "bpf/modules/block/names_tables.h"
#include "bpf/modules/block/queues_tables.h"
#include "sonde/spans.h"

namespace sonde {
namespace {

enum Metric : uint8_t { kIo, kDuration, kErrors, kDepth };

constexpr AttributeSpec kIoAttributes[] = {{"disk.io.direction", "read, write"}};
constexpr AttributeSpec kDurationAttributes[] = {{"sonde.block.operation", "read, write, discard, flush"},
                                                 {"sonde.block.phase", "Detailed: queue, device"},
                                                 {"system.device", "Detailed: name of the disk, such as nvme0n1"}};
constexpr AttributeSpec kErrorAttributes[] = {
    {"sonde.block.operation", "read, write, discard, flush"},
    {"error.type", "name of the errno that the caller sees, such as EIO; _OTHER if it has none"}};
constexpr AttributeSpec kDepthAttributes[] = {{"system.device", "name of the disk, such as nvme0n1"}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.block.io",
     .unit = "By",
     .level = Level::Standard,
     .description = "Bytes read from and written to block devices, attributed to the container that caused the I/O, "
                    "including writeback and readahead.",
     .attributes = kIoAttributes},
    {.name = "sonde.block.operation.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Standard,
     .description = "Duration of block device requests, from start to completion; at Detailed split by phase.",
     .attributes = kDurationAttributes},
    {.name = "sonde.block.operation.errors",
     .unit = "{operation}",
     .level = Level::Standard,
     .description = "Failed block device requests.",
     .attributes = kErrorAttributes,
     .from_zero = true},
    {.name = "sonde.block.queue.depth",
     .unit = "{operation}",
     .instrument = Instrument::Gauge,
     .level = Level::Detailed,
     .description = "Requests in progress on a disk of the node.",
     .attributes = kDepthAttributes,
     .node = true},
};

constexpr SeriesList make_series() {
  SeriesList all;
  for (const uint16_t direction : {BLOCK_READ, BLOCK_WRITE}) {
    all.add({kIo,
             Source::Counter,
             static_cast<uint16_t>(BLOCK_READ_BYTES + direction),
             {kBlockOperations[direction]},
             Level::Standard,
             BLOCK_FLAG_BYTES});
  }
  for (uint16_t operation = 0; operation < BLOCK_OPERATIONS; ++operation) {
    const std::string_view name = kBlockOperations[operation];
    all.add({kDuration, Source::Histogram, operation, {name}, Level::Standard, BLOCK_FLAG_DURATION, 1e-9});
    all.add({kErrors,
             Source::Counter,
             static_cast<uint16_t>(BLOCK_IO_ERRORS + operation),
             {name, "EIO"},
             Level::Standard,
             BLOCK_FLAG_ERRORS});
  }
  all.add({kErrors, Source::Cells, 0, {}, Level::Standard, BLOCK_FLAG_ERRORS});
  all.add({kDuration, Source::KeyedHistogram, 0, {}, Level::Detailed, BLOCK_FLAG_PHASES, 1e-9});
  all.add({kDepth, Source::ReadKeyed, 0, {}, Level::Detailed, BLOCK_FLAG_DEPTH});
  return all;
}
constexpr auto kSeries = series_of<make_series>();

// Both run the same programs, which see for themselves what a bio says. The second is there to tell what is missing.
std::string v1_controller(const Features&) {
  const auto cgroups = read_small_file("/proc/self/cgroup");
  if (!cgroups || !block_controller_is_v1(*cgroups)) return {};
  return "the io controller is on cgroup v1 (blkio), so requests do not name a v2 cgroup: "
         "they are attributed to the process that submits them, and writeback by kernel threads to no container; "
         "boot with cgroup_no_v1=blkio, or with cgroup v2 only";
}

constexpr Alternative kAlternatives[] = {
    {"bio_cgroup", v1_controller},
    {"submitter", [](const Features&) { return std::string(); }},
};

bool has_start(const Features& features) { return features.has_tracepoint("block_io_start"); }
bool has_no_start(const Features& features) { return !has_start(features); }

constexpr uint8_t kRequests = BLOCK_FLAG_BYTES | BLOCK_FLAG_DURATION | BLOCK_FLAG_ERRORS | BLOCK_FLAG_PHASES;
constexpr std::string_view kNoOwner =
    "a request that does not name its cgroup is attributed to the nearest parent cgroup with the io controller";

constexpr ProgramSpec kPrograms[] = {
    {.program = "block_start",
     .hook = "tp_btf/block_io_start",
     .flags = kRequests,
     .gap = kNoOwner,
     .needed = has_start},
    {.program = "block_insert",
     .hook = "tp_btf/block_rq_insert",
     .flags = kRequests,
     .gap = kNoOwner,
     .needed = has_no_start},
    {.program = "block_direct",
     .hook = "tp_btf/block_rq_issue",
     .flags = kRequests,
     .gap = kNoOwner,
     .needed = has_no_start},
    {.program = "block_issue",
     .hook = "tp_btf/block_rq_issue",
     .flags = BLOCK_FLAG_PHASES,
     .gap = "durations by phase and device are not measured"},
    {.program = "block_merge",
     .hook = "tp_btf/block_rq_merge",
     .flags = kRequests,
     .gap = "entries of merged requests stay until their memory is reused"},
    {.program = "block_complete", .hook = "tp_btf/block_rq_complete", .flags = kRequests},
};

constexpr std::string_view kNotes[] = {
    "A request counts once, regardless of merged bios and requeues; an I/O that was split counts as several requests.",
    "Stacked devices (loop, md, device mapper) are not counted, but their I/O on the underlying devices is. "
    "Devices without requests (zram, brd) are not counted.",
    "sonde.block.io does not include bytes that failed. Driver-internal commands and zone management are not counted.",
    "Journals and other metadata that file systems write from their own threads are not attributed to a container.",
    "A write preceded by a flush counts as one write. Flushes are counted as requested, even if the device combines "
    "several.",
    "The histograms need no clock read at the start and are never sampled: sampleHistogramsEvery does not apply.",
};

constexpr SpanSpec kSpans[] = {
    {SONDE_SPAN_BLOCK_IO, BLOCK_FLAG_DURATION},
};

constexpr ModuleInfo kInfo = {
    .name = "block",
    .summary = "Block devices: bytes, latency and errors, attributed to the container that caused the I/O",
    .metrics = kMetrics,
    .series = kSeries,
    .alternatives = kAlternatives,
    .programs = kPrograms,
    .needs = "BTF; the io controller on cgroup v2 to attribute writeback; CAP_BPF and CAP_PERFMON",
    .counters = BLOCK_COUNTERS,
    .histograms = BLOCK_OPERATIONS,
    .cells = true,
    .keyed_histograms = true,
    .spans = kSpans,
    .notes = kNotes,
};

class BlockModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  CellSeries decode_cell(uint32_t key) const override {
    if (key == kOtherCells) return {kErrors, AttributeValues{"", "_OTHER"}};
    const uint32_t operation = BLOCK_ERROR_OPERATION(key);
    const std::string_view name = operation < kBlockOperations.size() ? kBlockOperations[operation] : "";
    return {kErrors, AttributeValues{name, block_error_name(BLOCK_ERROR_CODE(key))}};
  }

  CellSeries decode_keyed(uint32_t key) const override {
    if (key == kOtherCells) return {kDuration, AttributeValues{"", "", "_OTHER"}};
    const uint32_t major = BLOCK_KEY_MAJOR(key), minor = BLOCK_KEY_MINOR(key);
    const std::string_view device = major ? devices_.name(major, minor) : "_OTHER";
    return {kDuration,
            AttributeValues{kBlockOperations[BLOCK_KEY_OPERATION(key)], kBlockPhases[BLOCK_KEY_PHASE(key)], device}};
  }

  SpanWords decode_span(const sonde_span& span) const override {
    return {.device = span.device_major ? devices_.name(span.device_major, span.device_minor) : std::string_view()};
  }

  CellSeries decode_read(uint32_t key) const override { return {kDepth, AttributeValues{queues_.name(key)}}; }

  Result<void> read_keyed(const ReadTarget& target, std::vector<KeyedState>& states) const override {
    return target.node ? queues_.read(*target.files, states) : Result<void>{};
  }

 private:
  mutable BlockDevices devices_;
  mutable BlockQueues queues_;
};

}  // namespace

const Module& sonde_module_block() {
  static const BlockModule module;
  return module;
}

}  // namespace sonde
