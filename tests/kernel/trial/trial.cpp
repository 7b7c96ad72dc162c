// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/trial/trial_module.h"

#include <bpf/bpf.h>

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
};
constexpr SeriesSpec kSeries[] = {
    {.metric = 0, .index = TRIAL_EVENTS, .flag = TRIAL_FLAG},
    {.metric = 1, .source = Source::KeyedHistogram, .flag = TRIAL_FLAG_KEYED, .scale = 1e-9},
};
constexpr ProgramSpec kPrograms[] = {
    {.program = "trial_observe", .hook = "run by the test", .flags = 0},
    {.program = "trial_count", .hook = "run by the test", .flags = 0},
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
                              .keyed_histograms = true};

}  // namespace

const ModuleInfo& TrialModule::info() const { return kInfo; }

CellSeries TrialModule::decode_keyed(uint32_t key) const {
  return {1, {key == kOtherCells ? "other" : intern("key " + std::to_string(key))}};
}

Result<void> TrialModule::prepare(bpf_object* object, const Features&, int) const {
  object_ = object;
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
