// SPDX-License-Identifier: Apache-2.0
#include "cpu_pmu.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "agent/base/fd.h"
#include "agent/module/bpf_run.h"
#include "agent/module/module.h"
#include "agent/module/perf_paranoid.h"
#include "agent/module/read_only.h"

namespace sonde {
namespace {

enum Metric : uint8_t { kCycles, kInstructions, kReferences, kMisses, kTlbMisses };

constexpr std::array<AttributeSpec, 1> kLevel = {{{"sonde.cpu.cache.level", "l1d, llc"}}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.cpu.cycles",
     .unit = "{cycle}",
     .level = Level::OptIn,
     .description = "CPU cycles used by threads, in user and kernel mode."},
    {.name = "sonde.cpu.instructions",
     .unit = "{instruction}",
     .level = Level::OptIn,
     .description = "Instructions retired by threads, in user and kernel mode."},
    {.name = "sonde.cpu.cache.references",
     .unit = "{reference}",
     .level = Level::OptIn,
     .description = "Loads that accessed the cache.",
     .attributes = kLevel},
    {.name = "sonde.cpu.cache.misses",
     .unit = "{miss}",
     .level = Level::OptIn,
     .description = "Loads that missed the cache.",
     .attributes = kLevel},
    {.name = "sonde.cpu.tlb.misses",
     .unit = "{miss}",
     .level = Level::OptIn,
     .description = "Loads that missed the data TLB."},
};

constexpr SeriesSpec series(Metric metric, uint16_t event, std::string_view level = {}) {
  return {.metric = metric,
          .index = event,
          .values = {level},
          .level = Level::OptIn,
          .flag = static_cast<uint8_t>(CPU_PMU_FLAG(event))};
}

constexpr SeriesSpec kSeries[] = {
    series(kCycles, CPU_PMU_CYCLES),
    series(kInstructions, CPU_PMU_INSTRUCTIONS),
    series(kReferences, CPU_PMU_L1D_REFERENCES, "l1d"),
    series(kReferences, CPU_PMU_LLC_REFERENCES, "llc"),
    series(kMisses, CPU_PMU_L1D_MISSES, "l1d"),
    series(kMisses, CPU_PMU_LLC_MISSES, "llc"),
    series(kTlbMisses, CPU_PMU_TLB_MISSES),
};

struct Event {
  const char* name;
  uint32_t type;
  uint64_t config;
};

constexpr uint64_t cache(uint64_t which, uint64_t result) {
  return which | PERF_COUNT_HW_CACHE_OP_READ << 8 | result << 16;
}

constexpr std::array<Event, CPU_PMU_EVENTS> kHardware = {{
    {"cycles", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
    {"instructions", PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
    {"L1-dcache-loads", PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_L1D, PERF_COUNT_HW_CACHE_RESULT_ACCESS)},
    {"cache-references", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_REFERENCES},
    {"L1-dcache-load-misses", PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_L1D, PERF_COUNT_HW_CACHE_RESULT_MISS)},
    {"cache-misses", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES},
    {"dTLB-load-misses", PERF_TYPE_HW_CACHE, cache(PERF_COUNT_HW_CACHE_DTLB, PERF_COUNT_HW_CACHE_RESULT_MISS)},
}};

// Events that every machine has, in the places of the others: what a test can know beforehand.
constexpr std::array<Event, CPU_PMU_EVENTS> kSoftware = {{
    {"cpu-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK},
    {"page-faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS},
    {"cpu-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK},
    {"minor-faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MIN},
    {"cpu-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK},
    {"major-faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MAJ},
    {"cpu-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK},
}};

constexpr const char* kSubstitute = "SONDE_PMU_EVENTS";

bool substituted() {
  const char* value = std::getenv(kSubstitute);
  return value && std::strcmp(value, "software") == 0;
}

// Counts what runs on one CPU, whatever it is. errno if the descriptor is -1.
Fd open_event(const Event& event, int cpu) {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = event.type;
  attributes.config = event.config;
  attributes.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  return Fd(static_cast<int>(syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
}

std::string why_no_pmu(const Features&) {
  if (substituted()) return std::string(kSubstitute) + "=software is set, for tests";
  const Fd cycles = open_event(kHardware[CPU_PMU_CYCLES], 0);
  if (cycles) return {};
  if (errno == ENOENT || errno == EOPNOTSUPP || errno == ENODEV || errno == ENXIO) {
    return "NoPMU: this machine has no hardware counters, as is usual in virtual machines whose host does not pass "
           "them through";
  }
  const int error = errno;
  if (const std::string why = perf_refusal(error); !why.empty())
    return "NoPMU: hardware counters cannot be opened: " + why;
  return Error::system("NoPMU: hardware counters cannot be opened; CAP_PERFMON is needed", error).message();
}

std::string why_not_software(const Features&) {
  if (substituted()) return {};
  return std::string("only for tests, which set ") + kSubstitute + "=software";
}

constexpr Alternative kAlternatives[] = {
    {"hardware", why_no_pmu},
    {"software", why_not_software},
};

constexpr ProgramSpec kPrograms[] = {
    {.program = "cpu_pmu_switch", .hook = "tp_btf/sched_switch", .flags = CPU_PMU_ALL},
    {.program = "cpu_pmu_flush",
     .hook = "run by the agent on each CPU before a collection",
     .flags = 0,
     .gap = "a thread is not seen until it leaves its CPU"},
};

constexpr std::array<std::string_view, 4> kNotes = {
    "Status reason NoPMU: the machine has no hardware counters that this kernel can read.",
    "If more counters are in use than the hardware has, the kernel multiplexes them and values are scaled accordingly.",
    "llc stands for the processor's last-level cache events; the levels in between are not portable.",
    "A CPU that comes online is measured from the next collection on; until then its events are counted as lost.",
};

constexpr ModuleInfo kInfo = {
    .name = "cpu_pmu",
    .summary = "Hardware counters: cycles, instructions, cache and TLB misses",
    .metrics = kMetrics,
    .series = kSeries,
    .alternatives = kAlternatives,
    .programs = kPrograms,
    .needs = "hardware counters (a PMU); BTF; CAP_BPF and CAP_PERFMON",
    .counters = CPU_PMU_EVENTS,
    .notes = kNotes,
};

class CpuPmuModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  Result<void> prepare(bpf_object* object, const Features&, int) const override {
    const auto cpus = static_cast<uint32_t>(libbpf_num_possible_cpus());
    if (auto set = set_read_only(object, "cpu_pmu_cpus", cpus); !set) return set;
    bpf_map* events = bpf_object__find_map_by_name(object, "cpu_pmu_perf");
    if (!events || bpf_map__set_max_entries(events, cpus * CPU_PMU_EVENTS)) return Error("cannot size the event table");
    return {};
  }

  // Opens the events on each CPU. The table keeps them; one that the hardware does not have is left out and named.
  Result<void> begin(bpf_object* object) const override {
    const int table = bpf_object__find_map_fd_by_name(object, "cpu_pmu_perf");
    const auto cpus = static_cast<uint32_t>(libbpf_num_possible_cpus());
    const auto& events = substituted() ? kSoftware : kHardware;
    std::string missing;
    for (uint32_t event = 0; event < CPU_PMU_EVENTS; ++event) {
      int error = ENODEV;
      for (uint32_t cpu = 0; cpu < cpus; ++cpu) {
        const Fd counter = open_event(events[event], static_cast<int>(cpu));
        const uint32_t key = event * cpus + cpu;
        const int fd = counter.get();
        if (counter && bpf_map_update_elem(table, &key, &fd, BPF_ANY) == 0) {
          error = 0;
        } else if (error) {
          error = errno;  // CPUs that are offline do not matter while one works
        }
      }
      if (const std::string why = perf_refusal(error); !why.empty()) return Error("counters cannot be opened: " + why);
      if (error) missing += std::string(missing.empty() ? "" : ", ") + events[event].name;
    }
    if (!missing.empty()) return Error("this machine's hardware does not count " + missing);
    return {};
  }

  Result<void> flush(bpf_object* object) const override {
    if (auto flushed = run_on_each_cpu(object, "cpu_pmu_flush"); !flushed) return flushed;
    open_anew(object);
    return {};
  }

 private:
  // Events of CPUs that were offline: what counts them is another one.
  static void open_anew(bpf_object* object) {
    const int table = bpf_object__find_map_fd_by_name(object, "cpu_pmu_perf");
    const int still = bpf_object__find_map_fd_by_name(object, "cpu_pmu_still");
    const auto cpus = static_cast<uint32_t>(libbpf_num_possible_cpus());
    std::vector<uint64_t> events(cpus);
    const uint32_t zero = 0;
    if (bpf_map_lookup_elem(still, &zero, events.data()) ||
        std::ranges::all_of(events, [](uint64_t of_cpu) { return of_cpu == 0; })) {
      return;
    }
    for (uint32_t cpu = 0; cpu < cpus; ++cpu) {
      for (uint32_t event = 0; event < CPU_PMU_EVENTS; ++event) {
        if (!((events[cpu] >> event) & 1)) continue;
        const Fd counter = open_event((substituted() ? kSoftware : kHardware)[event], static_cast<int>(cpu));
        const uint32_t key = event * cpus + cpu;
        const int fd = counter.get();
        if (counter) bpf_map_update_elem(table, &key, &fd, BPF_ANY);
      }
    }
    std::ranges::fill(events, 0);
    bpf_map_update_elem(still, &zero, events.data(), BPF_ANY);
  }
};

}  // namespace

const Module& sonde_module_cpu_pmu() {
  static const CpuPmuModule module;
  return module;
}

}  // namespace sonde
