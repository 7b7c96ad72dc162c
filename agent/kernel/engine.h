// SPDX-License-Identifier: Apache-2.0
// The kernel side as seen from user space: loads the core and every module, assigns slots, attaches only what is
// requested, and turns kernel rows into deltas.
//
// Threads: everything belongs to the agent's loop, except the part marked "any thread"; a mutex inside keeps them apart. All
// figures in nanoseconds are CLOCK_BOOTTIME unless said otherwise.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/fd.h"
#include "agent/base/mutex.h"
#include "agent/base/result.h"
#include "agent/kernel/core.h"
#include "agent/kernel/kept_files.h"
#include "agent/kernel/module_object.h"
#include "agent/kernel/reads.h"
#include "agent/kernel/slots.h"
#include "agent/kernel/span_ring.h"
#include "agent/module/module.h"
#include "agent/module/sample.h"
#include "agent/slots/lives.h"

struct bpf_object;
struct ring_buffer;

namespace sonde {

struct EngineOptions {
  std::span<const ModuleEntry> modules = sonde::modules();  // must outlive the engine
  uint32_t slots = 1024;      // concurrent subjects, including processes with their own slots
  uint32_t rows = 0;          // concurrent histograms; 0: six per slot
  uint32_t processes = 8192;  // processes with their own slot; at most half of all slots
  std::set<std::string> disabled_modules;
  std::string alternative;  // use the alternative with this name if a module has it; empty: the first usable one
  std::string cgroup_root;  // directory of the v2 root, for programs attached to it; empty: where cgroup2 is mounted
  std::string proc_root = "/proc";  // the machine's
  // Fault injection: functions that this kernel is said not to have.
  std::set<std::string, std::less<>> without_functions;
  // The machine's pids of a cgroup (path below the v2 root) and of those below it; empty function: cgroup.procs says them.
  std::function<std::vector<uint32_t>(const std::string& path)> members;
  // Fault injection: this program's code is replaced by one that the verifier refuses.
  std::string break_program;
  // Fault injection: takes away from what was found out about the kernel, so that what is done without it runs.
  std::function<void(Features&)> without;
  // Fault injection: asked at each collection; a sentence makes this module's fail. Empty function: none do.
  std::function<std::string(std::string_view module)> fault;
};

// Of a module that could not bring what it should at a collection; one per module and collection.
struct CollectFailure {
  uint16_t module = 0;  // index as in EngineOptions::modules
  std::string why;
};

struct CollectStats {
  uint64_t slots_read = 0;
  uint64_t series_moved = 0;
  uint64_t duration_ns = 0;
  std::vector<CollectFailure> failures;
};

class Engine {
 public:
  // Loads everything that can be loaded. Modules that fail are listed in modules(); only the core must work.
  static Result<std::unique_ptr<Engine>> start(const EngineOptions& options);
  ~Engine();

  const Features& features() const { return features_; }
  Slots& slots() { return *slots_; }
  // Where each slot is in its life. The engine reads it, to know whose rows are read; its user moves it on.
  SlotLives& lives() { return lives_; }

  // --- What is requested ---
  // Flags and sampling of one slot and of the process slots below it. Takes effect before this returns.
  void configure(uint32_t slot, const SlotSetting& setting);
  // Flags of cgroups that user space has not seen yet.
  void set_provisional(const ModuleFlags& flags);
  // Attaches programs requested by some slot (or by the provisional flags), and detaches those no longer requested.
  void sync_programs();
  // Detaches all programs. What was counted can still be collected; nothing can be attached again.
  void detach_all();
  // Checks whether programs are still attached, reattaches what others detached or the kernel refused before, with
  // back-off, and updates modules(). Once a second is enough; now: CLOCK_BOOTTIME.
  void watch_programs(uint64_t now);

  // The loaded object of a module, valid as long as the engine; nullptr if it is off or failed. Any thread.
  bpf_object* module_object(std::string_view name) const;

