// SPDX-License-Identifier: Apache-2.0
#include "sched.h"

#include <bpf/btf.h>

#include <array>
#include <cstring>
#include <string>

#include "agent/module/bpf_run.h"
#include "agent/module/module.h"
#include "agent/module/threads.h"

namespace sonde {
namespace {

constexpr std::array<std::string_view, 1> kAliases = {"cpu"};

enum Metric : uint8_t {
  kThread,
  kWait,
  kSwitches,
  kMigrations,
  kWakeups,
  kOncpu,
};

constexpr std::array<AttributeSpec, 1> kCause = {{{"sonde.sched.cause", "wakeup, preemption"}}};
constexpr std::array<AttributeSpec, 1> kSwitchType = {{{"process.context_switch.type", "voluntary, involuntary"}}};

constexpr std::array<AttributeSpec, 1> kState = {
    {{"sonde.thread.state", "running, runnable, disk, network, lock, memory, sleep, stopped, other"}}};

constexpr TopSpec kTopWaits[] = {
    {.name = "waits", .title = "WAITS/S", .field = "run_queue_waits_per_second", .key = 's', .legend = "waits: CPU"},
    {.name = "wait-latency", .title = "WAIT P99", .field = "run_queue_wait_p99_seconds", .key = 'p', .p99 = true}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.thread.time",
     .unit = "s",
     .level = Level::Minimal,
     .description = "Time of all threads by state; the states add up to number of threads times wall time.",
     .attributes = kState,
     .integer = false},
    {.name = "sonde.sched.run_queue.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Minimal,
     .description = "Time that runnable threads waited for a CPU, one sample each time a thread gets one.",
     .attributes = kCause,
     .top = kTopWaits},
    {.name = "sonde.sched.context_switches",
     .unit = "{switch}",
     .level = Level::Detailed,
     .description = "Context switches: threads that left a CPU, voluntarily or not.",
     .attributes = kSwitchType},
    {.name = "sonde.sched.migrations",
     .unit = "{migration}",
     .level = Level::Detailed,
     .description = "Migrations of threads to another CPU."},
    {.name = "sonde.sched.wakeups",
     .unit = "{wakeup}",
     .level = Level::Detailed,
     .description = "Wakeups of threads, including new threads."},
    {.name = "sonde.sched.oncpu.time",
     .unit = "s",
     .level = Level::Detailed,
     .description = "Time that threads spent on a CPU.",
     .integer = false},
};

constexpr double kNanoseconds = 1e-9;

constexpr SeriesSpec thread_time(uint16_t state, std::string_view name) {
  return {.metric = kThread,
          .index = static_cast<uint16_t>(SCHED_THREAD + state),
          .values = {name},
          .level = Level::Minimal,
          .flag = SCHED_FLAG_THREAD,
          .scale = kNanoseconds};
}

constexpr SeriesSpec kSeries[] = {
    thread_time(SCHED_THREAD_RUNNING, "running"),
    thread_time(SCHED_THREAD_RUNNABLE, "runnable"),
    thread_time(SCHED_THREAD_DISK, "disk"),
    thread_time(SCHED_THREAD_NETWORK, "network"),
    thread_time(SCHED_THREAD_LOCK, "lock"),
    thread_time(SCHED_THREAD_MEMORY, "memory"),
    thread_time(SCHED_THREAD_SLEEP, "sleep"),
    thread_time(SCHED_THREAD_STOPPED, "stopped"),
    thread_time(SCHED_THREAD_OTHER, "other"),
    {.metric = kWait,
     .source = Source::Histogram,
     .index = SCHED_WAIT,
     .level = Level::Minimal,
     .flag = SCHED_FLAG_WAIT,
     .scale = kNanoseconds},
    {.metric = kWait,
     .source = Source::Histogram,
     .index = SCHED_WAIT_WAKEUP,
     .values = {"wakeup"},
     .level = Level::Detailed,
     .flag = SCHED_FLAG_CAUSE,
     .scale = kNanoseconds},
    {.metric = kWait,
     .source = Source::Histogram,
     .index = SCHED_WAIT_PREEMPTION,
     .values = {"preemption"},
     .level = Level::Detailed,
     .flag = SCHED_FLAG_CAUSE,
     .scale = kNanoseconds},
    {.metric = kSwitches,
     .index = SCHED_VOLUNTARY,
     .values = {"voluntary"},
     .level = Level::Detailed,
     .flag = SCHED_FLAG_SWITCHES},
    {.metric = kSwitches,
     .index = SCHED_INVOLUNTARY,
     .values = {"involuntary"},
     .level = Level::Detailed,
     .flag = SCHED_FLAG_SWITCHES},
    {.metric = kMigrations, .index = SCHED_MIGRATIONS, .level = Level::Detailed, .flag = SCHED_FLAG_MIGRATIONS},
    {.metric = kWakeups, .index = SCHED_WAKEUPS, .level = Level::Detailed, .flag = SCHED_FLAG_WAKEUPS},
    {.metric = kOncpu, .index = SCHED_ONCPU, .level = Level::Detailed, .flag = SCHED_FLAG_ONCPU, .scale = kNanoseconds},
};

// CONFIG_SCHED_INFO: every distribution has it, by way of SCHEDSTATS, TASK_DELAY_ACCT or KVM.
bool kernel_has_run_delay() {
  btf* types = btf__load_vmlinux_btf();
  if (!types) return false;
  bool found = false;
  const int id = btf__find_by_name_kind(types, "sched_info", BTF_KIND_STRUCT);
  if (id > 0) {
    const btf_type* type = btf__type_by_id(types, static_cast<__u32>(id));
    const btf_member* members = btf_members(type);
    for (int i = 0; i < btf_vlen(type); ++i) {
      found = found || std::strcmp(btf__name_by_offset(types, members[i].name_off), "run_delay") == 0;
    }
  }
  btf__free(types);
  return found;
}

std::string why_no_run_delay(const Features&) {
  if (kernel_has_run_delay()) return {};
  return "this kernel does not record run-queue waits (CONFIG_SCHED_INFO): "
         "sonde.sched.run_queue.duration is not measured; it needs a kernel with CONFIG_SCHEDSTATS or "
         "CONFIG_TASK_DELAY_ACCT";
}

std::string never(const Features&) { return {}; }

constexpr Alternative kAlternatives[] = {
    {"sched_info", why_no_run_delay},
    {"without_sched_info", never},
};

// One set for all but the wakeups: the figures in task storage are only good while no switch-out goes unwatched.
constexpr uint8_t kAllFlags = SCHED_FLAG_WAIT | SCHED_FLAG_CAUSE | SCHED_FLAG_SWITCHES | SCHED_FLAG_ONCPU |
                              SCHED_FLAG_MIGRATIONS | SCHED_FLAG_WAKEUPS | SCHED_FLAG_THREAD;

constexpr std::string_view kAsleep =
    "sleeping threads are counted when they wake up, including those asleep since before the agent started";

constexpr ProgramSpec kPrograms[] = {
    {.program = "sched_fork",
     .hook = "tp_btf/sched_process_fork",
     .flags = kAllFlags,
     .gap = "a new thread's storage is allocated at its first context switch, under the run-queue lock"},
    {.program = "sched_move",
     .hook = "tp_btf/cgroup_attach_task",
     .flags = kAllFlags,
     .gap = "when a process moves itself to another cgroup, its time since the last context switch is attributed to "
            "the new one"},
    {.program = "sched_switch", .hook = "tp_btf/sched_switch", .flags = kAllFlags},
    {.program = "sched_lock",
     .hook = "tp_btf/contention_begin",
     .flags = SCHED_FLAG_THREAD,
     .gap = "waits for kernel locks are part of the state of the system call (the hook exists since Linux 5.19)"},
    {.program = "sched_locked",
     .hook = "tp_btf/contention_end",
     .flags = SCHED_FLAG_THREAD,
     .gap = "a wait that follows one for a kernel lock may also be reported as a lock wait (the hook exists since "
            "Linux 5.19)"},
    {.program = "sched_swap",
     .hook = "tp_btf/block_bio_queue",
     .flags = SCHED_FLAG_THREAD,
     .gap = "waits for pages that were inactive when they were swapped out are counted as state disk"},
    {.program = "sched_wakeup",
     .hook = "tp_btf/sched_wakeup",
     .flags = SCHED_FLAG_WAKEUPS,
     .gap = "sonde.sched.wakeups only counts new threads"},
    {.program = "sched_wakeup_new",
     .hook = "tp_btf/sched_wakeup_new",
     .flags = SCHED_FLAG_WAKEUPS,
     .gap = "sonde.sched.wakeups does not count new threads"},
    {.program = "sched_begin", .hook = "run by the agent before the others are attached", .flags = 0},
    {.program = "sched_walk_all",
     .hook = "run by the agent before the others are attached and before a collection, over all tasks",
     .flags = SCHED_FLAG_THREAD,
     .gap = kAsleep,
     .needed = walks_by_kernel},
    {.program = "sched_walk_listed",
     .hook = "the same, over the threads that /proc lists",
     .flags = SCHED_FLAG_THREAD,
     .gap = kAsleep,
     .needed = walks_by_list},
    {.program = "sched_walk",
     .hook = "the same, by iter/task",
     .flags = SCHED_FLAG_THREAD,
     .gap = kAsleep,
     .needed = walks_by_iterator,
     .blind = cannot_walk},
    {.program = "sched_flush",
     .hook = "run by the agent on each CPU before a collection",
     .flags = 0,
     .gap = "a thread is not seen until it leaves its CPU"},
};

constexpr std::array<std::string_view, 6> kNotes = {
    "A thread throttled by the CPU quota of its cgroup or of a parent is in state stopped, not runnable, "
    "and does not add to sonde.sched.run_queue.duration.",
    "A SCHED_DEADLINE thread that has used up its runtime is runnable until it gets more: "
    "the kernel treats it as waiting for a CPU.",
    "Time is attributed to the thread that waited or ran, never to the one that runs next; "
    "the idle task is not counted.",
    "If a running thread is moved to a new cgroup by another thread, its time since its last context switch is "
    "attributed to the new cgroup.",
    "The kernel does not measure the wait of a thread that is preempted on its way to sleep: it is counted as lost.",
    "The histogram needs no clock read and is never sampled: sampleHistogramsEvery does not apply.",
};

constexpr LossSpec kLosses[] = {{SCHED_LOSS_MERGED, "merged"}};

constexpr ModuleInfo kInfo = {
    .name = "sched",
    .summary = "Scheduling: thread time by state, run-queue waits, context switches, migrations, wakeups, CPU time",
    .aliases = kAliases,
    .metrics = kMetrics,
    .series = kSeries,
    .alternatives = kAlternatives,
    .programs = kPrograms,
    .needs = "BTF, task storage for tracing programs (Linux 5.12); CAP_BPF and CAP_PERFMON",
    .counters = SCHED_COUNTERS,
    .histograms = SCHED_HISTOGRAMS,
    .losses = kLosses,
    .notes = kNotes,
};

class SchedModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  Result<void> begin(bpf_object* object) const override {
    if (auto begun = run_program(object, "sched_begin"); !begun) return begun.error().with("nothing will be counted");
    return flush(object);  // takes note of how every thread stands
  }

  // Thread time of who is selected now begins now, also of threads that sleep until the next collection and longer.
  Result<void> selected(bpf_object* object) const override { return flush(object); }

  Result<void> flush(bpf_object* object) const override {
    if (auto walked = run_over_threads(object, "sched_walk", "sched_tids"); !walked) return walked;
    return run_on_each_cpu(object, "sched_flush");
  }
};

}  // namespace

const Module& sonde_module_sched() {
  static const SchedModule module;
  return module;
}

}  // namespace sonde
