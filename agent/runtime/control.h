// SPDX-License-Identifier: Apache-2.0
// The control half of the agent: tracks cgroups and their owners, decides what the policies request for each, and updates
// the kernel side. Publishes the two snapshots used by a collection. Runs on the agent's loop.
//
// It reports to agent/slots what happens to each slot, and carries out the commands that come back. What comes after what
// is said there.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/identity/cgroup_paths.h"
#include "agent/identity/cgroup_tree.h"
#include "agent/identity/identity.h"
#include "agent/identity/proc.h"
#include "agent/identity/target.h"
#include "agent/kernel/engine.h"
#include "agent/policy/decision.h"
#include "agent/policy/plan.h"
#include "agent/runtime/decisions.h"
#include "agent/runtime/name_wait.h"
#include "agent/slots/lives.h"

namespace sonde {

struct ControlOptions {
  std::string cgroup_root;  // directory of the v2 root
  std::string proc_root = "/proc";
  std::optional<Target> target;     // only this process tree
  const Enricher* names = nullptr;  // source of pod names; null: only cgroup paths
};

struct ControlStats {
  uint64_t subjects = 0;  // known ones, selected or not, including ended ones
  uint64_t selected = 0;
  uint64_t containers = 0;    // measured ones, not counting sandboxes and single processes
  uint64_t without_slot = 0;  // directories without a free slot recently: they count as unattributed
  uint64_t walk_limits = 0;   // directories beyond the limits of the walk
  uint64_t unresolved = 0;    // new directories whose parents were gone before the lookup: their path is unknown
};

class Control {
 public:
  Control(Engine& engine, ControlOptions options);

  // Decides everything again: at the start, and when policies or limits changed. Also enters existing directories,
  // and those that were ignored so far and are now requested.
  void decide_all(std::vector<Policy> policies, const ResolveContext& context);
  // What the overhead budget allows per module; decides again if that changed.
  void set_steps(const std::vector<OverheadStep>& steps);
  // Policies that fall back levels because of their seriesPerNode (series_limit.h); decides again if that changed.
  void set_lowered(std::map<std::string, int> lowered);
  const std::map<std::string, int>& lowered() const { return decisions_.lowered(); }

  // Processes what the kernel side reported since the last call; true if the snapshots changed.
  bool follow();
  // Decides again if names or labels have changed, or did not arrive in time. True if it did.
  bool rename(uint64_t now_ns);
  // Nothing of it is running: would it be measured if it ran, and may it run again? For a workload only the former matters.
  bool may_return(const Subject& subject, bool workload);
  // Before the last collection: decides slots that still wait for a name with what is known, so that no counts are lost.
  void stop_waiting();
  // Releases slots of processes that are gone or have not changed for their policy's idleSeconds.
  void expire_idle(uint64_t now_ns);
  // The pipeline has the snapshots that are in force, and the rows are about to be read: slots that these snapshots have
  // forgotten are given back.
  void collection_began();
  // The rows were read: holders whose last counts are out end in the snapshots, those that had ended are forgotten.
  void collection_ended();
  // Enters directories that had no slot once slots are free again. True if the snapshots changed.
  bool enter_waiting(uint64_t now_ns);
  // Some slots are on their way to the next holder: collect released slots soon.
  bool pending() const { return lives_.ending(); }

  IdentitySnapshotPtr identity() const { return identity_.snapshot(); }
  std::shared_ptr<const PolicySnapshot> decisions() const { return snapshot_; }
  const Plan& plan() const { return plan_; }
  // One decision per subject, including those not selected at the last decide_all().
  Decided decided() const;
  const std::vector<Policy>& policies() const { return decisions_.policies(); }
  const ResolveContext& context() const { return decisions_.context(); }
  ControlStats stats() const;
  const ControlOptions& options() const { return options_; }

 private:
  struct Holder {
    uint64_t cgroup_id = 0;
    uint64_t created_ns = 0;
    uint32_t tgid = 0;
    std::string comm;      // of a process, as of the decision
    DecisionPtr decision;  // null: none yet, or not selected
  };

  SlotRecord record_of(uint32_t slot) const;
  void note_names(const std::vector<uint32_t>& slots);
  std::string path_of(const sonde_slot_info& info);
  bool place(const std::vector<uint32_t>& slots);
  static std::string_view name_of(const sonde_slot_info& process);
  bool rename_processes(const std::vector<uint32_t>& slots);
  void decide(uint32_t slot, const SlotOwner& owner);
  void on(uint32_t slot, SlotEventKind kind);
  void end(uint32_t slot);
  void end_gone();
  bool is_held(uint32_t slot) const { return sonde::is_held(lives_.stage(slot)); }
  void enter_all(const std::vector<CgroupDirectory>& directories, std::vector<uint32_t>& entered);
  bool measures_processes(uint64_t cgroup_id) const;
  bool is_there(const std::string& path, uint64_t cgroup_id) const;
  uint64_t slots_missed() const;
  void walk();
  void publish();

  Engine& engine_;
  SlotLives& lives_;  // the engine's
  ControlOptions options_;
  Decisions decisions_;
  CgroupPaths paths_;
  Identity identity_;
  NameWait names_;
  bool machine_pids_ = false;  // /proc shows the pids that the kernel side reports

  std::vector<Holder> holders_;       // by slot
  uint64_t collection_began_ns_ = 0;  // CLOCK_BOOTTIME
  uint64_t lifecycle_ = 0;
  Decided unselected_;
  DecisionPtr node_;  // of SONDE_SLOT_NODE; null: no node metrics requested
  std::shared_ptr<const PolicySnapshot> snapshot_ = std::make_shared<PolicySnapshot>();
  Plan plan_;
  uint64_t without_slot_ = 0;  // at the last walk
  bool told_without_slot_ = false;
  uint64_t missed_before_ = 0;  // slots_missed() at the last walk
  uint64_t next_walk_ns_ = 0;
  bool slots_came_free_ = false;
  uint64_t walk_limits_ = 0;
};

}  // namespace sonde
