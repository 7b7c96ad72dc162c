// SPDX-License-Identifier: Apache-2.0
// The locks probe in user space: its tables, and the names of locks.
#include "bpf/modules/locks/locks.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "agent/module/intern.h"
#include "agent/module/module.h"
#include "agent/module/read_only.h"
#include "agent/module/series.h"
#include "bpf/modules/locks/symbols_tables.h"
#include "sonde/spans.h"

namespace sonde {
namespace {

enum Metric : uint8_t { kWait, kTime, kHold, kInversions, kStalls };

constexpr std::array<std::string_view, LOCKS_KINDS> kKinds = {"mutex",   "spinlock",     "rwlock",    "rwsem",
                                                              "rtmutex", "percpu_rwsem", "semaphore", "futex"};

constexpr AttributeSpec kKind[] = {
    {"sonde.lock.kind", "mutex, spinlock, rwlock, rwsem, rtmutex, percpu_rwsem, semaphore, futex"}};
constexpr AttributeSpec kKindAndName[] = {
    {"sonde.lock.kind", "mutex, spinlock, rwlock, rwsem, rtmutex, percpu_rwsem, semaphore"},
    {"sonde.lock.name", "symbol of the lock, or of the function that waits for it; other"}};
constexpr AttributeSpec kHoldKind[] = {{"sonde.lock.kind", "mutex, rwsem"}};
constexpr AttributeSpec kInversionKind[] = {{"sonde.lock.kind", "mutex, rwsem, futex"}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.lock.wait.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Detailed,
     .description = "Time from finding a lock taken to acquiring it; for futexes, from falling asleep to being woken.",
     .attributes = kKind},
    {.name = "sonde.lock.wait.time",
     .unit = "s",
     .level = Level::OptIn,
     .description = "Time spent waiting for kernel locks, by lock name.",
     .attributes = kKindAndName,
     .integer = false},
    {.name = "sonde.lock.hold.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::OptIn,
     .description = "How long locks were held after they had been waited for.",
     .attributes = kHoldKind},
    {.name = "sonde.lock.inversions",
     .unit = "{inversion}",
     .level = Level::Detailed,
     .description = "Cycles of tasks waiting for each other's locks: suspected deadlocks.",
     .attributes = kInversionKind,
     .from_zero = true},
    {.name = "sonde.rcu.stalls",
     .unit = "{stall}",
     .level = Level::Standard,
     .description = "RCU grace periods that the kernel reports as stalled; "
                    "each is counted once, however often it is reported.",
     .from_zero = true,
     .node = true},
};

constexpr SeriesList make_series() {
  SeriesList all;
  for (uint16_t kind = 0; kind < LOCKS_KINDS; ++kind) {
    const uint8_t flag = kind == LOCKS_FUTEX ? LOCKS_FUTEXES : LOCKS_WAITS;
    const bool spins = kind == LOCKS_SPINLOCK || kind == LOCKS_RWLOCK;
    all.add({kWait, Source::Histogram, kind, {kKinds[kind]}, Level::Detailed, flag, 1e-9, spins});
  }
  all.add({kTime, Source::Cells, 0, {}, Level::OptIn, LOCKS_NAMES, 1e-9});
  all.add({kHold, Source::Histogram, LOCKS_HOLD_MUTEX, {kKinds[LOCKS_MUTEX]}, Level::OptIn, LOCKS_HOLDS, 1e-9});
  all.add({kHold, Source::Histogram, LOCKS_HOLD_RWSEM, {kKinds[LOCKS_RWSEM]}, Level::OptIn, LOCKS_HOLDS, 1e-9});
  for (const uint16_t kind : {LOCKS_MUTEX, LOCKS_RWSEM, LOCKS_FUTEX}) {
    all.add({kInversions,
             Source::Counter,
             static_cast<uint16_t>(LOCKS_INVERSION + kind),
             {kKinds[kind]},
             Level::Detailed,
             LOCKS_INVERSIONS,
             1.0});
  }
  all.add({kStalls, Source::Counter, LOCKS_STALL, {}, Level::Standard, LOCKS_STALLS, 1.0});
  return all;
}
constexpr auto kSeries = series_of<make_series>();

constexpr std::string_view kNoContention =
    "waits for kernel locks are not measured (lock:contention_begin exists since Linux 5.19)";
constexpr std::string_view kNoHolds = "lock hold times are not measured: they need fentry";
constexpr uint8_t kFutexFlags = LOCKS_FUTEXES | LOCKS_INVERSIONS;

constexpr ProgramSpec kPrograms[] = {
    {.program = "locks_mkdir",
     .hook = "tp_btf/cgroup_mkdir",
     .flags = LOCKS_WAITS,
     .gap = "waits of a new container for spinning locks are lost until the agent has seen the container"},
    {.program = "locks_contention_begin",
     .hook = "tp_btf/contention_begin",
     .flags = LOCKS_OF_KERNEL,
     .gap = kNoContention},
    {.program = "locks_contention_end",
     .hook = "tp_btf/contention_end",
     .flags = LOCKS_OF_KERNEL,
     .gap = kNoContention},
    {.program = "locks_switch", .hook = "tp_btf/sched_switch", .flags = kFutexFlags},
    {.program = "locks_wakeup", .hook = "tp_btf/sched_wakeup", .flags = kFutexFlags},
    {.program = "locks_mutex_unlock", .hook = "fentry/mutex_unlock", .flags = LOCKS_HOLDS, .gap = kNoHolds},
    {.program = "locks_up_read", .hook = "fentry/up_read", .flags = LOCKS_HOLDS, .gap = kNoHolds},
    {.program = "locks_up_write", .hook = "fentry/up_write", .flags = LOCKS_HOLDS, .gap = kNoHolds},
    {.program = "locks_console",
     .hook = "tp_btf/console",
     .flags = LOCKS_STALLS,
     .gap = "RCU stalls are not counted: this kernel has no tracepoint for its log"},
};

constexpr std::string_view kNotes[] = {
    "Taking a free lock is not a wait; neither is a futex call that does not need to sleep.",
    "A wait for a spinning lock in an interrupt is attributed to the interrupted task.",
    "Futex waits of 32-bit programs are not measured.",
    "RCU stalls are read from the kernel log, to which root can also write through /dev/kmsg.",
    "Futex inversions are only detected for glibc mutexes, which store their owner next to the futex.",
};

constexpr SpanSpec kSpans[] = {
    {SONDE_SPAN_LOCK_WAIT, LOCKS_WAITS},
};

constexpr ModuleInfo kInfo = {
    .name = "locks",
    .summary =
        "Lock waits: kernel locks by kind and name, and futexes; lock hold times; suspected deadlocks; RCU stalls",
    .metrics = kMetrics,
    .series = kSeries,
    .programs = kPrograms,
    .needs =
        "lock:contention_begin (Linux 5.19) for kernel locks; fentry for hold times; "
        "CAP_BPF and CAP_PERFMON, and CAP_SYSLOG for names",
    .counters = LOCKS_COUNTERS,
    .histograms = LOCKS_HISTOGRAMS,
    .cells = true,
    .spans = kSpans,
    .notes = kNotes,
};

// Names by the hash that the kernel side counts by. Known ones stay: counts may still be on their way.
struct Names {
  std::mutex mutex;
  std::map<uint32_t, std::string_view> by_hash;
};
Names& names() {
  static Names all;
  return all;
}

class LocksModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  CellSeries decode_cell(uint32_t key) const override {
    if (key == kOtherCells) return {kTime, AttributeValues{"other", "other"}};
    Names& known = names();
    const std::lock_guard lock(known.mutex);
    const auto name = known.by_hash.find(key >> 3);
    return {kTime, AttributeValues{kKinds[key & 7], name == known.by_hash.end() ? "other" : name->second}};
  }

