// SPDX-License-Identifier: Apache-2.0
// One module's BPF object: opened, given the core's maps, loaded by the first alternative that this kernel takes, its
// programs attached while they are asked for. Each fails alone.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/base/result.h"
#include "agent/kernel/attachment.h"
#include "agent/kernel/core.h"
#include "agent/kernel/perf_events.h"
#include "agent/kernel/rows.h"
#include "agent/module/module.h"

struct bpf_link;
struct bpf_object;
struct bpf_program;

namespace sonde {

enum class ProgramState : uint8_t {
  Idle,  // loaded, not requested
  Attached,
  Unused,  // belongs to another alternative
  Failed,  // does not load or attach: see reason
};
std::string_view word_of(ProgramState state);

struct ProgramReport {
  std::string name;
  std::string hook;
  ProgramState state = ProgramState::Idle;
  std::string reason;       // of Failed
  std::string gap;          // what is not measured because of it
  uint32_t times_lost = 0;  // somebody else detached it that often
};

enum class ModuleHealth : uint8_t { Ok, Degraded, Failed, Disabled };
std::string_view word_of(ModuleHealth health);

struct ModuleReport {
  std::string name;
  ModuleHealth health = ModuleHealth::Ok;
  std::string alternative;           // in use; empty if the module has none
  std::vector<std::string> reasons;  // why degraded or failed, and why not an earlier alternative: sentences
  std::vector<ProgramReport> programs;
};

struct ProgramRuns {
  std::string module;
  std::string program;
  uint64_t runs = 0;          // only counted while run-time statistics are on
  uint64_t run_time_ns = 0;   // likewise
  uint64_t missed = 0;        // recursion: the kernel did not run the program
  uint64_t instructions = 0;  // that the verifier looked at
};

struct MapReport {
  std::string module;
  std::string map;
  uint64_t capacity = 0;
  uint64_t entries = 0;  // in use, of hash maps and of the core's slots and histograms; 0 where that is not known
  uint64_t bytes = 0;    // kernel memory (memlock of /proc/self/fdinfo)
  uint64_t update_failures = 0;  // by user space
};

struct LoadOptions {
  std::string alternative;    // by name; empty: first usable
  std::string break_program;  // fault injection, see EngineOptions
  std::string cgroup_root;    // likewise
};

// One row per slot in each of the module's own rows.
void size_rows(bpf_object* object, const ModuleInfo& info, uint32_t slots);

class ModuleObject {
 public:
  // Never fails as a whole: what went wrong is in report().
  ModuleObject(const ModuleEntry& entry, uint16_t id, Core& core, const Features& features, const LoadOptions& options);
  ~ModuleObject();
  ModuleObject(const ModuleObject&) = delete;
  ModuleObject& operator=(const ModuleObject&) = delete;

  const ModuleReport& report() const { return report_; }
  bool loaded() const { return object_ != nullptr; }
  bool attached() const;
  const Module& module() const { return *entry_.module; }
  bpf_object* object() const { return object_; }
  Rows& rows() { return rows_; }

  // Attaches what these flags (the union over all slots) ask for and detaches the rest. `gained`: some slot has flags of
  // this module that it did not have before. `now`: CLOCK_BOOTTIME.
  void attach(uint8_t flags, bool gained, uint64_t now);
  // Before a collection: attaches what is per CPU on those that came online; what was missed there is counted as lost.
  void follow_cpus();
  // Looks whether what was attached still is, attaches what was lost or refused when its time has come, and asks the
  // module what it cannot count at present. `context`: why the core's context-switch program is not attached; empty: it
  // is, or nobody needs it.
  void watch(uint64_t now, const std::string& context);
  // Do the programs attached for these flags need the core's context-switch program?
  bool needs_context(uint8_t flags) const;
  void add_program_stats(std::vector<ProgramRuns>& out) const;

 private:
  struct Program {
    const ProgramSpec* spec;
    bpf_program* handle;
    Attachment attachment;
    std::string blind{};  // why it is not loaded: it would not see all that it is for
  };
  void attach_program(Program& program, uint64_t now);
  // Health and reasons, of what failed at loading and of how things stand.
  void judge(uint64_t now);
  bool load_alternative(int alternative, const Features& features, const LoadOptions& options);
  Result<void> open(int alternative, const Features& features, const LoadOptions& options);
  Result<void> finish_load();
  void add_reason(std::string reason);
  void worsen(ModuleHealth health, std::string reason);
  void set_failed(std::string_view program, const std::string& reason);
  ProgramReport& report_of(const ProgramSpec& spec);
  void close();

  ModuleEntry entry_;
  uint16_t id_;
  Core& core_;
  std::string cgroup_root_;
  ModuleReport report_;
  bpf_object* object_ = nullptr;
  Rows rows_;
  std::vector<Program> programs_;
  std::map<const ProgramSpec*, std::string> blind_;  // programs that are not loaded because of what they would not see
  uint8_t asked_ = 0;                                // flags of the last attach()
  ModuleHealth loaded_health_ = ModuleHealth::Ok;
  std::vector<std::string> loaded_reasons_;
  std::string begin_failure_;
  std::string context_failure_;
  std::vector<std::string> gaps_;  // as Module::gaps() said last
};

}  // namespace sonde
