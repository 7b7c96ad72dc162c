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

constexpr AttributeSpec kExitAttributes[] = {
    {"sonde.process.exit", "success, error, signal"},
    {"sonde.process.signal", "with signal only: name of the signal, as SIGKILL; _OTHER for those that found no place"}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.process.forks",
     .unit = "{fork}",
     .level = Level::Detailed,
     .description = "Processes that processes of the container started; new threads are not among them."},
    {.name = "sonde.process.execs",
     .unit = "{exec}",
     .level = Level::Detailed,
     .description = "Times that a process became another program; failed attempts are not among them."},
    {.name = "sonde.process.exits",
     .unit = "{exit}",
     .level = Level::Detailed,
     .description = "Processes that ended, by how: status 0, another status, or a signal.",
     .attributes = kExitAttributes},
    {.name = "sonde.process.lifetime.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Detailed,
     .description = "Time from the fork to the end of processes that ended."},
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
    "a fork is charged to who called, an exec and an end to the process itself, whoever reaps it",
    "a process ends when its last thread does; its status is the one that its parent is told",
    "lifetimes above 76 s are in the histogram's last, open bucket; their sum is exact",
    "processes that were there before the agent count when they end, with their whole lifetime",
};

constexpr ModuleInfo kInfo = {
    .name = "process",
    .summary = "Processes that begin, become another program and end: forks, execs, exits, lifetimes",
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
