// SPDX-License-Identifier: Apache-2.0
#include "throttle.h"

#include <array>
#include <string_view>

#include "agent/module/file_values.h"
#include "agent/module/module.h"

namespace sonde {
namespace {

enum Metric : uint8_t { kTime, kThrottled, kPeriods };

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.cpu.throttled.time",
     .unit = "s",
     .level = Level::Minimal,
     .description = "Time that the container was throttled by its CPU quota (cpu.stat, throttled_usec).",
     .integer = false},
    {.name = "sonde.cpu.throttled.periods",
     .unit = "{period}",
     .level = Level::Minimal,
     .description = "CPU quota periods in which the container was throttled (cpu.stat, nr_throttled)."},
    {.name = "sonde.cpu.periods",
     .unit = "{period}",
     .level = Level::Minimal,
     .description = "CPU quota periods in which the container was runnable (cpu.stat, nr_periods)."},
};

constexpr SeriesSpec of_quota(uint8_t metric, uint16_t index, double scale = 1.0) {
  return {.metric = metric,
          .source = Source::Read,
          .index = index,
          .level = Level::Minimal,
          .flag = THROTTLE_FLAG,
          .scale = scale};
}
constexpr SeriesSpec kSeries[] = {of_quota(kTime, THROTTLE_TIME, 1e-6), of_quota(kThrottled, THROTTLE_THROTTLED),
                                  of_quota(kPeriods, THROTTLE_PERIODS)};

constexpr std::array<std::string_view, 1> kNotes = {
    "sonde.cpu.throttled.* and sonde.cpu.periods refer to the cgroup's own quota. "
    "The quota of a parent cgroup (such as the pod's) is reported for that cgroup, so nested cgroups never count the "
    "same time twice."};

constexpr ModuleInfo kInfo = {.name = "throttle",
                              .summary = "Throttling of the container by its CPU quota",
                              .part_of = "sched",
                              .metrics = kMetrics,
                              .series = kSeries,
                              .programs = {},
                              .needs = "the cpu controller of cgroup v2; CAP_BPF and CAP_PERFMON, as the agent does",
                              .reads = THROTTLE_READS,
                              .notes = kNotes};

class ThrottleModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  Result<void> read(const ReadTarget& target, std::span<uint64_t> values) const override {
    if (target.node) return {};
    std::array<char, 4096> text{};
    const ssize_t size = target.files->read("cpu.stat", text);
    if (size < 0) return Error::system("cannot read cpu.stat", static_cast<int>(-size));
    const std::string_view stat(text.data(), static_cast<std::size_t>(size));
    const auto take = [&](throttle_read which, std::string_view key) {
      if (const auto value = value_of_key(stat, key)) values[which] = *value;
    };
    take(THROTTLE_TIME, "throttled_usec");  // without the cpu controller they are not there
    take(THROTTLE_THROTTLED, "nr_throttled");
    take(THROTTLE_PERIODS, "nr_periods");
    return {};
  }
};

}  // namespace

const Module& sonde_module_throttle() {
  static const ThrottleModule module;
  return module;
}

}  // namespace sonde
