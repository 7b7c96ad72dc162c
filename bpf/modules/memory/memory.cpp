// SPDX-License-Identifier: Apache-2.0
// The memory probe in user space: by which programs it counts, and how many tasks reclaim.
#include "bpf/modules/memory/memory.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <bit>
#include <fstream>
#include <string>
#include <vector>

#include "agent/module/bpf_run.h"
#include "agent/module/mapped.h"
#include "agent/module/module.h"
#include "agent/module/read_only.h"
#include "agent/module/threads.h"
#include "bpf/modules/memory/memory_tables.h"
#include "sonde/spans.h"

namespace sonde {
namespace {

bool has_cache_of_address(const Features& features) { return features.has_function("bpf_get_kmem_cache"); }

// Who reclaims must be known for each of these.
constexpr uint8_t kReclaimFlags = MEMORY_FLAG_STALL | MEMORY_FLAG_RECLAIM | MEMORY_FLAG_OOM;

constexpr uint8_t kFaultFlags = MEMORY_FLAG_MAJOR | MEMORY_FLAG_MINOR;

// Where no walk shows all threads of the machine.
bool counts_faults_at_switches(const Features& features) { return !cannot_walk(features).empty(); }

constexpr std::string_view kNoDirect =
    "stalls in global reclaim are not measured, and subsequent reclaim and kills may be attributed to a memory "
    "cgroup's limit";
constexpr std::string_view kNoMemcg =
    "stalls at a memory cgroup's limit are not measured, and reclaim and kills there are counted as global (a kernel "
    "without CONFIG_MEMCG has none)";
constexpr std::string_view kNoNode = "stalls in NUMA node reclaim (vm.zone_reclaim_mode) are not measured";
constexpr std::string_view kNoFaultTime = "page fault durations (sonde.memory.fault.duration) are not measured";
constexpr std::string_view kNoFaults = "page faults (sonde.memory.faults) are not counted";
constexpr std::string_view kNoAllocations = "one kind of kernel allocation (sonde.memory.kernel.*) is not counted";

constexpr uint16_t kFaultNs = 240;  // README.md, "Cost"

constexpr ProgramSpec kPrograms[] = {
    {.program = "memory_direct_begin",
     .hook = "tp_btf/mm_vmscan_direct_reclaim_begin",
     .flags = kReclaimFlags,
     .gap = kNoDirect},
    {.program = "memory_direct_end",
     .hook = "tp_btf/mm_vmscan_direct_reclaim_end",
     .flags = MEMORY_FLAG_STALL,
     .gap = kNoDirect},
    {.program = "memory_memcg_begin",
     .hook = "tp_btf/mm_vmscan_memcg_reclaim_begin",
     .flags = kReclaimFlags,
     .gap = kNoMemcg},
    {.program = "memory_memcg_end",
     .hook = "tp_btf/mm_vmscan_memcg_reclaim_end",
     .flags = MEMORY_FLAG_STALL,
     .gap = kNoMemcg},
    {.program = "memory_node_begin",
     .hook = "tp_btf/mm_vmscan_node_reclaim_begin",
     .flags = kReclaimFlags,
     .gap = kNoNode},
    {.program = "memory_node_end",
     .hook = "tp_btf/mm_vmscan_node_reclaim_end",
     .flags = MEMORY_FLAG_STALL,
     .gap = kNoNode},
    {.program = "memory_oom_kill",
     .hook = "tp_btf/mark_victim",
     .flags = MEMORY_FLAG_OOM,
     .gap = "out-of-memory kills (sonde.memory.oom.kills) are not counted: "
            "kernels before Linux 6.8 without a backport do not report the victim"},
    {.program = "memory_shrink",
     .hook = "tp_btf/mm_vmscan_lru_shrink_inactive",
     .flags = MEMORY_FLAG_RECLAIM,
     .gap = "reclaimed pages (sonde.memory.reclaim.reclaimed) are not counted"},
    {.program = "memory_scan",
     .hook = "tp_btf/mm_vmscan_lru_isolate",
     .flags = MEMORY_FLAG_RECLAIM,
     .gap = "pages scanned by reclaim (sonde.memory.reclaim.scanned) are not counted"},
    {.program = "memory_begin", .hook = "run by the agent before the others are attached", .flags = 0},
    {.program = "memory_walk_all",
     .hook = "run by the agent before the others are attached and before a collection, over all tasks",
     .flags = kFaultFlags,
     .gap = kNoFaults,
     .needed = walks_by_kernel},
    {.program = "memory_walk_listed",
     .hook = "the same, over the threads that /proc lists",
     .flags = kFaultFlags,
     .gap = kNoFaults,
     .needed = walks_by_list},
    {.program = "memory_walk",
     .hook = "the same, by iter/task",
     .flags = kFaultFlags,
     .gap = kNoFaults,
     .needed =
         [](const Features& features) { return !counts_faults_at_switches(features) && walks_by_iterator(features); }},
    {.program = "memory_fault_fork", .hook = "tp_btf/sched_process_fork", .flags = kFaultFlags, .gap = kNoFaults},
    {.program = "memory_fault_exit", .hook = "tp_btf/sched_process_exit", .flags = kFaultFlags, .gap = kNoFaults},
    {.program = "memory_fault_free",
     .hook = "tp_btf/sched_process_free",
     .flags = kFaultFlags,
     .gap = "page faults of an exiting thread are not counted"},
    {.program = "memory_fault_move",
     .hook = "tp_btf/cgroup_attach_task",
     .flags = kFaultFlags,
     .gap = "when a process moves to another cgroup, its page faults since the last collection are not counted"},
    {.program = "memory_fault_switch",
     .hook = "tp_btf/sched_switch",
     .flags = kFaultFlags,
     .gap = kNoFaults,
     .needed = counts_faults_at_switches},
    {.program = "memory_fault_major",
     .hook = "perf_event/software/page-faults-maj",
     .flags = MEMORY_FLAG_FAULT_TIME,
     .gap = kNoFaultTime,
     .cost_ns = kFaultNs},
    {.program = "memory_fault_minor",
     .hook = "perf_event/software/page-faults-min",
     .flags = MEMORY_FLAG_FAULT_TIME,
     .gap = kNoFaultTime,
     .cost_ns = kFaultNs},
    {.program = "memory_fault",
     .hook = "perf_event/software/page-faults",
     .flags = MEMORY_FLAG_FAULT_TIME,
     .gap = kNoFaultTime,
     .cost_ns = kFaultNs},
    {.program = "memory_swap",
     .hook = "tp_btf/block_bio_queue",
     .flags = MEMORY_FLAG_SWAP,
     .gap = "swapping (sonde.memory.swap.io) is not counted"},
    {.program = "memory_kmalloc", .hook = "raw_tp/kmalloc", .flags = MEMORY_FLAG_ALLOCATIONS, .gap = kNoAllocations},
    {.program = "memory_kfree",
     .hook = "raw_tp/kfree",
     .flags = MEMORY_FLAG_ALLOCATIONS,
     .gap = kNoAllocations,
     .needed = has_cache_of_address},
    {.program = "memory_cache_alloc",
     .hook = "raw_tp/kmem_cache_alloc",
     .flags = MEMORY_FLAG_ALLOCATIONS,
     .gap = kNoAllocations},
    {.program = "memory_cache_free",
     .hook = "raw_tp/kmem_cache_free",
     .flags = MEMORY_FLAG_ALLOCATIONS,
     .gap = kNoAllocations},
    {.program = "memory_page_alloc",
     .hook = "tp_btf/mm_page_alloc",
     .flags = MEMORY_FLAG_ALLOCATIONS,
     .gap = kNoAllocations},
    {.program = "memory_page_free",
     .hook = "tp_btf/mm_page_free",
     .flags = MEMORY_FLAG_ALLOCATIONS,
     .gap = kNoAllocations},
};

constexpr std::string_view kNotes[] = {
    "Pressure covers a cgroup and all cgroups below it. If a cgroup with its own processes has measured cgroups "
    "below it, its pressure includes theirs: do not add them up. Times of different cgroups overlap, "
    "so their sum is not a time.",
    "Pressure is read from the cgroup's files; it is missing if PSI is disabled (boot with psi=1 to enable it).",
    "Faults are counted as in getrusage; faults that the kernel handles without the program touching the page "
    "(mlock, MAP_POPULATE, direct I/O) have no duration.",
    "Before Linux 6.2, an agent in its own PID namespace counts a thread's faults when the thread leaves a CPU.",
    "Reclaim is attributed to the task that reclaims, regardless of who owns the pages; "
    "kswapd's reclaim is on the node, as unattributed.",
    "A process that was already exiting when the OOM killer selected it counts as killed.",
    "Swap to zram before Linux 6.3, to zswap and to network file systems is not seen, because it bypasses the block "
    "layer.",
    "Kernel allocations are estimates: allocations in an interrupt count for the interrupted task, and a task may "
    "free memory that another one allocated. Before Linux 6.14, sonde.memory.kernel.freed does not include kmalloc.",
};

constexpr SpanSpec kSpans[] = {
    {SONDE_SPAN_DIRECT_RECLAIM, MEMORY_FLAG_STALL},
    {SONDE_SPAN_OOM_KILL, MEMORY_FLAG_OOM},
};

constexpr ModuleInfo kInfo = {
    .name = "memory",
    .summary = "Memory: reclaim stalls, out-of-memory kills, pressure, page faults, swap, kernel allocations",
    .metrics = kMetrics,
    .series = kSeries,
    .programs = kPrograms,
    .needs =
        "BTF tracepoints of reclaim, mark_victim and block_bio_queue, perf software events; CAP_BPF and CAP_PERFMON",
    .counters = MEMORY_COUNTERS,
    .histograms = MEMORY_HISTOGRAMS,
    .gauges = MEMORY_GAUGES,
    .reads = kPressures,
    .spans = kSpans,
    .notes = kNotes,
};

// Is the multi-generational LRU on? Bit 0 of its switches (Documentation/admin-guide/mm/multigen_lru.rst).
bool has_generations() {
  unsigned switches = 0;
  std::ifstream("/sys/kernel/mm/lru_gen/enabled") >> std::hex >> switches;
  return switches & 1;
}

// The table of tasks that reclaim now; -1: not loaded.
int reclaims(bpf_object* object) {
  const bpf_map* map = bpf_object__find_map_by_name(object, "memory_reclaims");
  return map ? bpf_map__fd(map) : -1;
}

std::vector<uint64_t> reclaiming_tasks(int table) {
  std::vector<uint64_t> tasks;
  uint64_t key = 0;
  bool first = true;
  // Tasks come and go meanwhile: the walk may begin again, so it is bounded.
  while (tasks.size() < MEMORY_RECLAIMS && bpf_map_get_next_key(table, first ? nullptr : &key, &key) == 0) {
    first = false;
    tasks.push_back(key);
  }
  return tasks;
}

class MemoryModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  Result<void> prepare(bpf_object* object, const Features&, int) const override {
    const auto shift = static_cast<uint32_t>(std::countr_zero(static_cast<uint64_t>(sysconf(_SC_PAGESIZE))));
    if (auto set = set_read_only(object, "memory_page_shift", shift); !set) return set;
    return set_read_only(object, "memory_generations", has_generations());
  }

