// SPDX-License-Identifier: Apache-2.0
#include "cpufreq.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "agent/module/file_values.h"
#include "agent/module/intern.h"
#include "agent/module/module.h"
#include "bpf/modules/cpufreq/cpu_files_tables.h"

namespace sonde {
namespace {

using cpufreq::CpuFile;

enum Metric : uint8_t { kFrequency, kChanges, kIdle };

constexpr AttributeSpec kCpu[] = {{"cpu.logical_number", "0, 1, 2, ..."}};
constexpr AttributeSpec kCpuState[] = {{"cpu.logical_number", "0, 1, 2, ..."},
                                       {"sonde.cpu.idle.state", "the driver's names: POLL, C1, ..."}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.cpu.frequency",
     .unit = "Hz",
     .instrument = Instrument::Gauge,
     .level = Level::OptIn,
     .description = "Current CPU frequency.",
     .attributes = kCpu,
     .node = true},
    {.name = "sonde.cpu.frequency.changes",
     .unit = "{change}",
     .level = Level::OptIn,
     .description = "CPU frequency changes, if the driver counts them.",
     .attributes = kCpu,
     .node = true},
    {.name = "sonde.cpu.idle.time",
     .unit = "s",
     .level = Level::OptIn,
     .description = "Time that the CPU spent in the idle state.",
     .attributes = kCpuState,
     .node = true,
     .integer = false},
};

constexpr std::array<std::string_view, 1> kNotes = {
    "CPU frequency and idle states need cpufreq and cpuidle, which most virtual machines do not have."};

const std::vector<CpuFile>& files_of_cpus() {
  static const std::vector<CpuFile> files = cpufreq::cpu_files();
  return files;
}

SeriesSpec series_of(const CpuFile& file, uint16_t index) {
  constexpr std::array<Metric, 3> kMetricOf = {kFrequency, kChanges, kIdle};
  constexpr std::array<double, 3> kScaleOf = {1.0, 1.0, 1e-6};
  SeriesSpec series{.metric = kMetricOf[file.kind],
                    .source = Source::Read,
                    .index = index,
                    .values = {intern(std::to_string(file.cpu))},
                    .level = Level::OptIn,
                    .flag = CPUFREQ_FLAG,
                    .scale = kScaleOf[file.kind]};
  if (file.kind == CpuFile::Idle) series.values[1] = intern(file.state);
  return series;
}

// Which CPUs there are and what they can do is only known here.
const std::vector<SeriesSpec>& all_series() {
  static const std::vector<SeriesSpec> all = [] {
    std::vector<SeriesSpec> series;
    for (const CpuFile& file : files_of_cpus()) series.push_back(series_of(file, static_cast<uint16_t>(series.size())));
    return series;
  }();
  return all;
}

const ModuleInfo& complete_info() {
  static const ModuleInfo info = {.name = "cpufreq",
                                  .summary = "Frequency and idle states of the node's CPUs",
                                  .part_of = "sched",
                                  .metrics = kMetrics,
                                  .series = all_series(),
                                  .programs = {},
                                  .needs = "cpufreq, cpuidle; CAP_BPF and CAP_PERFMON, as the agent does",
                                  .reads = static_cast<uint16_t>(files_of_cpus().size()),
                                  .notes = kNotes};
  return info;
}

class CpufreqModule final : public Module {
 public:
  const ModuleInfo& info() const override { return complete_info(); }

  Result<void> read(const ReadTarget& target, std::span<uint64_t> values) const override {
    if (!target.node) return {};
    std::size_t index = 0;
    bool any = false;
    for (const CpuFile& file : files_of_cpus()) {
      std::array<char, 32> text{};
      const ssize_t size = target.files->read(file.path, text);
      if (const auto value = leading_number({text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))})) {
        values[index] = file.kind == CpuFile::Frequency ? *value * 1000 : *value;  // kHz
        any = true;
      }
      ++index;
    }
    if (!any) return Error("this machine has neither cpufreq nor cpuidle, as is usual in virtual machines");
    return {};
  }
};

}  // namespace

const Module& sonde_module_cpufreq() {
  static const CpufreqModule module;
  return module;
}

}  // namespace sonde
