// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/control.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <set>
#include <utility>

#include "agent/base/clock.h"

namespace sonde {
namespace {

constexpr uint64_t kQuiet = 5'000'000'000;      // then it is looked whether a process is still there
constexpr uint64_t kWalkAgain = 1'000'000'000;  // while directories wait for a slot

}  // namespace

Control::Control(Engine& engine, ControlOptions options)
    : engine_(engine),
      lives_(engine.lives()),
      options_(std::move(options)),
      decisions_({options_.cgroup_root, options_.proc_root, options_.target}),
      paths_(options_.cgroup_root),
      identity_({}, options_.names),
      names_(options_.names),
      holders_(lives_.capacity()) {
  machine_pids_ = Proc(options_.proc_root).has_machine_pids();
}

void Control::decide_all(std::vector<Policy> policies, const ResolveContext& context) {
  decisions_.set(std::move(policies), context);
  engine_.set_provisional(decisions_.provisional());
  Subject nobody;
  nobody.kind = SubjectKind::Unattributed;
  SlotSetting unattributed = setting_of(*decisions_.of(nobody, 0, ""));
  unattributed.spans = {};  // a span must belong to somebody
  engine_.configure(SONDE_SLOT_UNATTRIBUTED, unattributed);
  node_ = decisions_.of_node();
  engine_.configure(SONDE_SLOT_NODE, node_ ? setting_of(*node_) : SlotSetting{});

  const IdentitySnapshotPtr known = identity_.apply({}, boottime_ns());
  for (const bool processes : {false, true}) {  // the decision for a process depends on its container
    for (const auto& [slot, owner] : known->slots) {
      if ((owner.tgid != 0) == processes) decide(slot, owner);
    }
  }
  end_gone();
  walk();
  follow();
  publish();
  engine_.sync_programs();
}

void Control::set_steps(const std::vector<OverheadStep>& steps) {
  if (decisions_.set_steps(steps)) decide_all(policies(), context());
}

void Control::set_lowered(std::map<std::string, int> lowered) {
  if (decisions_.set_lowered(std::move(lowered))) decide_all(policies(), context());
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
    if (!is_held(slot) || !engine_.slots().info(slot)) continue;
    if (is_there(engine_.slots().path(slot), holders_[slot].cgroup_id)) continue;
    engine_.slots().mark_removed(slot, boottime_ns());
    end(slot);
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
    const Subject subject = names_.subject_at(directory.path, directory.id);
    const DecisionPtr decision = decisions_.of(subject, 0, "");
    if (!decision->selected && !names_.waits(subject, 0)) {
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
  for (uint32_t slot = SONDE_FIRST_FREE_SLOT; slot < holders_.size(); ++slot) {
    const sonde_slot_info* info = engine_.slots().info(slot);
    const Holder& holder = holders_[slot];
    // The kernel side took a slot back that it had just begun to give: of two threads of a new process one is too late.
    if (is_held(slot) && (!info || info->cgroup_id != holder.cgroup_id || info->tgid != holder.tgid ||
                          info->created_ns != holder.created_ns)) {
      on(slot, SlotEventKind::Withdrawn);
      changed = true;
    }
    if (!info) continue;
    if (lives_.stage(slot) == SlotStage::Free) {
      fresh.push_back(slot);
    } else if (info->removed_ns && !lives_.life(slot).gone) {
      end(slot);
      changed = true;
    } else if (info->tgid && is_held(slot) && name_of(*info) != holder.comm) {
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
    if (info && info->removed_ns && is_held(slot)) end(slot);
  }
  if (!changed) return false;
  end_gone();
  publish();
  engine_.sync_programs();
  return true;
}

SlotRecord Control::record_of(uint32_t slot) const {
  SlotRecord record;
  record.slot = slot;
  const sonde_slot_info* info = engine_.slots().info(slot);
  if (!info) return record;
  record.cgroup_id = info->cgroup_id;
  record.parent_id = info->parent_id;
  record.kind = info->kind;
  record.tgid = info->tgid;
  record.comm = holders_[slot].comm;
  record.path = engine_.slots().path(slot);
  record.created_ns = info->created_ns;
  // Only when its rows were read a last time is it the end for whoever reads the snapshot.
  record.removed_ns = lives_.stage(slot) == SlotStage::Drained ? std::max<uint64_t>(info->removed_ns, 1) : 0;
  return record;
}

// Before any path is asked for: a parent's slot may come after its child's.
void Control::note_names(const std::vector<uint32_t>& slots) {
  for (const uint32_t slot : slots) {
    const sonde_slot_info* info = engine_.slots().info(slot);
    if (!info || info->tgid || !info->parent_id || !info->name[0]) continue;
    paths_.note(info->cgroup_id, info->parent_id, {info->name, strnlen(info->name, sizeof(info->name))});
  }
}

std::string Control::path_of(const sonde_slot_info& info) {
  std::string below = "/";
  sonde_subject entry{};
  if (engine_.slots().find(info.parent_id, entry) && entry.slot >= SONDE_FIRST_FREE_SLOT) {
    const sonde_slot_info* holder = engine_.slots().info(entry.slot);
    if (std::string path = holder ? paths_.path(holder->cgroup_id) : ""; !path.empty()) below = std::move(path);
  }
  return paths_.resolve(info.cgroup_id, info.parent_id, {info.name, strnlen(info.name, sizeof(info.name))}, below);
}

bool Control::place(const std::vector<uint32_t>& slots) {
  if (slots.empty()) return false;
  note_names(slots);
  std::vector<SlotRecord> records;
  for (const uint32_t slot : slots) {
    Holder& holder = holders_[slot];
    holder = Holder{};
    if (const sonde_slot_info* info = engine_.slots().info(slot)) {
      if (!info->tgid) engine_.slots().tell_path(slot, path_of(*info));
      holder.comm = name_of(*info);
    }
    records.push_back(record_of(slot));
    holder.cgroup_id = records.back().cgroup_id;
    holder.tgid = records.back().tgid;
    holder.created_ns = records.back().created_ns;
    on(slot, SlotEventKind::Assigned);
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

std::string_view Control::name_of(const sonde_slot_info& process) {
  return {process.comm, strnlen(process.comm, sizeof(process.comm))};
}

// What it counts from now on is under its new name, and so is what was not collected yet; the series under the old name
// ends.
bool Control::rename_processes(const std::vector<uint32_t>& slots) {
  if (slots.empty()) return false;
  std::vector<SlotRecord> records;
  for (const uint32_t slot : slots) {
    if (const sonde_slot_info* info = engine_.slots().info(slot)) holders_[slot].comm = name_of(*info);
    records.push_back(record_of(slot));
  }
  const IdentitySnapshotPtr snapshot = identity_.apply(records, boottime_ns());
  for (const uint32_t slot : slots) {
    if (const auto owner = snapshot->slots.find(slot); owner != snapshot->slots.end()) decide(slot, owner->second);
  }
  return true;
}

bool Control::rename(uint64_t now_ns) {
  const bool overdue = std::ranges::any_of(lives_.in(SlotStage::Waiting), [&](uint32_t slot) {
    return names_.is_overdue(holders_[slot].created_ns, now_ns);
  });
  if (!names_.changed(now_ns, overdue)) return false;
  decide_all(policies(), context());
  return true;
}

void Control::stop_waiting() {
  names_.stop();
  if (lives_.count(SlotStage::Waiting)) decide_all(policies(), context());
}

bool Control::may_return(const Subject& subject, bool workload) {
  if (!names_.has_names() || !(workload || names_.may_return(subject))) return false;
  return decisions_.of(subject, 0, "")->selected;
}

void Control::decide(uint32_t slot, const SlotOwner& owner) {
  if (!is_held(slot)) return;
  Holder& holder = holders_[slot];
  // What has a decision was complete once, or has waited.
  if (!holder.decision && names_.waits(*owner.subject, holder.created_ns)) return on(slot, SlotEventKind::NameMissing);
  DecisionPtr decision = decisions_.of(*owner.subject, owner.tgid, owner.comm);
  on(slot, decision->selected ? SlotEventKind::Selected : SlotEventKind::Unselected);
  const bool process_on_its_own = owner.tgid && measures_processes(holder.cgroup_id);
  if (!decision->selected) {
    holder.decision = nullptr;
    engine_.configure(slot, {});
    // A process that is not asked for keeps its slot as long as its container has others measured: without one it
    // would only be given the next.
    if (!process_on_its_own) on(slot, SlotEventKind::Dismissed);
    return;
  }
  if (owner.tgid && !process_on_its_own) {  // it counts on its container from now on; what it has still has its name
    holder.decision = std::move(decision);
    return on(slot, SlotEventKind::Dismissed);
  }
  if (holder.decision != decision) engine_.configure(slot, setting_of(*decision));
  holder.decision = std::move(decision);
}

bool Control::measures_processes(uint64_t cgroup_id) const {
  sonde_subject entry{};
  if (!engine_.slots().find(cgroup_id, entry) || entry.slot < SONDE_FIRST_FREE_SLOT) return false;
  const Holder& container = holders_[entry.slot];
  return is_held(entry.slot) && container.decision && container.decision->granularity == Granularity::Process;
}

// What happens outside collections. The caller publishes.
void Control::on(uint32_t slot, SlotEventKind kind) {
  const SlotCommands commands = lives_.advance(slot, {kind, boottime_ns()});
  if (commands.provisional) {  // it goes on counting whatever some policy may ask of it
    SlotSetting setting;
    setting.flags = decisions_.provisional();
    engine_.configure(slot, setting);
  }
  if (commands.release) on(slot, engine_.release(slot) ? SlotEventKind::Unlinked : SlotEventKind::Withdrawn);
  if (!commands.forget) return;
  SlotRecord gone;
  gone.slot = slot;
  identity_.apply({&gone, 1}, boottime_ns());
  holders_[slot] = Holder{};
}

// Its holder is gone, and so are the processes of a container, if their end was not seen.
void Control::end(uint32_t slot) {
  const Holder holder = holders_[slot];
  const bool live = lives_.stage(slot) == SlotStage::Live;
  on(slot, SlotEventKind::Gone);
  if (!live || holder.tgid || !holder.decision || holder.decision->granularity != Granularity::Process) return;
  for (uint32_t other = SONDE_FIRST_FREE_SLOT; other < holders_.size(); ++other) {
    const bool inside = holders_[other].tgid && holders_[other].cgroup_id == holder.cgroup_id;
    if (inside && is_held(other)) on(other, SlotEventKind::Gone);
  }
}

// What was gone while it waited, and is decided now.
void Control::end_gone() {
  for (const uint32_t slot : lives_.in(SlotStage::Live)) {
    if (lives_.stage(slot) == SlotStage::Live && lives_.life(slot).gone) end(slot);
  }
}

void Control::collection_began() {
  collection_began_ns_ = boottime_ns();
  for (const uint32_t slot : lives_.in(SlotStage::Flushed)) {
    if (!lives_.advance(slot, {SlotEventKind::CollectionBegan}).give_back) continue;
    const sonde_slot_info* info = engine_.slots().info(slot);
    if (info && info->removed_ns && !info->tgid) paths_.forget(info->cgroup_id);
    engine_.give_back(slot);
    slots_came_free_ = true;
  }
}

void Control::collection_ended() {
  std::vector<uint32_t> ending = lives_.in(SlotStage::Drained);
  std::ranges::copy(lives_.in(SlotStage::Released), std::back_inserter(ending));
  std::vector<SlotRecord> records;
  for (const uint32_t slot : ending) {
    const SlotCommands commands = lives_.advance(slot, {SlotEventKind::CollectionEnded, collection_began_ns_});
    if (commands.empty_rows) engine_.empty_rows(slot);
    if (commands.end) records.push_back(record_of(slot));
    if (!commands.forget) continue;
    SlotRecord gone;
    gone.slot = slot;
    records.push_back(gone);
    holders_[slot] = Holder{};
  }
  if (records.empty()) return;
  identity_.apply(records, boottime_ns());
  publish();
}

void Control::expire_idle(uint64_t now_ns) {
  const auto held = [this] { return lives_.count(SlotStage::Waiting) + lives_.count(SlotStage::Live); };
  const uint32_t before = held();
  for (uint32_t slot = SONDE_FIRST_FREE_SLOT; slot < holders_.size(); ++slot) {
    const Holder& holder = holders_[slot];
    if (!is_held(slot) || !holder.tgid) continue;
    const sonde_slot_info* info = engine_.slots().info(slot);
    if (!info) continue;
    const uint64_t moved = std::max(engine_.last_moved_ns(slot), info->created_ns);
    if (machine_pids_ && now_ns > moved + kQuiet &&
        access((options_.proc_root + "/" + std::to_string(holder.tgid)).c_str(), F_OK) != 0) {
      end(slot);  // it ended before its end was watched
      continue;
    }
    if (!holder.decision || holder.decision->cleanup == CleanupStrategy::NoCleanup) continue;
    if (now_ns > moved + static_cast<uint64_t>(holder.decision->idle_seconds) * 1'000'000'000) {
      on(slot, SlotEventKind::Dismissed);
    }
  }
  if (held() != before) publish();
}

void Control::publish() {
  auto snapshot = std::make_shared<PolicySnapshot>();
  snapshot->made_ns = boottime_ns();
  std::vector<DecisionPtr> decisions;
  for (uint32_t slot = 0; slot < holders_.size(); ++slot) {
    const DecisionPtr& decision = holders_[slot].decision;
    if (!decision) continue;
    snapshot->slots.emplace(slot, decision);
    if (is_held(slot)) decisions.push_back(decision);
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

Decided Control::decided() const {
  Decided decided = unselected_;
  std::set<const Subject*> seen;  // several slots may lead to one
  for (const auto& [slot, owner] : identity_.snapshot()->slots) {
    const Holder& holder = holders_[slot];
    if (!is_held(slot) || !holder.decision || holder.tgid) continue;
    if (!seen.insert(owner.subject.get()).second) continue;
    if (auto* list = decided.list_of(*owner.subject)) list->push_back(holder.decision);
  }
  return decided;
}

ControlStats Control::stats() const {
  ControlStats stats;
  stats.subjects = lives_.capacity() - lives_.count(SlotStage::Free) - lives_.count(SlotStage::Flushed);
  for (uint32_t slot = 0; slot < holders_.size(); ++slot) stats.selected += is_held(slot) && holders_[slot].decision;
  const Decided decided = this->decided();
  for (const DecisionPtr& one : decided.containers) stats.containers += one->selected;
  stats.without_slot = without_slot_ + (slots_missed() - missed_before_);
  stats.walk_limits = walk_limits_;
  stats.unresolved = paths_.unresolved();
  return stats;
}

}  // namespace sonde
