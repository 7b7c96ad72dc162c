// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/trial/trial_module.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "agent/module/bpf_run.h"
#include "agent/module/intern.h"
#include "tests/kernel/trial/trial.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include "trial.skel.h"
#pragma GCC diagnostic pop

namespace sonde::test {
namespace {

constexpr AttributeSpec kName[] = {{"trial.name", "any"}};
constexpr MetricSpec kMetrics[] = {
    {.name = "trial.events", .unit = "{event}", .description = "Events"},
    {.name = "trial.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .description = "Durations by key",
     .attributes = kName},
    {.name = "trial.node", .unit = "{event}", .description = "Events of the node", .node = true},
    {.name = "trial.cpu.time", .unit = "us", .description = "usage_usec of cpu.stat"},
    {.name = "trial.processes", .unit = "{process}", .instrument = Instrument::Gauge, .description = "In the cgroup"},
    {.name = "trial.total", .unit = "1", .description = "What the test says"},
};
constexpr SeriesSpec kSeries[] = {
    {.metric = 0, .index = TRIAL_EVENTS, .flag = TRIAL_FLAG},
    {.metric = 1, .source = Source::KeyedHistogram, .flag = TRIAL_FLAG_KEYED, .scale = 1e-9},
    {.metric = 2, .index = TRIAL_NODE_EVENTS, .flag = TRIAL_FLAG_NODE},
    {.metric = 3, .source = Source::Read, .index = TRIAL_CPU_TIME, .flag = TRIAL_FLAG_READ},
    {.metric = 4, .source = Source::Read, .index = TRIAL_PROCESSES, .flag = TRIAL_FLAG_READ},
    {.metric = 5, .source = Source::Read, .index = TRIAL_MADE_UP, .flag = TRIAL_FLAG_READ},
};
constexpr ProgramSpec kPrograms[] = {
    {.program = "trial_observe", .hook = "run by the test", .flags = 0},
    {.program = "trial_count", .hook = "run by the test", .flags = 0},
    {.program = "trial_node", .hook = "run by the test", .flags = 0},
    {.program = "trial_exit", .hook = "tp_btf/sched_process_exit"},
};
constexpr ModuleInfo kInfo = {.name = "trial",
                              .summary = "Tests of the contract",
                              .metrics = kMetrics,
                              .series = kSeries,
                              .programs = kPrograms,
                              .needs = "BTF",
                              .counters = TRIAL_COUNTERS,
                              .histograms = 0,
                              .keyed_histograms = true,
                              .reads = TRIAL_READS};

// Whole text of a file of the cgroup; empty if there is none.
std::string text_of(SubjectFiles& files, const char* name) {
  std::string text(4096, '\0');
  const ssize_t length = files.read(name, text);
  text.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
  return text;
}

}  // namespace

const ModuleInfo& TrialModule::info() const { return kInfo; }

CellSeries TrialModule::decode_keyed(uint32_t key) const {
  return {1, {key == kOtherCells ? "other" : intern("key " + std::to_string(key))}};
}

Result<void> TrialModule::prepare(bpf_object* object, const Features&, int) const {
  object_ = object;
  return {};
}

Result<void> TrialModule::read(const ReadTarget& target, std::span<uint64_t> values) const {
  ++reads;
  if (fail_reads) return Error("the test wants it to fail");
  if (target.node) return {};
  const std::string usage = text_of(*target.files, "cpu.stat"), pids = text_of(*target.files, "cgroup.procs");
  unsigned long long microseconds = 0;
  if (std::sscanf(usage.c_str(), "usage_usec %llu", &microseconds) == 1) values[TRIAL_CPU_TIME] = microseconds;
  values[TRIAL_PROCESSES] = static_cast<uint64_t>(std::ranges::count(pids, '\n'));
  values[TRIAL_MADE_UP] = total;
  return {};
}

void TrialModule::run(const char* program, std::initializer_list<uint64_t> arguments) const {
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.ctx_in = arguments.begin();
  options.ctx_size_in = static_cast<__u32>(arguments.size() * sizeof(uint64_t));
  EXPECT_EQ(bpf_prog_test_run_opts(program_fd(object_, program), &options), 0) << program;
}

const TrialModule& trial() {
  static const TrialModule module;
  return module;
}

std::span<const ModuleEntry> trial_modules() {
  static const ModuleEntry entry = [] {
    std::size_t size = 0;
    const void* data = trial_bpf::elf_bytes(&size);
    return ModuleEntry{&trial(), {static_cast<const unsigned char*>(data), size}};
  }();
  return {&entry, 1};
}

}  // namespace sonde::test
