// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the memory probe measures. Included by memory.cpp alone.
#pragma once

#include <array>
#include <string_view>

#include "agent/module/module.h"
#include "agent/module/series.h"
#include "bpf/modules/memory/memory.h"
#include "bpf/modules/memory/pressure_tables.h"

namespace sonde {

enum MemoryMetric : uint8_t {
  kStall,
  kOomKills,
  kPressure,
  kFaults,
  kFaultTime,
  kScanned,
  kReclaimed,
  kReclaimTasks,
  kSwap,
  kAllocated,
  kFreed,
  kAllocations,
};

inline constexpr AttributeSpec kScope[] = {{"sonde.memory.oom.scope", "memcg, global"}};
inline constexpr AttributeSpec kPressureAttributes[] = {{"sonde.pressure.resource", "cpu, memory, io"},
                                                        {"sonde.pressure.kind", "some, full"}};
inline constexpr AttributeSpec kFaultType[] = {{"system.paging.fault.type", "major; Detailed: minor"}};
inline constexpr AttributeSpec kFaultTimeType[] = {{"system.paging.fault.type", "major, minor"}};
inline constexpr AttributeSpec kReclaimer[] = {{"sonde.memory.reclaimer", "direct, kswapd, memcg"}};
inline constexpr AttributeSpec kSwapDirection[] = {{"disk.io.direction", "read (in), write (out)"}};
inline constexpr AttributeSpec kAllocator[] = {{"sonde.memory.allocator", "kmalloc, kmem_cache, page"}};

inline constexpr LegacyName kEfficiency = {.name = "ebpf_memory_reclaim_efficiency_percent",
                                           .kind = LegacyKind::Percent,
                                           .help = "Reclaimed pages, in percent of scanned pages."};
inline constexpr LegacySpec kLegacyScanned[] = {{.to = {.name = "ebpf_memory_lru_pages_scanned",
                                                        .kind = LegacyKind::Gauge,
                                                        .help = "Pages scanned by reclaim since the start.",
                                                        .pages = true}},
                                                {.to = kEfficiency, .part = 0, .whole = 1}};
inline constexpr LegacySpec kLegacyReclaimed[] = {{.to = {.name = "ebpf_memory_lru_pages_reclaimed",
                                                          .kind = LegacyKind::Gauge,
                                                          .help = "Pages reclaimed since the start.",
                                                          .pages = true}},
                                                  {.to = kEfficiency}};
inline constexpr LegacySpec kLegacyTasks[] = {{.to = {.name = "ebpf_memory_direct_reclaim_processes",
                                                      .kind = LegacyKind::Gauge,
                                                      .help = "Tasks in direct reclaim."}}};

inline constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.memory.reclaim.stall.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Minimal,
     .description = "Time that threads were stalled to reclaim memory, at the container's limit or because the node "
                    "was short of memory."},
    {.name = "sonde.memory.oom.kills",
     .unit = "{kill}",
     .level = Level::Minimal,
     .description = "Processes of the container that the kernel killed because memory ran out.",
     .attributes = kScope,
     .from_zero = true},
    {.name = "sonde.pressure.stall.time",
     .unit = "s",
     .level = Level::Minimal,
     .description = "Time in which some or all threads of the container were stalled on a resource (PSI).",
     .attributes = kPressureAttributes,
     .integer = false},
    {.name = "sonde.memory.faults",
     .unit = "{fault}",
     .level = Level::Standard,
     .description = "Page faults; major ones had to wait for a device.",
     .attributes = kFaultType},
    {.name = "sonde.memory.fault.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Detailed,
     .description = "Duration of page faults.",
     .attributes = kFaultTimeType},
    {.name = "sonde.memory.reclaim.scanned",
     .unit = "By",
     .level = Level::Standard,
     .description = "Memory that reclaim scanned on the inactive lists, by reclaimer.",
     .attributes = kReclaimer,
     .legacy = kLegacyScanned},
    {.name = "sonde.memory.reclaim.reclaimed",
     .unit = "By",
     .level = Level::Standard,
     .description = "Memory that reclaim freed from the inactive lists, by reclaimer.",
     .attributes = kReclaimer,
     .legacy = kLegacyReclaimed},
    {.name = "sonde.memory.reclaim.tasks",
     .unit = "{task}",
     .instrument = Instrument::Gauge,
     .level = Level::Detailed,
     .description = "Threads currently in direct reclaim.",
     .legacy = kLegacyTasks},
    {.name = "sonde.memory.swap.io",
     .unit = "By",
     .level = Level::Standard,
     .description = "Memory swapped in by the container's threads, and memory of the container swapped out by any "
                    "thread.",
     .attributes = kSwapDirection},
    {.name = "sonde.memory.kernel.allocated",
     .unit = "By",
     .level = Level::OptIn,
     .description = "Kernel memory allocated while the container's threads ran; an estimate.",
     .attributes = kAllocator},
    {.name = "sonde.memory.kernel.freed",
     .unit = "By",
     .level = Level::OptIn,
     .description = "Kernel memory freed while the container's threads ran, including memory that others allocated; "
                    "an estimate.",
     .attributes = kAllocator},
    {.name = "sonde.memory.kernel.allocations",
     .unit = "{allocation}",
     .level = Level::OptIn,
     .description = "Kernel memory allocations while the container's threads ran; an estimate.",
     .attributes = kAllocator},
};

