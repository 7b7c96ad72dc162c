// SPDX-License-Identifier: Apache-2.0
// The io probe in user space: what it measures, by which programs, and the count of open files.
#include "bpf/modules/io/io.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <cerrno>
#include <string>

#include "agent/base/clock.h"
#include "agent/module/bpf_run.h"
#include "agent/module/errno_name.h"
#include "agent/module/mapped.h"
#include "agent/module/module.h"
#include "agent/module/series.h"
#include "bpf/modules/io/names_tables.h"
#include "bpf/modules/io/programs_tables.h"
#include "bpf/modules/io/shown_tables.h"
#include "sonde/spans.h"

namespace sonde {
namespace {

enum Metric : uint8_t { kFileIo, kDuration, kErrors, kStreamIo, kStreamWait, kOpenCount, kIoUring };

constexpr AttributeSpec kFileIoAttributes[] = {{"disk.io.direction", "read, write"}};
constexpr AttributeSpec kDurationAttributes[] = {
    {"sonde.file.operation", "read, write, fsync; Detailed: open, close, rename, unlink, stat"}};
constexpr AttributeSpec kErrorAttributes[] = {
    {"sonde.file.operation", "read, write, fsync; Detailed: open, close, rename, unlink, stat"},
    {"error.type", "name of the errno, such as ENOSPC; _OTHER if there is no room for it"}};
constexpr AttributeSpec kStreamAttributes[] = {{"sonde.stream.target", "socket, pipe, tty, other"},
                                               {"disk.io.direction", "read, write"}};
constexpr AttributeSpec kIoUringAttributes[] = {{"sonde.io_uring.opcode", "readv, writev, fsync, … in lower case"}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.file.io",
     .unit = "By",
     .level = Level::Minimal,
     .description = "Bytes read from and written to regular files and block devices, as returned by the system calls, "
                    "even if the file system shares blocks instead of copying them (copy_file_range).",
     .attributes = kFileIoAttributes,
     .top = kTopIo,
     .legacy = kLegacyIo},
    {.name = "sonde.file.operation.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Standard,
     .description = "Duration of calls and requests on regular files and block devices, including failed ones.",
     .attributes = kDurationAttributes,
     .top = kTopOperations,
     .legacy = kLegacyOperations},
    {.name = "sonde.file.operation.errors",
     .unit = "{operation}",
     .level = Level::Standard,
     .description = "Failed calls and requests on files, including calls that seccomp denied.",
     .attributes = kErrorAttributes,
     .top = kTopErrors},
    {.name = "sonde.stream.io",
     .unit = "By",
     .level = Level::Detailed,
     .description = "Bytes read from and written to sockets, pipes, terminals and other non-files by calls and "
                    "requests of the read and write families.",
     .attributes = kStreamAttributes,
     .legacy = kLegacyStreams},
    {.name = "sonde.stream.wait.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Detailed,
     .description = "Duration of reads and writes on sockets, pipes, terminals and other non-files, "
                    "mostly time spent waiting.",
     .attributes = kStreamAttributes,
     .legacy = kLegacyStreamOperations},
    {.name = "sonde.file.open_descriptors",
     .unit = "{file}",
     .instrument = Instrument::UpDownCounter,
     .level = Level::Detailed,
     .description = "Open file descriptors of regular files and block devices, over all processes."},
    {.name = "sonde.io_uring.operations",
     .unit = "{operation}",
     .level = Level::Detailed,
     .description = "Requests submitted to io_uring.",
     .attributes = kIoUringAttributes},
};

constexpr SeriesSpec duration(uint16_t operation, Level level, uint8_t flag) {
  return {kDuration, Source::Histogram, operation, {kOperationNames[operation]}, level, flag, 1e-9};
}

constexpr SeriesList make_series() {
  SeriesList all;
  for (const uint16_t direction : {IO_READ, IO_WRITE}) {
    all.add({kFileIo, Source::Counter, direction, {kOperationNames[direction]}, Level::Minimal, IO_BYTES});
  }
  for (const uint16_t operation : {IO_READ, IO_WRITE, IO_FSYNC}) {
    all.add(duration(operation, Level::Standard, IO_OPERATIONS));
  }
  for (uint16_t operation = IO_OPEN; operation <= IO_STAT; operation++) {
    all.add(duration(operation, Level::Detailed, IO_DETAIL));
  }
  all.add({kErrors, Source::Cells, 0, {}, Level::Standard, IO_ERRORS});
  for (uint16_t transfer = IO_STREAMS; transfer < IO_TRANSFERS; transfer++) {
    const AttributeValues values{kTargetNames[transfer / 2], kOperationNames[transfer % 2]};
    all.add({kStreamIo, Source::Counter, transfer, values, Level::Detailed, IO_STREAM});
    all.add({kStreamWait, Source::Histogram, transfer, values, Level::Detailed, IO_STREAM, 1e-9});
  }
  all.add({kOpenCount, Source::Gauge, IO_OPEN_FILES, {}, Level::Detailed, IO_OPEN_COUNT});
  for (uint16_t opcode = 0; opcode < IO_OPCODES; opcode++) {
    all.add({kIoUring,
             Source::Counter,
             static_cast<uint16_t>(IO_OPCODE + opcode),
             {kOpcodeNames[opcode]},
             Level::Detailed,
             IO_URING});
  }
  return all;
}
constexpr auto kSeries = series_of<make_series>();

constexpr std::string_view kAliases[] = {"fs"};

constexpr LossSpec kLosses[] = {{IO_LOSS_COMPAT, "compat"}, {IO_LOSS_NOT_FOLLOWED, "not_followed"}};

constexpr std::string_view kNotes[] = {
    "Not counted: I/O through mmap, ioctl (FICLONE and FIDEDUPERANGE share blocks), and memory copied by "
    "process_vm_readv and process_vm_writev.",
    "Calls with a path (open, rename, unlink, stat) count regardless of the type of file; rmdir counts as unlink.",
    "sendfile, splice and copy_file_range count as a read of their input and a write of their output; "
    "vmsplice as a read or write of its pipe; tee as a write of its output.",
    "fsync and fdatasync count as fsync; sync, syncfs, sync_file_range and msync do not. close_range does not count "
    "as close.",
    "sonde.stream.* does not include the recv and send families on sockets, not even through io_uring; "
    "the network probe measures them.",
    "A call that is interrupted by a signal and restarted by the kernel counts twice, once as EINTR.",
    "Of calls answered by seccomp or a tracer, only failures are counted, as errors without a duration. "
    "With fentry, such calls are not seen at all.",
    "Calls of 32-bit programs are counted as lost with tracepoints, and not seen at all with fentry.",
    "Native AIO (io_submit) counts when the completion is fetched. Completions that a program takes directly from "
    "the ring count at its next submission, without a duration.",
    "io_uring: a multishot read counts as one read per completion. Counted as loss not_followed: "
    "requests without completion (IOSQE_CQE_SKIP_SUCCESS), device commands (uring_cmd, uring_cmd128), "
    "and the input of a splice from a registered file to a pipe.",
};

constexpr SpanSpec kSpans[] = {
    {SONDE_SPAN_READ, IO_OPERATIONS}, {SONDE_SPAN_WRITE, IO_OPERATIONS}, {SONDE_SPAN_FSYNC, IO_OPERATIONS},
    {SONDE_SPAN_OPEN, IO_DETAIL},     {SONDE_SPAN_RENAME, IO_DETAIL},    {SONDE_SPAN_UNLINK, IO_DETAIL},
};

constexpr ModuleInfo kInfo = {
    .name = "io",
    .summary = "File and stream I/O of processes: bytes, latency and errors on files, waits on streams",
    .aliases = kAliases,
    .metrics = kMetrics,
    .series = kSeries,
    .alternatives = kAlternatives,
    .programs = kPrograms,
    .needs =
        "BTF tracepoints sys_enter and sys_exit, or fentry on kernels that are not preemptible; CAP_BPF, CAP_PERFMON",
    .counters = IO_SAMPLERS,  // the samplers behind them are the kernel side's own
    .histograms = IO_HISTOGRAMS,
    .gauges = IO_GAUGES,
    .cells = true,
    .samples_histograms = true,
    .spans = kSpans,
    .losses = kLosses,
    .notes = kNotes,
};

class IoModule : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  CellSeries decode_cell(uint32_t key) const override {
    if (key == kOtherCells) return {kErrors, AttributeValues{"", "_OTHER"}};
    const uint32_t operation = IO_ERROR_OPERATION(key);
    const std::string_view name = operation < kOperationNames.size() ? kOperationNames[operation] : "";
    return {kErrors, AttributeValues{name, errno_name(IO_ERROR_NUMBER(key))}};
  }

