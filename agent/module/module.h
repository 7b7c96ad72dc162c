// SPDX-License-Identifier: Apache-2.0
// The module contract. A probe is one folder, bpf/modules/<name>/, that provides one Module: tables that describe what
// it measures and which BPF programs it needs. The engine handles loading, attaching, draining, deltas, limits, names.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"
#include "agent/module/metric.h"

struct bpf_object;
struct sonde_span;

namespace sonde {

// What this kernel supports, determined by trying (agent/kernel/features.h).
struct Features {
  bool fentry = false;  // fentry and fexit programs load and attach
  bool kprobe = false;
  bool preemptible = false;                              // preempt=full or unknown: fentry and fexit would skip events
  bool read_only_cast = false;                           // bpf_rdonly_cast exists
  bool sleepable_queues = false;                         // sleepable programs can use queues
  bool map_iterators = false;                            // iterators over map elements load
  bool first_pid_namespace = true;                       // iter/task and similar iterators see the whole machine
  std::function<bool(std::string_view)> has_function;    // kernel function in BTF
  std::function<bool(std::string_view)> has_tracepoint;  // BTF tracepoint (btf_trace_<name>)
};

// Alternative hooks for the same metrics. The first usable one, in table order, is used; programs refer to it by index.
struct Alternative {
  std::string_view name;
  // Empty: usable. Otherwise the reason why not, a message for `sonde doctor`.
  std::string (*unusable)(const Features&);
};

inline constexpr int kEveryAlternative = -1;

struct ProgramSpec {
  std::string_view program;  // function name in the BPF object
  // For display: "tp_btf/sys_enter". "perf_event/software/page-faults-maj[/period]" also determines the attachment.
  std::string_view hook;
  uint8_t flags = 0xff;  // attached while any subject has one of these flags
  int alternative = kEveryAlternative;
  // What is not measured if it does not load or attach, a message for status. Empty: the module fails without it.
  std::string_view gap{};
  bool needs_context = false;  // uses sonde_who(): the core's context-switch program must be attached
  uint16_t cost_ns = 0;        // cost per run of the hook for a selected subject; 0: the default for its type
  // Skipped silently if this returns false: another program of the module does the same here. Null: never skipped.
  bool (*needed)(const Features&) = nullptr;
  bool by_agent = false;  // loaded with the others, attached elsewhere: to functions declared in policies
  // For a program that the agent runs: why it would not see everything it should, a message; empty: it does. If set, it is not
  // loaded, and `gap` is reported while one of its flags is requested. Null: it always does.
  std::string (*blind)(const Features&) = nullptr;
};

// A reason of the module's own for which events are not counted where they belong; see enum sonde_loss.
struct LossSpec {
  uint8_t reason = 0;  // SONDE_LOSS_OWN and up, below SONDE_LOSSES
  std::string_view name;
};

// An operation of which the kernel side can send spans (sonde/spans.h).
struct SpanSpec {
  uint8_t operation = 0;  // enum sonde_span_operation
  uint8_t flags = 0;      // all must be requested for a subject: its duration is taken then
};

// What only its module can tell of a span. The views must live as long as the program; empty: the operation does not have it.
struct SpanWords {
  std::string_view error_type;  // how it failed, if it has no errno
  std::string_view device;
  std::string_view dns_type;
  std::string_view lock_kind;
  std::string_view function_name;
};

// What a function that a policy declares may be measured for.
struct MeasureSpec {
  std::string_view word;  // in the policy: "Calls"
  uint8_t metric = 0;     // index into ModuleInfo::metrics
};

struct ModuleInfo {
  std::string_view name;
  std::string_view summary;  // one line
  std::span<const std::string_view> aliases{};
  // Not empty: the probe of which this one is a part. Where that probe is named, this one is meant too.
  std::string_view part_of{};
  std::span<const MetricSpec> metrics;
  std::span<const SeriesSpec> series;
  std::span<const Alternative> alternatives{};
  std::span<const ProgramSpec> programs;
  std::string_view needs;  // kernel and capability requirements, one line
  uint16_t counters = 0;   // row length; 0: the map does not exist
  uint16_t histograms = 0;
  uint16_t gauges = 0;
  bool cells = false;
  bool keyed_histograms = false;
  uint16_t reads = 0;                  // number of values of Module::read
  bool samples_histograms = false;     // the kernel side supports sampleHistogramsEvery
  std::span<const SpanSpec> spans{};
  std::span<const LossSpec> losses{};  // its own reasons, besides those of enum sonde_loss
  // Not empty: the module that measures the functions which policies declare (agent/functions). At most one is.
  std::span<const MeasureSpec> measures{};
  std::span<const std::string_view> notes{};  // caveats, one sentence each
};

// A series whose attribute values follow from a cell's key. The views must live as long as the program.
struct CellSeries {
  uint8_t metric = 0;
  AttributeValues values{};
};
inline constexpr uint32_t kOtherCells = 0xffffffff;  // decoded for samples that found no cell

// Files that are read at each collection; they may stay open in between.
class SubjectFiles {
 public:
  virtual ~SubjectFiles() = default;
  // The first part of a file, as much as there is room for. `name`: in the directory of the subject's cgroup (v2), or an
  // absolute path. Negative: -errno; -ENOENT: there is no such file.
  virtual ssize_t read(std::string_view name, std::span<char> text) = 0;
};

// Whose files Module::read() reads.
struct ReadTarget {
  bool node = false;  // the machine (SONDE_SLOT_NODE): absolute paths only
  uint8_t flags = 0;  // this module's flags for it: what is requested
  SubjectFiles* files = nullptr;
};
inline constexpr uint64_t kUnread = UINT64_MAX;

// A value of a series of Source::ReadKeyed.
struct KeyedState {
  uint32_t key = 0;
  int64_t value = 0;
};

// A subject whose gauges are refreshed.
struct StateSubject {
  uint32_t slot = 0;
  uint8_t flags = 0;      // this module's flags for it
  bool older = false;     // it was running before this module was requested for it: its state from before is unknown
  std::string_view path;  // of its cgroup, relative to the v2 root
};

// Other places that a module may read.
struct HostTree {
  std::string cgroup_root;                                                // directory of the v2 root
  std::string proc_root;                                                  // its /proc
  std::function<std::vector<uint32_t>(const std::string& path)> members;  // PIDs in a cgroup and those below it
};

class Module {
 public:
  virtual ~Module() = default;
  virtual const ModuleInfo& info() const = 0;

