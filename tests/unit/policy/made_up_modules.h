// SPDX-License-Identifier: Apache-2.0
// Two modules that exist only here, with every kind of row that policies can ask for.
#pragma once

#include <array>

#include "agent/module/span_operation.h"
#include "agent/policy/resolve.h"

namespace sonde::made_up {

enum Metric : uint8_t { kBytes, kDuration, kErrors, kOpen, kDrops, kDevices };

inline constexpr std::array<MetricSpec, 6> kDiskMetrics{
    {{.name = "sonde.disk.bytes", .unit = "By", .level = Level::Minimal, .description = "", .attributes = {}},
     {.name = "sonde.disk.duration",
      .unit = "s",
      .instrument = Instrument::Histogram,
      .level = Level::Standard,
      .description = "",
      .attributes = {}},
     {.name = "sonde.disk.errors", .unit = "{error}", .level = Level::Standard, .description = "", .attributes = {}},
     {.name = "sonde.disk.open",
      .unit = "{file}",
      .instrument = Instrument::Gauge,
      .level = Level::Detailed,
      .description = "",
      .attributes = {}},
     {.name = "sonde.disk.drops", .unit = "{drop}", .level = Level::OptIn, .description = "", .attributes = {}},
     {.name = "sonde.disk.devices",
      .unit = "{device}",
      .level = Level::Detailed,
      .description = "",
      .attributes = {},
      .node = true}}};

// Flags: 1 bytes, 2 durations, 4 errors, 8 durations in detail, 16 gauge, 32 drops, 64 devices
inline constexpr std::array<SeriesSpec, 8> kDiskSeries{
    {{.metric = kBytes, .index = 0, .values = {"read"}, .level = Level::Minimal, .flag = 1},
     {.metric = kBytes, .index = 1, .values = {"write"}, .level = Level::Minimal, .flag = 1},
     {.metric = kDuration, .source = Source::Histogram, .index = 0, .values = {"read"}, .flag = 2},
     {.metric = kDuration,
      .source = Source::Histogram,
      .index = 1,
      .values = {"stat"},
      .level = Level::Detailed,
      .flag = 8},
     {.metric = kErrors, .source = Source::Cells, .flag = 4},
     {.metric = kOpen, .source = Source::Gauge, .level = Level::Detailed, .flag = 16},
     {.metric = kDrops, .index = 2, .level = Level::OptIn, .flag = 32},
     {.metric = kDevices, .index = 3, .level = Level::Detailed, .flag = 64}}};

inline constexpr std::array<std::string_view, 1> kDiskAliases{"storage"};
inline constexpr std::array<ProgramSpec, 4> kDiskPrograms{
    {{.program = "enter", .hook = "tp_btf/sys_enter", .flags = 2 | 8},
     {.program = "exit", .hook = "tp_btf/sys_exit", .flags = 1 | 2 | 4 | 8, .cost_ns = 100},
     {.program = "open", .hook = "iter/task_file", .flags = 16},
     {.program = "drop", .hook = "kprobe/drop", .flags = 32}}};

// Durations (2) are needed for the first two, durations in detail (8) for the third.
inline constexpr std::array<SpanSpec, 3> kDiskSpans{{{static_cast<uint8_t>(SpanOperation::Read), 2},
                                                     {static_cast<uint8_t>(SpanOperation::Fsync), 2},
                                                     {static_cast<uint8_t>(SpanOperation::Open), 8}}};

inline constexpr std::array<MetricSpec, 1> kCpuMetrics{
    {{.name = "sonde.cpu.switches", .unit = "{switch}", .level = Level::Minimal, .description = "", .attributes = {}}}};
inline constexpr std::array<SeriesSpec, 1> kCpuSeries{{{.metric = 0, .level = Level::Minimal, .flag = 1}}};
inline constexpr std::array<ProgramSpec, 1> kCpuPrograms{{{.program = "switch", .hook = "tp_btf/sched_switch"}}};

class Table : public Module {
 public:
  explicit Table(ModuleInfo info) : info_(info) {}
  const ModuleInfo& info() const override { return info_; }

 private:
  ModuleInfo info_;
};

enum Index { kDisk, kCpu };

inline std::span<const ModuleEntry> modules() {
  static const Table disk({.name = "disk",
                           .summary = "",
                           .aliases = kDiskAliases,
                           .metrics = kDiskMetrics,
                           .series = kDiskSeries,
                           .programs = kDiskPrograms,
                           .needs = "",
                           .counters = 4,
                           .histograms = 2,
                           .gauges = 1,
                           .cells = true,
                           .samples_histograms = true,
                           .spans = kDiskSpans});
  static const Table cpu({.name = "cpu",
                          .summary = "",
                          .metrics = kCpuMetrics,
                          .series = kCpuSeries,
                          .programs = kCpuPrograms,
                          .needs = "",
                          .counters = 1});
  static const std::array<ModuleEntry, 2> entries{{{&disk, {}}, {&cpu, {}}}};
  return entries;
}

inline ResolveContext context() {
  ResolveContext context;
  context.modules = made_up::modules();
  context.now_ns = 1'000'000'000'000;
  return context;
}

inline Policy policy(std::string name, Level preset = Level::Standard) {
  Policy policy;
  policy.name = std::move(name);
  policy.preset = preset;
  return policy;
}

inline Subject container(std::string namespace_name = "shop", std::string name = "postgres") {
  Subject subject;
  subject.kind = SubjectKind::Container;
  subject.cgroup_path = "/kubepods.slice/pod1/cri-containerd-" + std::string(64, 'a') + ".scope";
  subject.container_id = std::string(64, 'a');
  subject.pod_uid = "11111111-2222-3333-4444-555555555555";
  subject.namespace_name = std::move(namespace_name);
  subject.namespace_labels = {{"tier", "prod"}};
  subject.pod_name = "pg-0";
  subject.pod_labels = {{"app", "postgres"}};
  subject.container_name = std::move(name);
  subject.type = ContainerType::Regular;
  return subject;
}

inline Subject cgroup(std::string path) {
  Subject subject;
  subject.cgroup_path = std::move(path);
  return subject;
}

}  // namespace sonde::made_up
