// SPDX-License-Identifier: Apache-2.0
#include "sched.h"

#include <bpf/btf.h>

#include <array>
#include <cstring>
#include <string>

#include "agent/module/bpf_run.h"
#include "agent/module/module.h"

namespace sonde {
namespace {

constexpr std::array<std::string_view, 1> kAliases = {"cpu"};

enum Metric : uint8_t { kThread, kWait, kSwitches, kMigrations, kWakeups, kOncpu };

constexpr std::array<AttributeSpec, 1> kCause = {{{"sonde.sched.cause", "wakeup, preemption"}}};
constexpr std::array<AttributeSpec, 1> kSwitchType = {{{"process.context_switch.type", "voluntary, involuntary"}}};

constexpr std::array<AttributeSpec, 1> kState = {
    {{"sonde.thread.state", "running, runnable, disk, network, lock, memory, sleep, stopped, other"}}};

constexpr std::array<MetricSpec, 6> kMetrics = {{
    {.name = "sonde.thread.time",
     .unit = "s",
     .level = Level::Minimal,
     .description = "All time of all threads by what they did with it: the states add up to threads times wall time",
     .attributes = kState,
     .integer = false},
    {.name = "sonde.sched.run_queue.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Minimal,
     .description = "Time that runnable threads waited for a CPU, one sample per arrival on one",
     .attributes = kCause},
    {.name = "sonde.sched.context_switches",
     .unit = "{switch}",
     .level = Level::Detailed,
     .description = "Times that threads left a CPU, on their own (voluntary) or not",
     .attributes = kSwitchType},
    {.name = "sonde.sched.migrations",
     .unit = "{migration}",
     .level = Level::Detailed,
     .description = "Times that threads were moved to another CPU"},
    {.name = "sonde.sched.wakeups",
     .unit = "{wakeup}",
     .level = Level::Detailed,
     .description = "Times that threads were made runnable, new threads included"},
    {.name = "sonde.sched.oncpu.time",
     .unit = "s",
     .level = Level::Detailed,
     .description = "Time that threads spent on a CPU",
     .integer = false},
}};

constexpr double kNanoseconds = 1e-9;

constexpr SeriesSpec thread_time(uint16_t state, std::string_view name) {
  return {.metric = kThread,
          .index = static_cast<uint16_t>(SCHED_THREAD + state),
          .values = {name},
          .level = Level::Minimal,
          .flag = SCHED_FLAG_THREAD,
          .scale = kNanoseconds};
}

constexpr std::array<SeriesSpec, 17> kSeries = {{
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
    {.metric = kOncpu,
     .index = SCHED_ONCPU,
     .level = Level::Detailed,
     .flag = SCHED_FLAG_ONCPU,
     .scale = kNanoseconds},
}};

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
  return "this kernel does not keep waiting times (CONFIG_SCHED_INFO): sonde.sched.run_queue.duration is not measured; "
         "a kernel with CONFIG_SCHEDSTATS or CONFIG_TASK_DELAY_ACCT has it";
}

std::string never(const Features&) { return {}; }

constexpr std::array<Alternative, 2> kAlternatives = {{
    {"sched_info", why_no_run_delay},
    {"without_sched_info", never},
}};

// One set for all but the wakeups: the figures in task storage are only good while no switch-out goes unwatched.
constexpr uint8_t kAllFlags = SCHED_FLAG_WAIT | SCHED_FLAG_CAUSE | SCHED_FLAG_SWITCHES | SCHED_FLAG_ONCPU |
                              SCHED_FLAG_MIGRATIONS | SCHED_FLAG_WAKEUPS | SCHED_FLAG_THREAD;

constexpr std::array<ProgramSpec, 10> kPrograms = {{
    {.program = "sched_fork",
     .hook = "tp_btf/sched_process_fork",
     .flags = kAllFlags,
     .gap = "a new thread's storage is made at its first context switch, under the run queue's lock"},
    {.program = "sched_move",
     .hook = "tp_btf/cgroup_attach_task",
     .flags = kAllFlags,
     .gap = "what a process did since its last context switch is charged to the cgroup that it moves itself to"},
    {.program = "sched_switch", .hook = "tp_btf/sched_switch", .flags = kAllFlags},
    {.program = "sched_lock",
     .hook = "tp_btf/contention_begin",
     .flags = SCHED_FLAG_THREAD,
     .gap = "waits for locks of the kernel are part of the state that the system call stands for (Linux 5.19 has the hook)"},
    {.program = "sched_wakeup",
     .hook = "tp_btf/sched_wakeup",
     .flags = SCHED_FLAG_WAKEUPS,
     .gap = "sonde.sched.wakeups counts new threads only"},
    {.program = "sched_wakeup_new",
     .hook = "tp_btf/sched_wakeup_new",
     .flags = SCHED_FLAG_WAKEUPS,
     .gap = "sonde.sched.wakeups does not count new threads"},
    {.program = "sched_begin", .hook = "run by the agent before the others are attached", .flags = 0},
    {.program = "sched_seed",
     .hook = "iter/task, run by the agent before the others are attached",
     .flags = 0,
     .gap = "threads older than the agent count from their first context switch on"},
    {.program = "sched_walk",
     .hook = "iter/task, run by the agent before a collection",
     .flags = 0,
     .gap = "the time of a thread that sleeps is charged when it wakes up"},
    {.program = "sched_flush",
     .hook = "run by the agent on each CPU before a collection",
     .flags = 0,
     .gap = "a thread that does not leave its CPU is not seen until it does"},
}};

constexpr std::array<std::string_view, 4> kNotes = {
    "charged to the thread that waited or ran, never to the one that happens to run next; the idle task is not counted",
    "a thread that another one moves to a new cgroup while it runs is charged to the new one from its last context "
    "switch on",
    "waits of a thread preempted on its way to sleep are not measured by the kernel itself: counted as lost",
    "the histogram needs no clock and is never sampled: sampleHistogramsEvery does not apply",
};

constexpr ModuleInfo kInfo = {
    .name = "sched",
    .summary = "Thread time by state, run queue, context switches, migrations, wakeups, CPU time",
    .aliases = kAliases,
    .metrics = kMetrics,
    .series = kSeries,
    .alternatives = kAlternatives,
    .programs = kPrograms,
    .needs = "BTF, task storage for tracing programs (Linux 5.12); CAP_BPF and CAP_PERFMON",
    .counters = SCHED_COUNTERS,
    .histograms = SCHED_HISTOGRAMS,
    .notes = kNotes,
};

class SchedModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  Result<void> begin(bpf_object* object) const override {
    if (auto begun = run_program(object, "sched_begin"); !begun) return begun.error().with("nothing will be counted");
    // Takes note of how every thread stands. Threads of other pid namespaces are not seen if the agent has its own.
    if (auto seeded = run_iterator(object, "sched_seed"); !seeded) return seeded;
    return flush(object);
  }

  // Thread time of who is selected now begins now, also of threads that sleep until the next collection and longer.
  Result<void> selected(bpf_object* object) const override { return flush(object); }

  Result<void> flush(bpf_object* object) const override {
    if (auto walked = run_iterator(object, "sched_walk"); !walked) return walked;
    return run_on_each_cpu(object, "sched_flush");
  }
};

}  // namespace

const Module& sonde_module_sched() {
  static const SchedModule module;
  return module;
}

}  // namespace sonde