inline constexpr std::array<std::string_view, MEMORY_RECLAIMERS> kReclaimerNames = {"direct", "kswapd", "memcg"};
inline constexpr std::array<std::string_view, MEMORY_ALLOCATORS> kAllocatorNames = {"kmalloc", "kmem_cache", "page"};

inline constexpr SeriesList make_memory_series() {
  SeriesList all;
  const auto counter = [&](uint8_t metric, int index, std::string_view value, Level level, uint8_t flag) {
    all.add({metric, Source::Counter, static_cast<uint16_t>(index), {value}, level, flag});
  };
  const auto histogram = [&](uint8_t metric, uint16_t index, std::string_view value, Level level, uint8_t flag) {
    all.add({metric, Source::Histogram, index, {value}, level, flag, 1e-9});
  };
  histogram(kStall, MEMORY_STALL, "", Level::Minimal, MEMORY_FLAG_STALL);
  counter(kOomKills, MEMORY_OOM_MEMCG, "memcg", Level::Minimal, MEMORY_FLAG_OOM);
  counter(kOomKills, MEMORY_OOM_GLOBAL, "global", Level::Minimal, MEMORY_FLAG_OOM);
  for (std::size_t i = 0; i < kPressures; ++i) {
    all.add({kPressure,
             Source::Read,
             static_cast<uint16_t>(i),
             {kPressureResources[i / 2], kPressureKinds[i % 2]},
             Level::Minimal,
             MEMORY_FLAG_OOM,
             1e-6});
  }
  counter(kFaults, MEMORY_MAJOR, "major", Level::Standard, MEMORY_FLAG_MAJOR);
  counter(kFaults, MEMORY_MINOR, "minor", Level::Detailed, MEMORY_FLAG_MINOR);
  histogram(kFaultTime, MEMORY_MAJOR_TIME, "major", Level::Detailed, MEMORY_FLAG_FAULT_TIME);
  histogram(kFaultTime, MEMORY_MINOR_TIME, "minor", Level::Detailed, MEMORY_FLAG_FAULT_TIME);
  for (int i = 0; i < MEMORY_RECLAIMERS; ++i) {
    const std::string_view name = kReclaimerNames[static_cast<std::size_t>(i)];
    counter(kScanned, MEMORY_SCANNED + i, name, Level::Standard, MEMORY_FLAG_RECLAIM);
    counter(kReclaimed, MEMORY_RECLAIMED + i, name, Level::Standard, MEMORY_FLAG_RECLAIM);
  }
  all.add({kReclaimTasks, Source::Gauge, MEMORY_RECLAIM_TASKS, {}, Level::Detailed, MEMORY_FLAG_STALL});
  counter(kSwap, MEMORY_SWAP_IN, "read", Level::Standard, MEMORY_FLAG_SWAP);
  counter(kSwap, MEMORY_SWAP_OUT, "write", Level::Standard, MEMORY_FLAG_SWAP);
  for (int i = 0; i < MEMORY_ALLOCATORS; ++i) {
    const std::string_view name = kAllocatorNames[static_cast<std::size_t>(i)];
    counter(kAllocated, MEMORY_ALLOCATED + i, name, Level::OptIn, MEMORY_FLAG_ALLOCATIONS);
    counter(kFreed, MEMORY_FREED + i, name, Level::OptIn, MEMORY_FLAG_ALLOCATIONS);
    counter(kAllocations, MEMORY_ALLOCATIONS + i, name, Level::OptIn, MEMORY_FLAG_ALLOCATIONS);
  }
  return all;
}
inline constexpr auto kSeries = series_of<make_memory_series>();

}  // namespace sonde
