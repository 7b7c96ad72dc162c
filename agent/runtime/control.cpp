// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/control.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/base/clock.h"
#include "agent/base/text.h"

namespace sonde {
namespace {

constexpr uint64_t kQuiet = 5'000'000'000;      // then it is looked whether a process is still there
constexpr uint64_t kWalkAgain = 1'000'000'000;  // while directories wait for a slot

SlotSetting setting_of(const Decision& decision) {
  SlotSetting setting;
  if (!decision.selected) return setting;
  for (std::size_t i = 0; i < decision.probes.size() && i < setting.flags.size(); ++i) {
    setting.flags[i] = decision.probes[i].flags;
    setting.sample[i] = decision.probes[i].sample_every;
  }
  setting.per_process = decision.granularity == Granularity::Process;
  return setting;
}

std::string key_of(const Decision& decision, bool process) {
  std::string key = decision.selected ? "+" : "-";
  if (process) key += "p";
  for (const auto& policy : decision.policies) key += "\n" + policy;
  // Node metrics and flags differ between subjects that the same policies select.
  for (const auto& probe : decision.probes) {
    key += "\n" + std::to_string(probe.metrics) + "," + std::to_string(probe.flags) + "," +
           std::to_string(static_cast<int>(probe.level));
  }
  for (const auto& [request, policy] : decision.functions) {
    key += "\n" + request.name + "," + request.type + "," + request.path + "," + request.symbol + "," +
           join(request.measure) + "," + std::to_string(request.bytes_argument.value_or(0)) + request.bytes_abi + "," +
           request.errors_when;
  }
  return key;
}

}  // namespace

Control::Control(Engine& engine, ControlOptions options)
    : engine_(engine),
      options_(std::move(options)),
      proc_(options_.proc_root),
      members_({.cgroup_root = options_.cgroup_root, .proc_root = options_.proc_root}),
      paths_(options_.cgroup_root),
      identity_({}, options_.names),
      slots_(engine.slots().capacity()),
      started_ns_(boottime_ns()) {
  machine_pids_ = proc_.has_machine_pids();
}

void Control::decide_all(std::vector<Policy> policies, const ResolveContext& context) {
  policies_ = std::move(policies);
  context_ = context;
  interned_.clear();
  commands_matter_ = std::ranges::any_of(policies_, [](const Policy& policy) { return !policy.commands.empty(); });

  ModuleFlags provisional{};
  const auto flags = provisional_flags(policies_, context_);
  std::copy_n(flags.begin(), std::min(flags.size(), provisional.size()), provisional.begin());
  for (std::size_t i = 0; i < steps_.size() && i < provisional.size(); ++i) {
    if (steps_[i] == OverheadStep::Off) provisional[i] = 0;
  }
  engine_.set_provisional(provisional);
  provisional_ = provisional;

  Subject nobody;
  nobody.kind = SubjectKind::Unattributed;
  const DecisionPtr rest = decision_for(nobody, 0, "");
  engine_.configure(SONDE_SLOT_UNATTRIBUTED, setting_of(*rest));

  decide_node();

  const IdentitySnapshotPtr known = identity_.apply({}, boottime_ns());
  for (const bool processes : {false, true}) {  // the decision for a process depends on its container
    for (const auto& [slot, owner] : known->slots) {
      if (slots_[slot].phase == Phase::Live && (owner.tgid != 0) == processes) decide(slot, owner);
    }
  }
  walk();
  follow();
  publish();
  engine_.sync_programs();
}

// A sidecar speaks of one process tree, not of the machine.
void Control::decide_node() {
  Decision decision;
  if (!options_.target) decision = adjusted(resolve_node(policies_, context_));
  engine_.configure(SONDE_SLOT_NODE, setting_of(decision));
  node_ = decision.selected ? std::make_shared<const Decision>(std::move(decision)) : nullptr;
}

void Control::set_steps(const std::vector<OverheadStep>& steps) {
  if (steps == steps_) return;
  steps_ = steps;
  decide_all(policies_, context_);
}

void Control::set_lowered(std::map<std::string, int> lowered) {
  if (lowered == lowered_) return;
  lowered_ = std::move(lowered);
  decide_all(policies_, context_);
}

// Directories that were there before the kernel side watched, or that nobody had asked for until now.
void Control::walk() {
  next_walk_ns_ = boottime_ns() + kWalkAgain;
  slots_came_free_ = false;
  auto tree = walk_cgroups(options_.cgroup_root);
  if (!tree) {
    spdlog::error("{}", tree.error().message());
    return;
  }
  walk_limits_ = tree->over_limits;
  for (const CgroupDirectory& directory : tree->directories) {
    paths_.note(directory.id, directory.parent_id,
                std::string_view(directory.path).substr(directory.path.rfind('/') + 1));
  }
  unselected_ = {};
  missed_before_ = slots_missed();
  std::vector<uint32_t> entered;
  enter_all(tree->directories, entered);
  place(entered);
  // A cgroup removed between our lookup and our entry is not reported by anyone.
  for (const uint32_t slot : entered) {
    const SlotState& state = slots_[slot];
    const sonde_slot_info* info = engine_.slots().info(slot);
    if (state.phase != Phase::Live || !info || is_there(engine_.slots().path(slot), state.cgroup_id)) continue;
    engine_.slots().mark_removed(slot, boottime_ns());
    close(slot, true);
  }
}

void Control::enter_all(const std::vector<CgroupDirectory>& directories, std::vector<uint32_t>& entered) {
  without_slot_ = 0;
  const auto ignore = [this](const CgroupDirectory& directory, sonde_kind kind) {
    (void)engine_.slots().ignore(directory.id, kind);
    if (!is_there(directory.path, directory.id)) engine_.slots().drop(directory.id);
  };
  for (const CgroupDirectory& directory : directories) {
    sonde_subject entry{};
    const bool known = engine_.slots().find(directory.id, entry);
    if (known && entry.slot != SONDE_SLOT_IGNORED) continue;
    if (directory.inside) {
      sonde_subject parent{};
      if (engine_.slots().find(directory.parent_id, parent) && parent.slot >= SONDE_FIRST_FREE_SLOT) {
        (void)engine_.slots().enter(directory.id, directory.parent_id, directory.path, SONDE_KIND_INSIDE, parent.slot);
        if (!is_there(directory.path, directory.id)) engine_.slots().drop(directory.id);
      } else if (!known) {
        ignore(directory, SONDE_KIND_INSIDE);
      }
      continue;
    }
    const auto kind = directory.is_container ? SONDE_KIND_CONTAINER : SONDE_KIND_TREE;
    const Subject subject = subject_at(directory.path, directory.id);
    const DecisionPtr decision = decision_for(subject, 0, "");
    if (!decision->selected && !waits_for_name(subject, {.created_ns = started_ns_})) {
      if (auto* list = unselected_.list_of(subject)) list->push_back(decision);
      if (!known) ignore(directory, kind);
      continue;
    }
    auto slot = engine_.slots().enter(directory.id, directory.parent_id, directory.path, kind);
    if (slot) {
      entered.push_back(*slot);
    } else if (without_slot_++ == 0 && !std::exchange(told_without_slot_, true)) {
      spdlog::warn("{}; cgroups without a slot are counted as unattributed", slot.error().message());
    }
  }
  if (without_slot_ == 0) told_without_slot_ = false;
}

bool Control::is_there(const std::string& path, uint64_t cgroup_id) const {
  struct stat status {};
  return stat((options_.cgroup_root + path).c_str(), &status) != 0 ? errno != ENOENT : status.st_ino == cgroup_id;
}

uint64_t Control::slots_missed() const { return engine_.losses().back()[SONDE_LOSS_NO_SLOT]; }

bool Control::enter_waiting(uint64_t now_ns) {
  const bool waiting = without_slot_ || slots_missed() != missed_before_;
  if (!waiting || !slots_came_free_ || now_ns < next_walk_ns_) return false;
  walk();
  publish();
  engine_.sync_programs();
  return true;
}

bool Control::follow() {
  const uint64_t lifecycle = engine_.slots().lifecycle();
  if (lifecycle == lifecycle_) return false;
  lifecycle_ = lifecycle;
  std::vector<uint32_t> fresh, others;  // others: processes that run another program now
  bool changed = false;
  for (uint32_t slot = SONDE_FIRST_FREE_SLOT; slot < slots_.size(); ++slot) {
    const sonde_slot_info* info = engine_.slots().info(slot);
    SlotState& state = slots_[slot];
    if (state.phase == Phase::Live && (!info || info->cgroup_id != state.cgroup_id || info->tgid != state.tgid ||
                                       info->created_ns != state.created_ns)) {
      leave(slot);
      changed = true;
    }
    if (!info) continue;
    if (state.phase == Phase::Free) {
      fresh.push_back(slot);
    } else if (info->removed_ns && !state.removed) {
      state.removed = true;
      if (state.phase == Phase::Live && !state.nameless) close(slot, true);
      changed = true;
    } else if (info->tgid && state.phase == Phase::Live && name_of(*info) != state.comm) {
      others.push_back(slot);
    }
  }
  paths_.prune([this](uint64_t id) {
    sonde_subject entry{};
    return engine_.slots().find(id, entry);
  });
  changed = rename_processes(others) || changed;
  changed = place(fresh) || changed;
  for (const uint32_t slot : fresh) {
    const sonde_slot_info* info = engine_.slots().info(slot);
    if (!info || !info->removed_ns || slots_[slot].phase != Phase::Live) continue;
    slots_[slot].removed = true;
    if (!slots_[slot].nameless) close(slot, true);
  }
  if (!changed) return false;
  publish();
  engine_.sync_programs();
  return true;
}

// The kernel side took a slot back that it had just begun to give: of two threads of a new process one is too late.
void Control::leave(uint32_t slot) {
  SlotRecord gone;
  gone.slot = slot;
  identity_.apply({&gone, 1}, boottime_ns());
  engine_.hold(slot, false);  // else whoever has the slot next would never be collected
  slots_[slot] = SlotState{};
}

SlotRecord Control::record_of(uint32_t slot) const {
  SlotRecord record;
  record.slot = slot;
  const sonde_slot_info* info = engine_.slots().info(slot);
  const SlotState& state = slots_[slot];
  if (!info) return record;
  record.cgroup_id = info->cgroup_id;
  record.parent_id = info->parent_id;
  record.kind = info->kind;
  record.tgid = info->tgid;
  record.comm = state.comm;
  record.path = engine_.slots().path(slot);
  record.created_ns = info->created_ns;
  // Only when its rows were read a last time is it the end for whoever reads the snapshot.
  record.removed_ns = state.phase == Phase::Ended ? std::max<uint64_t>(info->removed_ns, 1) : 0;
  return record;
}

bool Control::place(const std::vector<uint32_t>& slots) {
  if (slots.empty()) return false;
  note_names(slots);
  std::vector<SlotRecord> records;
  for (const uint32_t slot : slots) {
    SlotState& state = slots_[slot];
    state = SlotState{};
    if (const sonde_slot_info* info = engine_.slots().info(slot)) {
      if (!info->tgid) engine_.slots().tell_path(slot, path_of(*info));
      state.comm = name_of(*info);
    }
    records.push_back(record_of(slot));
    state.cgroup_id = records.back().cgroup_id;
    state.tgid = records.back().tgid;
    state.created_ns = records.back().created_ns;
    state.phase = Phase::Live;
  }
  const IdentitySnapshotPtr snapshot = identity_.apply(records, boottime_ns());
  for (const bool processes : {false, true}) {  // the decision for a process depends on its container
    for (const uint32_t slot : slots) {
      const auto owner = snapshot->slots.find(slot);
      if (owner != snapshot->slots.end() && (owner->second.tgid != 0) == processes) decide(slot, owner->second);
    }
  }
  return true;
}

void Control::decide(uint32_t slot, const SlotOwner& owner) {
  SlotState& state = slots_[slot];
  if (waits_for_name(*owner.subject, state)) return hold(slot);
  if (std::exchange(state.nameless, false)) engine_.hold(slot, false);
  DecisionPtr decision = decision_for(*owner.subject, owner.tgid, owner.comm);
  const bool process_on_its_own = owner.tgid && measures_processes(state.cgroup_id);
  if (!decision->selected) {
    state.decision = nullptr;
    engine_.configure(slot, {});
    // A process that is not asked for keeps its slot as long as its container has others measured: without one it
    // would only be given the next.
    if (!process_on_its_own) close(slot, false);
    return;
  }
  if (owner.tgid && !process_on_its_own) {  // it counts on its container from now on; what it has still has its name
    state.decision = std::move(decision);
    return close(slot, false);
  }
  if (state.decision != decision) engine_.configure(slot, setting_of(*decision));
  state.decision = std::move(decision);
}

bool Control::measures_processes(uint64_t cgroup_id) const {
  sonde_subject entry{};
  if (!engine_.slots().find(cgroup_id, entry) || entry.slot < SONDE_FIRST_FREE_SLOT) return false;
  const SlotState& container = slots_[entry.slot];
  return container.phase == Phase::Live && container.decision &&
         container.decision->granularity == Granularity::Process;
}

void Control::close_processes(uint64_t cgroup_id) {
  for (uint32_t slot = SONDE_FIRST_FREE_SLOT; slot < slots_.size(); ++slot) {
    const SlotState& state = slots_[slot];
    if (state.phase == Phase::Live && state.tgid && state.cgroup_id == cgroup_id) close(slot, true);
  }
}

void Control::close(uint32_t slot, bool removed) {
  SlotState& state = slots_[slot];
  state.phase = Phase::Closing;
  state.removed = state.removed || removed;
  closing_.insert(slot);
  engine_.release(slot);
  const bool had_processes = !state.tgid && state.decision && state.decision->granularity == Granularity::Process;
  if (removed && had_processes) close_processes(state.cgroup_id);  // whose end was not seen
}

bool Control::retire() {
  std::vector<SlotRecord> records;
  for (const uint32_t slot : engine_.take_freed_slots()) {
    SlotState& state = slots_[slot];
    if (state.decision) {  // it was measured: the pipeline writes the end of its streams first
      state.phase = Phase::Ended;
      records.push_back(record_of(slot));
    } else {
      SlotRecord gone;
      gone.slot = slot;
      records.push_back(gone);
      state = SlotState{};
      state.phase = Phase::GivingBack;
      closing_.erase(slot);
      to_give_back_.push_back(slot);
    }
  }
  if (records.empty()) return false;
  identity_.apply(records, boottime_ns());
  publish();
  return true;
}

void Control::forget(std::span<const uint32_t> flushed) {
  std::vector<SlotRecord> records;
  for (const uint32_t slot : flushed) {
    if (slots_[slot].phase != Phase::Ended) continue;
    SlotRecord gone;
    gone.slot = slot;
    records.push_back(gone);
    slots_[slot] = SlotState{};
    slots_[slot].phase = Phase::GivingBack;
    closing_.erase(slot);
    to_give_back_.push_back(slot);
  }
  if (records.empty()) return;
  identity_.apply(records, boottime_ns());
  publish();
}

void Control::give_back() {
  for (const uint32_t slot : std::exchange(to_give_back_, {})) {
    const sonde_slot_info* info = engine_.slots().info(slot);
    if (info && info->removed_ns && !info->tgid) paths_.forget(info->cgroup_id);
    engine_.give_back(slot);
    slots_[slot].phase = Phase::Free;
    slots_came_free_ = true;
  }
}

void Control::expire_idle(uint64_t now_ns) {
  for (uint32_t slot = SONDE_FIRST_FREE_SLOT; slot < slots_.size(); ++slot) {
    SlotState& state = slots_[slot];
    if (state.phase != Phase::Live || !state.tgid) continue;
    const sonde_slot_info* info = engine_.slots().info(slot);
    if (!info) continue;
    const uint64_t moved = std::max(engine_.last_moved_ns(slot), info->created_ns);
    if (machine_pids_ && now_ns > moved + kQuiet &&
        access((options_.proc_root + "/" + std::to_string(state.tgid)).c_str(), F_OK) != 0) {
      close(slot, true);  // it ended before its end was watched
      continue;
    }
    if (!state.decision || state.decision->cleanup == CleanupStrategy::NoCleanup) continue;
    if (now_ns > moved + static_cast<uint64_t>(state.decision->idle_seconds) * 1'000'000'000) close(slot, false);
  }
}

std::vector<std::string> Control::commands_of(const Subject& subject, uint32_t tgid, const std::string& comm) const {
  if (!commands_matter_) return {};
  if (tgid) return {comm};
  std::vector<std::string> commands;
  auto pids = members_.pids(subject.cgroup_path);
  if (!pids) return {};
  for (const uint32_t pid : pids->pids) {
    if (auto process = proc_.process(pid)) commands.push_back(process->comm);
  }
  return commands;
}

bool Control::in_target(const Subject& subject, uint32_t tgid) const {
  const Target& target = *options_.target;
  const bool inside = std::ranges::any_of(target.cgroups, [&](const TargetCgroup& cgroup) {
    return subject.cgroup_path == cgroup.path || subject.cgroup_path.starts_with(cgroup.path + "/");
  });
  if (!inside || !tgid || !target.per_process) return inside;
  // It, a descendant that was there at the start, or one that came since.
  for (uint32_t pid = tgid; pid > 1;) {
    if (std::ranges::binary_search(target.pids, pid)) return true;
    auto process = proc_.process(pid);
    if (!process) return false;
    pid = process->parent;
  }
  return false;
}

DecisionPtr Control::decision_for(const Subject& subject, uint32_t tgid, const std::string& comm) {
  Decision decision;
  if (!options_.target || (subject.kind != SubjectKind::Unattributed && in_target(subject, tgid))) {
    decision = resolve(policies_, subject, commands_of(subject, tgid, comm), context_);
    if (options_.target && options_.target->per_process) decision.granularity = Granularity::Process;
  } else {
    decision.probes.resize(context_.modules.size());
  }
  decision = adjusted(std::move(decision));
  DecisionPtr& known = interned_[key_of(decision, options_.target.has_value())];
  if (!known) known = std::make_shared<const Decision>(std::move(decision));
  return known;
}

void Control::publish() {
  auto snapshot = std::make_shared<PolicySnapshot>();
  snapshot->made_ns = boottime_ns();
  std::vector<DecisionPtr> decisions;
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (!slots_[slot].decision) continue;
    snapshot->slots.emplace(slot, slots_[slot].decision);
    if (slots_[slot].phase == Phase::Live) decisions.push_back(slots_[slot].decision);
  }
  decisions.insert(decisions.end(), unselected_.containers.begin(), unselected_.containers.end());
  decisions.insert(decisions.end(), unselected_.others.begin(), unselected_.others.end());
  if (node_) {
    snapshot->slots.emplace(SONDE_SLOT_NODE, node_);
    decisions.push_back(node_);
  }
  plan_ = plan_of(decisions);
  snapshot_ = std::move(snapshot);
}

}  // namespace sonde
