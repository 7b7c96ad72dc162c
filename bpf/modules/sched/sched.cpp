// SPDX-License-Identifier: Apache-2.0
#include "sched.h"

#include <bpf/btf.h>

#include <array>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "agent/module/bpf_run.h"
#include "agent/module/intern.h"
#include "agent/module/module.h"
#include "agent/module/threads.h"
#include "bpf/modules/sched/cpu_files_tables.h"

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
  kIrqTime,
  kIrqCount,
  kThrottledTime,
  kThrottledPeriods,
  kPeriods,
  kFrequency,
  kChanges,
  kIdle
};

constexpr std::array<AttributeSpec, 1> kCause = {{{"sonde.sched.cause", "wakeup, preemption"}}};
constexpr std::array<AttributeSpec, 1> kSwitchType = {{{"process.context_switch.type", "voluntary, involuntary"}}};

constexpr std::array<AttributeSpec, 1> kState = {
    {{"sonde.thread.state", "running, runnable, disk, network, lock, memory, sleep, stopped, other"}}};

constexpr std::array<AttributeSpec, 2> kInterrupt = {
    {{"sonde.irq.kind", "hard, soft"},
     {"sonde.irq.name", "name of the handler without trailing digits, or of the softirq"}}};

constexpr std::array<AttributeSpec, 1> kCpu = {{{"cpu.logical_number", "0, 1, 2, ..."}}};
constexpr std::array<AttributeSpec, 2> kCpuState = {
    {{"cpu.logical_number", "0, 1, 2, ..."}, {"sonde.cpu.idle.state", "the driver's names: POLL, C1, ..."}}};

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
    {.name = "sonde.irq.time",
     .unit = "s",
     .level = Level::OptIn,
     .description = "Time spent in interrupt handlers; for softirqs, without the hard interrupts in between.",
     .attributes = kInterrupt,
     .node = true,
     .integer = false},
    {.name = "sonde.irq.count",
     .unit = "{interrupt}",
     .level = Level::OptIn,
     .description = "Interrupt handler runs.",
     .attributes = kInterrupt,
     .node = true},
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

constexpr double kNanoseconds = 1e-9;

constexpr SeriesSpec thread_time(uint16_t state, std::string_view name) {
  return {.metric = kThread,
          .index = static_cast<uint16_t>(SCHED_THREAD + state),
          .values = {name},
          .level = Level::Minimal,
          .flag = SCHED_FLAG_THREAD,
          .scale = kNanoseconds};
}

constexpr SeriesSpec soft(uint16_t number, std::string_view name) {
  return {.metric = kIrqCount,
          .index = static_cast<uint16_t>(SCHED_SOFTIRQ_COUNT + number),
          .values = {"soft", name},
          .level = Level::OptIn,
          .flag = SCHED_FLAG_IRQ};
}

constexpr SeriesSpec soft_time(uint16_t number, std::string_view name) {
  return {.metric = kIrqTime,
          .index = static_cast<uint16_t>(SCHED_SOFTIRQ_TIME + number),
          .values = {"soft", name},
          .level = Level::OptIn,
          .flag = SCHED_FLAG_IRQ,
          .scale = kNanoseconds};
}

constexpr SeriesSpec of_quota(uint8_t metric, uint16_t index, double scale = 1.0) {
  return {.metric = metric,
          .source = Source::Read,
          .index = index,
          .level = Level::Minimal,
          .flag = SCHED_FLAG_THREAD,
          .scale = scale};
}