  // Key as passed to sonde_count_key, or kOtherCells.
  virtual CellSeries decode_cell(uint32_t key) const;
  // Key as passed to sonde_observe_key, or kOtherCells. For names found at run time use intern() (agent/module/intern.h).
  virtual CellSeries decode_keyed(uint32_t key) const;
  // Key as returned by read_keyed().
  virtual CellSeries decode_read(uint32_t key) const;
  // A span of one of ModuleInfo::spans. Its numbers come from the kernel side and may be any.
  virtual SpanWords decode_span(const sonde_span& span) const;
  // Sets rodata and program options between open and load. `alternative` is the selected index, or -1.
  virtual Result<void> prepare(bpf_object* object, const Features& features, int alternative) const;
  // Called before the first of its programs is attached, also after all had been detached: stored task state is
  // outdated then, so record the current state.
  virtual Result<void> begin(bpf_object* object) const;
  // Called after begin() when existing subjects are measured in more detail than before.
  virtual Result<void> selected(bpf_object* object) const;
  // Called before each collection while one of its programs is attached: moves pending data in the kernel into the rows.
  virtual Result<void> flush(bpf_object* object) const;
  // Called about once a second while one of its programs is attached: what it currently cannot count, because a subject
  // uses something that no program sees. Messages for status, which should be stable from one call to the next.
  virtual std::vector<std::string> gaps(bpf_object* object) const;
  // Called before each collection in which a gauge of this module is due: refreshes <module>_gauges.
  virtual Result<void> refresh(bpf_object* object) const;
  // Called after refresh(): adds what the kernel side cannot know about subjects older than their selection. An unknown
  // gauge is SONDE_NO_GAUGE: the series is then missing.
  virtual Result<void> settle(bpf_object* object, std::span<const StateSubject> subjects,
                              const HostTree& machine) const;
  // Values that only user space can read (cpu.stat, *.pressure, cpufreq), before each collection for each subject with
  // a series of Source::Read, except processes with their own slots. values[SeriesSpec::index]: the total since
  // any time (the engine computes differences; one that decreased starts over) or, for gauges, the current value, an int64.
  // All are kUnread before; those that stay so are skipped. Error: nothing could be read for this subject; a missing file
  // (kernel or controller without it) is not an error.
  virtual Result<void> read(const ReadTarget& target, std::span<uint64_t> values) const;
  // The same for a series of Source::ReadKeyed: current values and their keys. `states` is empty before.
  virtual Result<void> read_keyed(const ReadTarget& target, std::vector<KeyedState>& states) const;
};

// One entry per folder under bpf/modules, sorted by name; generated by the build. The index is the module's id: the
// byte in the flags of a subject.
struct ModuleEntry {
  const Module* module;
  std::span<const unsigned char> object;  // ELF
};
std::span<const ModuleEntry> modules();

// By name or alias; -1 if there is none.
int find_module(std::string_view name);
// Does it mean this module where `name` is written: its own name or alias, or those of the probe that it is part of?
bool stands_for(std::span<const ModuleEntry> among, std::string_view name, const ModuleInfo& info);
// The one that measures the functions which policies declare; -1 if there is none.
int function_module(std::span<const ModuleEntry> among);

}  // namespace sonde
