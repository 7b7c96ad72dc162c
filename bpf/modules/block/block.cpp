// SPDX-License-Identifier: Apache-2.0
// The block probe in user space: what it measures, and by which programs.
#include "bpf/modules/block/block.h"

#include <array>
#include <string>

#include "agent/base/file.h"
#include "agent/module/module.h"
#include "bpf/modules/block/devices.h"
#include "bpf/modules/block/names.h"
#include "bpf/modules/block/queues.h"

namespace sonde {
namespace {

enum Metric : uint8_t { kIo, kDuration, kErrors, kDepth };

constexpr AttributeSpec kIoAttributes[] = {{"disk.io.direction", "read, write"}};
constexpr AttributeSpec kDurationAttributes[] = {{"sonde.block.operation", "read, write, discard, flush"},
                                                 {"sonde.block.phase", "Detailed: queue, device"},
                                                 {"system.device", "Detailed: name of the disk, as nvme0n1"}};
constexpr AttributeSpec kErrorAttributes[] = {
    {"sonde.block.operation", "read, write, discard, flush"},
    {"error.type", "name of the errno that the caller sees, as EIO; _OTHER for those that have none"}};
constexpr AttributeSpec kDepthAttributes[] = {{"system.device", "name of the disk, as nvme0n1"}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.block.io",
     .unit = "By",
     .level = Level::Standard,
     .description =
         "Bytes that block devices read and wrote, by whom it was caused: writeback and read-ahead included.",
     .attributes = kIoAttributes},
    {.name = "sonde.block.operation.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Standard,
     .description = "Time from the begin to the end of a request to a block device; by phase, each counts once.",
     .attributes = kDurationAttributes},
    {.name = "sonde.block.operation.errors",
     .unit = "{operation}",
     .level = Level::Standard,
     .description = "Requests to block devices that failed.",
     .attributes = kErrorAttributes,
     .from_zero = true},
    {.name = "sonde.block.queue.depth",
     .unit = "{operation}",
     .instrument = Instrument::Gauge,
     .level = Level::Detailed,
     .description = "Requests that a disk of the machine is working at.",
     .attributes = kDepthAttributes,
     .node = true},
};

constexpr std::size_t kSeriesCount = 2 + 2 * BLOCK_OPERATIONS + 3;

constexpr auto make_series() {
  std::array<SeriesSpec, kSeriesCount> all{};
  std::size_t n = 0;
  for (const uint16_t direction : {BLOCK_READ, BLOCK_WRITE}) {
    all[n++] = {kIo,
                Source::Counter,
                static_cast<uint16_t>(BLOCK_READ_BYTES + direction),
                {kBlockOperations[direction]},
                Level::Standard,
                BLOCK_FLAG_BYTES};
  }
  for (uint16_t operation = 0; operation < BLOCK_OPERATIONS; ++operation) {
    const std::string_view name = kBlockOperations[operation];
    all[n++] = {kDuration, Source::Histogram, operation, {name}, Level::Standard, BLOCK_FLAG_DURATION, 1e-9};
    all[n++] = {kErrors,       Source::Counter, static_cast<uint16_t>(BLOCK_IO_ERRORS + operation),
                {name, "EIO"}, Level::Standard, BLOCK_FLAG_ERRORS};
  }
  all[n++] = {kErrors, Source::Cells, 0, {}, Level::Standard, BLOCK_FLAG_ERRORS};
  all[n++] = {kDuration, Source::KeyedHistogram, 0, {}, Level::Detailed, BLOCK_FLAG_PHASES, 1e-9};
  all[n++] = {kDepth, Source::ReadKeyed, 0, {}, Level::Detailed, BLOCK_FLAG_DEPTH};
  return all;
}
constexpr auto kSeries = make_series();

// Both run the same programs, which see for themselves what a bio says. The second is there to tell what is missing.
std::string v1_controller(const Features&) {
  const auto cgroups = read_small_file("/proc/self/cgroup");
  if (!cgroups || !block_controller_is_v1(*cgroups)) return {};
  return "the io controller is on cgroup v1 (blkio), so requests do not name a v2 cgroup: they are charged to the "
         "process "
         "that makes them, and writeback by the kernel's own threads to no container; boot with "
         "cgroup_no_v1=blkio, or with cgroup v2 alone";
}

constexpr Alternative kAlternatives[] = {
    {"bio_cgroup", v1_controller},
    {"submitter", [](const Features&) { return std::string(); }},
};

bool has_start(const Features& features) { return features.has_tracepoint("block_io_start"); }
bool has_no_start(const Features& features) { return !has_start(features); }

constexpr uint8_t kRequests = BLOCK_FLAG_BYTES | BLOCK_FLAG_DURATION | BLOCK_FLAG_ERRORS | BLOCK_FLAG_PHASES;
constexpr std::string_view kNoOwner =
    "where a request does not name its cgroup, it is charged to the nearest parent that has the io controller";

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
     .gap = "notes of requests that became part of others stay until their memory is used again"},
    {.program = "block_complete", .hook = "tp_btf/block_rq_complete", .flags = kRequests},
};

constexpr std::string_view kNotes[] = {
    "one request counts once, however many bios were merged into it and however often it was queued again; an I/O that "
    "was "
    "split is several",
    "stacked devices (loop, md, device mapper) do not count, what they do to others does; devices without requests "
    "(zram, "
    "brd) neither",
    "failed bytes are not in sonde.block.io; a driver's own commands and zone management count nowhere",
    "journals and other metadata that file systems write by threads of their own belong to no container",
    "a write with a flush before it is one write; a flush is what somebody asked for, also if the device made one for "
    "many",
    "the histograms take no clock at the begin and are never sampled: sampleHistogramsEvery does not apply",
};

constexpr ModuleInfo kInfo = {
    .name = "block",
    .summary = "Requests to block devices: bytes, latency, errors, charged to whoever caused them",
    .metrics = kMetrics,
    .series = kSeries,
    .alternatives = kAlternatives,
    .programs = kPrograms,
    .needs = "BTF; the io controller on cgroup v2 to charge writeback; CAP_BPF and CAP_PERFMON",
    .counters = BLOCK_COUNTERS,
    .histograms = BLOCK_OPERATIONS,
    .cells = true,
    .keyed_histograms = true,
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
