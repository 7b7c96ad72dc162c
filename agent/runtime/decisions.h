// SPDX-License-Identifier: Apache-2.0
// What is requested of a subject: its policies' decision, less what the series limit, the overhead budget and failing
// collections take away. Knows nothing of slots. For the agent's loop.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/identity/members.h"
#include "agent/identity/proc.h"
#include "agent/identity/subject.h"
#include "agent/identity/target.h"
#include "agent/kernel/slots.h"
#include "agent/pipeline/budget.h"
#include "agent/policy/decision.h"
#include "agent/policy/policy.h"
#include "agent/policy/resolve.h"

namespace sonde {

struct DecisionsOptions {
  std::string cgroup_root;  // directory of the v2 root
  std::string proc_root;
  std::optional<Target> target;  // only this process tree
};

class Decisions {
 public:
  explicit Decisions(DecisionsOptions options);

  // From now on these are in force. Earlier decisions stay as they are: decide again.
  void set(std::vector<Policy> policies, const ResolveContext& context);
  // What the overhead budget allows per module; in force after the next set(). False: nothing changed.
  bool set_steps(const std::vector<OverheadStep>& steps);
  // Policies that fall back levels because of their seriesPerNode (series_limit.h); likewise.
  bool set_lowered(std::map<std::string, int> lowered);

  // Equal decisions are one object. `comm` is the program of the process `tgid`; 0: the whole cgroup.
  DecisionPtr of(const Subject& subject, uint32_t tgid, const std::string& comm);
  DecisionPtr of_node() const;  // null: no node metrics requested
  // Flags of a cgroup that is not decided: whatever some policy may request of it.
  const ModuleFlags& provisional() const { return provisional_; }

  const std::vector<Policy>& policies() const { return policies_; }
  const ResolveContext& context() const { return context_; }
  const std::map<std::string, int>& lowered() const { return lowered_; }

 private:
  Decision adjusted(Decision decision) const;
  std::vector<std::string> commands_of(const Subject& subject, uint32_t tgid, const std::string& comm) const;
  bool in_target(const Subject& subject, uint32_t tgid) const;

  DecisionsOptions options_;
  Proc proc_;
  Members members_;
  std::vector<Policy> policies_;
  ResolveContext context_;
  std::vector<OverheadStep> steps_;
  std::map<std::string, int> lowered_;
  bool commands_matter_ = false;
  ModuleFlags provisional_{};
  std::map<std::string, DecisionPtr> interned_;
};

// Flags and sampling of a slot with this decision.
SlotSetting setting_of(const Decision& decision);

}  // namespace sonde