  SpanWords decode_span(const sonde_span& span) const override {
    return {.lock_kind = span.detail < kKinds.size() ? kKinds[span.detail] : std::string_view()};
  }

  Result<void> prepare(bpf_object* object, const Features&, int) const override {
    return set_read_only(object, "locks_limits", kernel_bounds());
  }

  Result<void> flush(bpf_object* object) const override {
    learn_names(object);
    return {};
  }

 private:
  static void learn_names(bpf_object* object) {
    const bpf_map* map = bpf_object__find_map_by_name(object, "locks_places");
    if (!map) return;
    std::map<uint32_t, uint64_t> fresh;
    Names& known = names();
    const std::lock_guard lock(known.mutex);
    uint32_t key = 0;
    uint32_t next = 0;
    for (int end = bpf_map_get_next_key(bpf_map__fd(map), nullptr, &next); !end;
         end = bpf_map_get_next_key(bpf_map__fd(map), &key, &next)) {
      locks_place place{};
      key = next;
      if (known.by_hash.contains(key) || bpf_map_lookup_elem(bpf_map__fd(map), &key, &place)) continue;
      fresh[key] = place.address;
    }
    if (fresh.empty()) return;
    for (const auto& [hash, name] : symbols_of(fresh)) known.by_hash[hash] = intern(name);
  }
};

}  // namespace

const Module& sonde_module_locks() {
  static const LocksModule module;
  return module;
}

}  // namespace sonde