  Result<void> prepare(bpf_object* object, const Features& features, int) const override {
    if (features.has_tracepoint("io_uring_submit_req")) return {};
    // The same event under its name before 6.3; if that is missing too, the load fails and the gap is named.
    bpf_program* program = bpf_object__find_program_by_name(object, "io_uring_submit");
    if (!program || !features.has_tracepoint("io_uring_submit_sqe")) return {};
    if (const int error = bpf_program__set_attach_target(program, 0, "io_uring_submit_sqe"))
      return Error::system("cannot select the tracepoint io_uring_submit_sqe", -error);
    return {};
  }

  Result<void> begin(bpf_object* object) const override {
    const bpf_map* variables = bpf_object__find_map_by_name(object, ".bss");
    const std::array<uint64_t, IO_STATE_PLACES> state{monotonic_ns()};
    const uint32_t key = 0;
    if (!variables || bpf_map__value_size(variables) != sizeof(state)) return Error("the io object has no state");
    if (bpf_map_update_elem(bpf_map__fd(variables), &key, state.data(), BPF_ANY))
      return Error::system("cannot set the start time of the io programs", errno);
    return {};
  }

  // The iterator counts separately; the published value only changes when the count is complete.
  Result<void> refresh(bpf_object* object) const override {
    const bool all = program_fd(object, "io_count_files_all") >= 0;
    const bool counted = all || program_fd(object, "io_open_files") >= 0;  // else it is named as a gap
    auto rows = Mapped::map(object, "io_gauges");
    if (!rows) return rows.error();
    for (uint32_t slot = 0; slot < rows->entries(); slot++) rows->at<int64_t>(slot)[IO_OPEN_FILES_NEXT] = 0;
    if (auto ran = all ? run_program(object, "io_count_files_all") : run_iterator(object, "io_open_files"); !ran)
      return ran;
    for (uint32_t slot = 0; slot < rows->entries(); slot++) {
      auto* row = rows->at<int64_t>(slot);
      __atomic_store_n(&row[IO_OPEN_FILES], counted ? row[IO_OPEN_FILES_NEXT] : SONDE_NO_GAUGE, __ATOMIC_RELAXED);
    }
    return {};
  }
};

}  // namespace

const Module& sonde_module_io() {
  static const IoModule module;
  return module;
}

}  // namespace sonde
