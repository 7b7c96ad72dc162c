// SPDX-License-Identifier: Apache-2.0
// Paths of new directories, programs that processes run, containers whose pod is not known yet, pods whose labels
// change.
#include <algorithm>
#include <cstring>
#include <utility>

#include "agent/base/clock.h"
#include "agent/runtime/control.h"

namespace sonde {
namespace {

// A pod's own status, which names its containers, comes about a second after they begin to run.
constexpr uint64_t kNameWait = 10'000'000'000;
constexpr uint64_t kRenameEvery = 200'000'000;

}  // namespace

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

Subject Control::subject_at(const std::string& path, uint64_t cgroup_id) const {
  Subject subject = subject_of(path, cgroup_id, 0);
  if (options_.names) options_.names->enrich(subject);
  return subject;
}

bool Control::waits_for_name(const Subject& subject, const Holder& holder) const {
  // What has a decision was complete once, or has waited.
  if (!waits_ || !options_.names || holder.decision || options_.names->complete(subject)) return false;
  return !is_overdue(holder, boottime_ns());
}

bool Control::is_overdue(const Holder& holder, uint64_t now_ns) const {
  return now_ns >= std::max(holder.created_ns, started_ns_) + kNameWait;
}

bool Control::rename(uint64_t now_ns) {
  if (!options_.names || now_ns < next_rename_ns_) return false;
  const uint64_t version = options_.names->version();
  const bool overdue = std::ranges::any_of(lives_.in(SlotStage::Waiting),
                                           [&](uint32_t slot) { return is_overdue(holders_[slot], now_ns); });
  if (version == names_version_ && !overdue) return false;
  names_version_ = version;
  next_rename_ns_ = now_ns + kRenameEvery;
  decide_all(policies(), context());
  return true;
}

bool Control::may_return(const Subject& subject, bool workload) {
  if (!options_.names || !(workload || options_.names->may_return(subject))) return false;
  return decisions_.of(subject, 0, "")->selected;
}

void Control::stop_waiting() {
  waits_ = false;
  if (lives_.count(SlotStage::Waiting)) decide_all(policies(), context());
}

}  // namespace sonde