  Result<void> begin(bpf_object* object) const override {
    // Whose end was not watched stayed in the table.
    const int table = reclaims(object);
    for (const uint64_t task : reclaiming_tasks(table)) bpf_map_delete_elem(table, &task);
    if (auto begun = run_program(object, "memory_begin"); !begun)
      return begun.error().with("no faults will be counted");
    return flush(object);
  }
  // The faults of those that are selected now count from now on.
  Result<void> selected(bpf_object* object) const override { return flush(object); }
  Result<void> flush(bpf_object* object) const override {
    return run_over_threads(object, "memory_walk", "memory_tids");
  }

  Result<void> read(const ReadTarget& target, std::span<uint64_t> values) const override {
    if (target.node || !(target.flags & MEMORY_FLAG_OOM)) return {};
    return read_pressure(*target.files, values);
  }

  Result<void> refresh(bpf_object* object) const override {
    auto gauges = Mapped::map(object, "memory_gauges");
    if (!gauges) return gauges.error();
    const int table = reclaims(object);
    std::vector<int64_t> now(gauges->entries());
    for (const uint64_t task : reclaiming_tasks(table)) {
      memory_reclaim reclaim{};
      if (bpf_map_lookup_elem(table, &task, &reclaim) == 0 && reclaim.slot < now.size()) ++now[reclaim.slot];
    }
    for (uint32_t slot = 0; slot < now.size(); ++slot) {
      __atomic_store_n(gauges->at<int64_t>(slot) + MEMORY_RECLAIM_TASKS, now[slot], __ATOMIC_RELAXED);
    }
    return {};
  }
};

}  // namespace

const Module& sonde_module_memory() {
  static const MemoryModule module;
  return module;
}

}  // namespace sonde
