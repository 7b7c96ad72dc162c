// SPDX-License-Identifier: Apache-2.0
// The module contract. A probe is one folder, bpf/modules/<name>/, that provides one Module: tables that say what it
// measures and which BPF programs it needs. Loading, attaching, draining, deltas, limits and names are the engine's.
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

namespace sonde {

// What this kernel can do, found out by trying (agent/kernel/features.h).
struct Features {
  bool fentry = false;  // fentry and fexit programs load and attach
  bool kprobe = false;
  bool preemptible = false;                              // preempt=full or unknown: fentry and fexit would skip events
  bool read_only_cast = false;                           // bpf_rdonly_cast exists
  bool sleepable_queues = false;                         // programs that may sleep can use queues
  bool map_iterators = false;                            // iterators over the elements of maps load
  bool first_pid_namespace = true;                       // iter/task and its kind show the whole machine
  std::function<bool(std::string_view)> has_function;    // kernel function in BTF
  std::function<bool(std::string_view)> has_tracepoint;  // BTF tracepoint (btf_trace_<name>)
};

// Ways to the same numbers. The first usable one, in table order, is taken; programs name theirs by index.
struct Alternative {
  std::string_view name;
  // Empty: usable. Otherwise the reason why not, a sentence for `sonde doctor`.
  std::string (*unusable)(const Features&);
};

inline constexpr int kEveryAlternative = -1;

struct ProgramSpec {
  std::string_view program;  // function name in the BPF object
  // For people: "tp_btf/sys_enter". "perf_event/software/page-faults-maj[/period]" is what such a program is attached to.
  std::string_view hook;
  uint8_t flags = 0xff;  // attached while any subject asks one of these
  int alternative = kEveryAlternative;
  // What is missing if it does not load or attach, a sentence for status. Empty: the module fails without it.
  std::string_view gap{};
  bool needs_context = false;  // uses sonde_who(): the core's context-switch program must be attached
  uint16_t cost_ns = 0;        // added to each run of the hook for a selected subject; 0: the usual figure of its type
  // Left out, without a word, where this says no: another program of the module does the same here. Null: never.
  bool (*needed)(const Features&) = nullptr;
  bool by_agent = false;  // loaded with the others, attached elsewhere: to functions that policies declare
  // Of a program that the agent runs: why it would not see all that it is for, a sentence; empty: it does. Then it is not
  // loaded, and `gap` is named while somebody asks for one of its flags. Null: it always does.
  std::string (*blind)(const Features&) = nullptr;
};

struct ModuleInfo {
  std::string_view name;
  std::string_view summary;  // one line
  std::span<const std::string_view> aliases{};
  std::span<const MetricSpec> metrics;
  std::span<const SeriesSpec> series;
  std::span<const Alternative> alternatives{};
  std::span<const ProgramSpec> programs;
  std::string_view needs;  // kernel and capability needs, one line
  uint16_t counters = 0;   // length of the rows; 0: the map does not exist
  uint16_t histograms = 0;
  uint16_t gauges = 0;
  bool cells = false;
  bool keyed_histograms = false;
  uint16_t reads = 0;                         // values of Module::read
  bool samples_histograms = false;            // the kernel side heeds sampleHistogramsEvery
  std::span<const std::string_view> notes{};  // caveats, one sentence each
};

// A series whose attribute values follow from a cell's key. The views must live as long as the program.
struct CellSeries {
  uint8_t metric = 0;
  AttributeValues values{};
};
inline constexpr uint32_t kOtherCells = 0xffffffff;  // key under which what found no cell is decoded

// Files that are read at each collection: they may stay open in between.
class SubjectFiles {
 public:
  virtual ~SubjectFiles() = default;
  // The begin of a file, as much as there is room for. `name`: in the directory of the subject's cgroup (v2), or an
  // absolute path. Negative: -errno; -ENOENT: there is no such file.
  virtual ssize_t read(std::string_view name, std::span<char> text) = 0;
};

// Whose files Module::read() reads.
struct ReadTarget {
  bool node = false;  // the machine (SONDE_SLOT_NODE): absolute paths only
  uint8_t flags = 0;  // this module's flags of it: what is asked for
  SubjectFiles* files = nullptr;
};
inline constexpr uint64_t kUnread = UINT64_MAX;

// A value of a series of Source::ReadKeyed.
struct KeyedState {
  uint32_t key = 0;
  int64_t value = 0;
};

// A subject whose states are brought up to date.
struct StateSubject {
  uint32_t slot = 0;
  uint8_t flags = 0;      // this module's flags of it
  bool older = false;     // it ran before this module was asked for anything of it: what it had by then nobody has seen
  std::string_view path;  // of its cgroup, below the v2 root
};

// Where else a module may look.
struct HostTree {
  std::string cgroup_root;                                                // directory of the v2 root
  std::string proc_root;                                                  // its /proc
  std::function<std::vector<uint32_t>(const std::string& path)> members;  // its pids of a cgroup and of those below
};

class Module {
 public:
  virtual ~Module() = default;
  virtual const ModuleInfo& info() const = 0;

  // Key as given to sonde_count_key, or kOtherCells.
  virtual CellSeries decode_cell(uint32_t key) const;
  // Key as given to sonde_observe_key, or kOtherCells. Names found at run time: intern() (agent/module/intern.h).
  virtual CellSeries decode_keyed(uint32_t key) const;
  // Key as read_keyed() gave it.
  virtual CellSeries decode_read(uint32_t key) const;
  // Set rodata and program options between open and load. `alternative` is the index taken, or -1.
  virtual Result<void> prepare(bpf_object* object, const Features& features, int alternative) const;
  // Before the first of its programs is attached, and again before the first after all were detached: what the kernel
  // side remembered of tasks is old, take note of how things stand now.
  virtual Result<void> begin(bpf_object* object) const;
  // After begin(), when subjects that were there before are measured for more than they were until now.
  virtual Result<void> selected(bpf_object* object) const;
  // Before each collection while one of its programs is attached: bring what is pending in the kernel into the rows.
  virtual Result<void> flush(bpf_object* object) const;
  // While one of its programs is attached, about once a second: what it cannot count at present, because a subject uses
  // what no program sees. Sentences for status, which must not change from one time to the next without need.
  virtual std::vector<std::string> gaps(bpf_object* object) const;
  // Before each collection in which a gauge of this module is due: bring <module>_gauges up to date.
  virtual Result<void> refresh(bpf_object* object) const;
  // After refresh(): what the kernel side cannot know of subjects that are older than their selection. A gauge that
  // nobody knows is SONDE_NO_GAUGE: then there is no such series.
  virtual Result<void> settle(bpf_object* object, std::span<const StateSubject> subjects, const HostTree& machine) const;
  // What only user space can read (cpu.stat, *.pressure, cpufreq), before each collection for each subject that asks for
  // a series of Source::Read, processes with slots of their own excepted. values[SeriesSpec::index]: the total since
  // whenever (the engine makes the differences; one that fell begins anew) or, for gauges, the value now, an int64. All
  // are kUnread before; what stays so is passed over. Error: nothing could be read of this subject; a file that its
  // kernel or controller does not have is none.
  virtual Result<void> read(const ReadTarget& target, std::span<uint64_t> values) const;
  // The same for a series of Source::ReadKeyed: what there is now, of which keys. `states` is empty before.
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

}  // namespace sonde