  // --- Counts ---
  // Passes every change since the last call to the sink, except of slots that are Waiting: their owners are not known yet.
  // `clear`: bit per module, rows are cleared while read (ClearAfterRead); otherwise they are only read. The deltas are the same.
  CollectStats collect(SampleSink& sink, uint32_t clear, bool refresh_gauges);
  // Like collect(), but only for slots that are Released.
  CollectStats collect_released(SampleSink& sink, uint32_t clear);
  // Carries out SlotCommands::release (see Slots::release). False: nobody has the slot.
  bool release(uint32_t slot);
  // SlotCommands::empty_rows: nothing is kept of what the slot counted.
  void empty_rows(uint32_t slot);
  // CLOCK_BOOTTIME of the last collection with changes in this slot; 0: never.
  uint64_t last_moved_ns(uint32_t slot) const;
  // SlotCommands::give_back: from now on the kernel side may give it to another subject.
  void give_back(uint32_t slot);

  // What was sent of spans, and their tokens.
  SpanRing& spans() { return *spans_; }

  // Readable when the kernel side assigned or freed slots; hush() resets it. A lost wakeup loses nothing.
  int wake_fd() const;
  void hush();

  // --- State (any thread) ---
  std::vector<ModuleReport> modules() const;
  // By module (index as in sonde::modules(); the last row is the core's) and reason (loss_name()).
  std::array<std::array<uint64_t, SONDE_LOSSES>, SONDE_MAX_MODULES> losses() const;
  std::vector<ProgramRuns> program_stats() const;
  std::vector<MapReport> map_stats() const;
  // Of the core object: Degraded if a program that modules depend on is refused.
  ModuleReport core_report() const;
  std::size_t core_programs() const;  // currently attached programs of the core object
  uint64_t slots_used() const;
  uint64_t slots_capacity() const { return slots_->capacity(); }
  // Run-time statistics are enabled while the descriptor is open; they cost about 75 ns per program run.
  Result<Fd> measure_run_time() const;

 private:
  Engine() = default;
  uint64_t drain(uint32_t slot, SampleSink& sink, uint32_t clear, uint64_t now) SONDE_REQUIRES(mutex_);
  void flush_modules(CollectStats& stats) SONDE_REQUIRES(mutex_);
  void refresh_modules(CollectStats& stats) SONDE_REQUIRES(mutex_);
  Result<void> settle(std::size_t module) SONDE_REQUIRES(mutex_);
  void follow_reads(uint32_t slot, const ModuleFlags& flags) SONDE_REQUIRES(mutex_);
  void read_all(const std::vector<uint32_t>& slots, CollectStats& stats) SONDE_REQUIRES(mutex_);
  void read_one(uint32_t slot, std::vector<int>& good, std::vector<int>& bad) SONDE_REQUIRES(mutex_);
  std::unique_ptr<KeptFiles::Reader> reader(uint32_t slot) SONDE_REQUIRES(mutex_);
  bool unlinked(uint32_t slot) const { return lives_.life(slot).unlinked_ns != 0; }
  void reserve_rows(const std::vector<uint32_t>& slots) SONDE_REQUIRES(mutex_);
  ModuleFlags asked_flags() const SONDE_REQUIRES(mutex_);
  void attach_core(const ModuleFlags& asked) SONDE_REQUIRES(mutex_);

  mutable Mutex mutex_;
  Features features_;
  std::unique_ptr<Core> core_;
  std::unique_ptr<Slots> slots_;
  std::unique_ptr<SpanRing> spans_;
  SlotLives lives_{0};
  std::span<const ModuleEntry> entries_;
  std::vector<std::unique_ptr<ModuleObject>> modules_ SONDE_GUARDED_BY(mutex_);  // index as in entries_
  std::vector<std::unique_ptr<Reads>> reads_ SONDE_GUARDED_BY(mutex_);           // likewise; null: off
  Fd cgroup_root_;
  HostTree machine_;
  KeptFiles files_ SONDE_GUARDED_BY(mutex_){room_for_files()};
  std::vector<uint64_t> moved_ns_ SONDE_GUARDED_BY(mutex_);  // by slot
  std::function<std::string(std::string_view)> fault_;
  // By module: flags that a slot did not have before, since the last sync_programs().
  ModuleFlags gained_ SONDE_GUARDED_BY(mutex_){};
  // By slot: bit per module that was asked for something after the cgroup was born.
  std::vector<uint32_t> older_ SONDE_GUARDED_BY(mutex_);
  std::string core_failure_ SONDE_GUARDED_BY(mutex_);  // of the last attach_core(); empty: none
  ring_buffer* doorbell_ = nullptr;
};

}  // namespace sonde