constexpr SeriesSpec kSeries[] = {
    of_quota(kThrottledTime, SCHED_THROTTLED_TIME, 1e-6),
    of_quota(kThrottledPeriods, SCHED_THROTTLED_PERIODS),
    of_quota(kPeriods, SCHED_PERIODS),
    {.metric = kIrqCount, .source = Source::Cells, .level = Level::OptIn, .flag = SCHED_FLAG_IRQ},
    {.metric = kIrqTime, .source = Source::Cells, .level = Level::OptIn, .flag = SCHED_FLAG_IRQ, .scale = kNanoseconds},
    soft(0, "hi"),
    soft_time(0, "hi"),
    soft(1, "timer"),
    soft_time(1, "timer"),
    soft(2, "net_tx"),
    soft_time(2, "net_tx"),
    soft(3, "net_rx"),
    soft_time(3, "net_rx"),
    soft(4, "block"),
    soft_time(4, "block"),
    soft(5, "irq_poll"),
    soft_time(5, "irq_poll"),
    soft(6, "tasklet"),
    soft_time(6, "tasklet"),
    soft(7, "sched"),
    soft_time(7, "sched"),
    soft(8, "hrtimer"),
    soft_time(8, "hrtimer"),
    soft(9, "rcu"),
    soft_time(9, "rcu"),
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
    {.program = "sched_irq_entry",
     .hook = "tp_btf/irq_handler_entry",
     .flags = SCHED_FLAG_IRQ,
     .gap = "hard interrupts are not counted"},
    {.program = "sched_irq_exit",
     .hook = "tp_btf/irq_handler_exit",
     .flags = SCHED_FLAG_IRQ,
     .gap = "hard interrupts are not counted"},
    {.program = "sched_softirq_entry",
     .hook = "tp_btf/softirq_entry",
     .flags = SCHED_FLAG_IRQ,
     .gap = "softirqs are not counted"},
    {.program = "sched_softirq_exit",
     .hook = "tp_btf/softirq_exit",
     .flags = SCHED_FLAG_IRQ,
     .gap = "softirqs are not counted"},
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

constexpr std::array<std::string_view, 8> kNotes = {
    "A thread throttled by the CPU quota of its cgroup or of a parent is in state stopped, not runnable, "
    "and does not add to sonde.sched.run_queue.duration.",
    "sonde.cpu.throttled.* and sonde.cpu.periods refer to the cgroup's own quota. "
    "The quota of a parent cgroup (such as the pod's) is reported for that cgroup, so nested cgroups never count the "
    "same time twice.",
    "A SCHED_DEADLINE thread that has used up its runtime is runnable until it gets more: "
    "the kernel treats it as waiting for a CPU.",
    "Time is attributed to the thread that waited or ran, never to the one that runs next; "
    "the idle task is not counted.",
    "If a running thread is moved to a new cgroup by another thread, its time since its last context switch is "
    "attributed to the new cgroup.",
    "The kernel does not measure the wait of a thread that is preempted on its way to sleep: it is counted as lost.",
    "CPU frequency and idle states need cpufreq and cpuidle, which most virtual machines do not have.",
    "The histogram needs no clock read and is never sampled: sampleHistogramsEvery does not apply.",
};

const std::vector<sched::CpuFile>& files_of_cpus() {
  static const std::vector<sched::CpuFile> files = sched::cpu_files();
  return files;
}

SeriesSpec series_of(const sched::CpuFile& file, uint16_t index) {
  constexpr std::array<Metric, 3> kMetricOf = {kFrequency, kChanges, kIdle};
  constexpr std::array<double, 3> kScaleOf = {1.0, 1.0, 1e-6};
  SeriesSpec series{.metric = kMetricOf[file.kind],
                    .source = Source::Read,
                    .index = index,
                    .values = {intern(std::to_string(file.cpu))},
                    .level = Level::OptIn,
                    .flag = SCHED_FLAG_CPUS,
                    .scale = kScaleOf[file.kind]};
  if (file.kind == sched::CpuFile::Idle) series.values[1] = intern(file.state);
  return series;
}

// Which CPUs there are and what they can do is only known here.
const std::vector<SeriesSpec>& all_series() {
  static const std::vector<SeriesSpec> all = [] {
    std::vector<SeriesSpec> series(std::begin(kSeries), std::end(kSeries));
    uint16_t index = SCHED_READ_CPUS;
    for (const auto& file : files_of_cpus()) series.push_back(series_of(file, index++));
    return series;
  }();
  return all;
}

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
    .cells = true,
    .losses = kLosses,
    .notes = kNotes,
};

// The first handler of an interrupt, as the kernel side names it: at most 15 characters, digits at the end cut off.
std::string_view interrupt_name(uint32_t number) {
  std::ifstream file("/sys/kernel/irq/" + std::to_string(number) + "/actions");
  std::string name;
  if (number == SCHED_IRQ_OTHER || !std::getline(file, name, ',')) return "other";
  name = name.substr(0, name.find('\n')).substr(0, 15);
  while (name.size() > 1 && name.back() >= '0' && name.back() <= '9') name.pop_back();
  return intern(name);
}

const ModuleInfo& complete_info() {
  static const ModuleInfo info = [] {
    ModuleInfo all = kInfo;
    all.series = all_series();
    all.reads = static_cast<uint16_t>(SCHED_READ_CPUS + files_of_cpus().size());
    return all;
  }();
  return info;
}

class SchedModule final : public Module {
 public:
  const ModuleInfo& info() const override { return complete_info(); }

  Result<void> read(const ReadTarget& target, std::span<uint64_t> values) const override {
    if (target.node) return target.flags & SCHED_FLAG_CPUS ? read_cpus(*target.files, values) : Result<void>{};
    std::array<char, 4096> text{};
    const ssize_t size = target.files->read("cpu.stat", text);
    if (size < 0) return Error::system("cannot read cpu.stat", static_cast<int>(-size));
    const std::string_view stat(text.data(), static_cast<std::size_t>(size));
    const auto take = [&](sched_read which, std::string_view key) {
      if (const auto value = sched::value_of(stat, key)) values[which] = *value;
    };
    take(SCHED_THROTTLED_TIME, "throttled_usec");  // without the cpu controller they are not there
    take(SCHED_THROTTLED_PERIODS, "nr_throttled");
    take(SCHED_PERIODS, "nr_periods");
    return {};
  }

  CellSeries decode_cell(uint32_t key) const override {
    if (key == kOtherCells) return {kIrqCount, {"hard", "other"}};
    return {static_cast<uint8_t>(key & 1 ? kIrqTime : kIrqCount), {"hard", interrupt_name(key >> 1)}};
  }

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

 private:
  static Result<void> read_cpus(SubjectFiles& subject, std::span<uint64_t> values) {
    std::size_t index = SCHED_READ_CPUS;
    bool any = false;
    for (const auto& file : files_of_cpus()) {
      std::array<char, 32> text{};
      const ssize_t size = subject.read(file.path, text);
      if (const auto value = sched::number({text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))})) {
        values[index] = file.kind == sched::CpuFile::Frequency ? *value * 1000 : *value;  // kHz
        any = true;
      }
      ++index;
    }
    if (!any) return Error("this machine has neither cpufreq nor cpuidle, as is usual in virtual machines");
    return {};
  }
};

}  // namespace

const Module& sonde_module_sched() {
  static const SchedModule module;
  return module;
}

}  // namespace sonde
