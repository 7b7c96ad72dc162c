// SPDX-License-Identifier: Apache-2.0
#include "bpf/modules/process/process.h"

#include <array>
#include <csignal>
#include <cstring>
#include <string>

#include "agent/module/module.h"

namespace sonde {
namespace {

enum Metric : uint8_t { kForks, kExecs, kExits, kLifetime };

constexpr AttributeSpec kExitAttributes[] = {{"sonde.process.exit", "success, error, signal"},
                                             {"sonde.process.signal",
                                              "only with signal: name of the signal, such as SIGKILL; "
                                              "_OTHER if there is no room for it"}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.process.forks",
     .unit = "{fork}",
     .level = Level::Detailed,
     .description = "Processes started by processes of the container; threads are not included."},
    {.name = "sonde.process.execs", .unit = "{exec}", .level = Level::Detailed, .description = "Successful execs."},
    {.name = "sonde.process.exits",
     .unit = "{exit}",
     .level = Level::Detailed,
     .description = "Processes that exited, by outcome: status 0, another status, or a signal.",
     .attributes = kExitAttributes},
    {.name = "sonde.process.lifetime.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Detailed,
     .description = "Lifetime of exited processes, from fork to exit."},
};

constexpr SeriesSpec counter(uint8_t metric, uint16_t index, uint8_t flag, AttributeValues values = {}) {
  return {metric, Source::Counter, index, values, Level::Detailed, flag};
}

constexpr SeriesSpec kSeries[] = {
    counter(kForks, PROCESS_FORKS, PROCESS_FLAG_FORKS),
    counter(kExecs, PROCESS_EXECS, PROCESS_FLAG_EXECS),
    counter(kExits, PROCESS_EXIT_SUCCESS, PROCESS_FLAG_EXITS, {"success"}),
    counter(kExits, PROCESS_EXIT_ERROR, PROCESS_FLAG_EXITS, {"error"}),
    {kExits, Source::Cells, 0, {"signal"}, Level::Detailed, PROCESS_FLAG_EXITS},
    {kLifetime, Source::Histogram, PROCESS_LIFETIME, {}, Level::Detailed, PROCESS_FLAG_LIFETIME, 1e-9},
};

constexpr ProgramSpec kPrograms[] = {
    {.program = "process_fork", .hook = "tp_btf/sched_process_fork", .flags = PROCESS_FLAG_FORKS},
    {.program = "process_exec", .hook = "tp_btf/sched_process_exec", .flags = PROCESS_FLAG_EXECS},
    {.program = "process_exit",
     .hook = "tp_btf/sched_process_exit",
     .flags = PROCESS_FLAG_EXITS | PROCESS_FLAG_LIFETIME},
};

constexpr std::string_view kNotes[] = {
    "A fork is attributed to the caller; an exec or exit to the process itself, whoever reaps it.",
    "A process exits when its last thread does; the status is the one its parent receives.",
    "Lifetimes above 76 s are in the histogram's last, unbounded bucket; the sum is exact.",
    "Processes older than the agent are counted when they exit, with their full lifetime.",
};

constexpr ModuleInfo kInfo = {
    .name = "process",
    .summary = "Processes: forks, execs, exits, lifetimes",
    .metrics = kMetrics,
    .series = kSeries,
    .programs = kPrograms,
    .needs = "BTF, task storage for tracing programs (Linux 5.12); CAP_BPF and CAP_PERFMON",
    .counters = PROCESS_COUNTERS,
    .histograms = PROCESS_HISTOGRAMS,
    .cells = true,
    .notes = kNotes,
};

constexpr int kSignals = 65;  // 1..64, include/uapi/asm-generic/signal.h

constexpr int kFirstRealTime = 34;  // as seen by programs: glibc keeps 32 and 33 for itself

std::string signal_name(int number) {
  if (const char* name = sigabbrev_np(number)) return std::string("SIG") + name;
  if (number < kFirstRealTime) return "SIG" + std::to_string(number);
  return number == kFirstRealTime ? "SIGRTMIN" : "SIGRTMIN+" + std::to_string(number - kFirstRealTime);
}

std::array<std::string, kSignals> make_signal_names() {
  std::array<std::string, kSignals> names;
  for (int i = 1; i < kSignals; ++i) names[static_cast<std::size_t>(i)] = signal_name(i);
  return names;
}

class ProcessModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  CellSeries decode_cell(uint32_t key) const override {
    static const std::array<std::string, kSignals> names = make_signal_names();
    const bool known = key > 0 && key < names.size();
    return {kExits, AttributeValues{"signal", known ? std::string_view(names[key]) : "_OTHER"}};
  }
};

}  // namespace

const Module& sonde_module_process() {
  static const ProcessModule module;
  return module;
}

}  // namespace sonde
