// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/identity.h"

#include <string_view>
#include <utility>
#include <vector>

#include "agent/identity/cgroup_path.h"

namespace sonde {
namespace {

bool same_owners(const std::vector<Owner>& a, const std::vector<Owner>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].kind != b[i].kind || a[i].name != b[i].name) return false;
  return true;
}

// In what an enricher may fill.
bool same_names(const Subject& a, const Subject& b) {
  return a.namespace_name == b.namespace_name && a.pod_name == b.pod_name && a.container_name == b.container_name &&
         a.node_name == b.node_name && a.image == b.image && a.type == b.type && a.restart_count == b.restart_count &&
         a.runtime == b.runtime && a.pod_uid == b.pod_uid && a.qos == b.qos && a.started_ns == b.started_ns &&
         same_owners(a.owners, b.owners) && a.pod_labels == b.pod_labels && a.pod_annotations == b.pod_annotations &&
         a.namespace_labels == b.namespace_labels;
}

// Slots are used again, cgroup ids and pids too in the end: only all of these together say that it is the same one.
bool same_occupant(const SlotRecord& a, const SlotRecord& b) {
  return a.cgroup_id == b.cgroup_id && a.tgid == b.tgid && a.created_ns == b.created_ns;
}

// Does this directory begin a pod?
bool begins_pod(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return read_directory_name(slash == std::string_view::npos ? path : path.substr(slash + 1), {}).pod;
}

SubjectPtr unattributed() {
  Subject subject;
  subject.kind = SubjectKind::Unattributed;
  return std::make_shared<const Subject>(std::move(subject));
}

}  // namespace

Identity::Identity(IdentityOptions options, const Enricher* enricher)
    : options_(std::move(options)), enricher_(enricher) {
  IdentitySnapshot first;
  first.slots[SONDE_SLOT_UNATTRIBUTED].subject = unattributed();
  snapshot_ = std::make_shared<const IdentitySnapshot>(std::move(first));
}

IdentitySnapshotPtr Identity::update(std::span<const SlotRecord> live, uint64_t now_ns) {
  ++pass_;
  for (const SlotRecord& record : live)
    if (const auto found = entries_.find(record.slot); found != entries_.end() && record.cgroup_id != 0)
      found->second.pass = pass_;
  std::vector<uint32_t> gone;
  for (const auto& [slot, entry] : entries_)
    if (entry.pass != pass_) gone.push_back(slot);
  for (const uint32_t slot : gone) release(slot, now_ns);
  return apply(live, now_ns);
}

IdentitySnapshotPtr Identity::apply(std::span<const SlotRecord> changed, uint64_t now_ns) {
  // Cgroups before processes: a process takes its cgroup's subject.
  for (const SlotRecord& record : changed)
    if (record.tgid == 0) place(record, now_ns);
  for (const SlotRecord& record : changed)
    if (record.tgid != 0) place(record, now_ns);
  enrich_again();
  expire(now_ns);
  return changed_ ? publish(now_ns) : snapshot_;
}

void Identity::place(const SlotRecord& record, uint64_t now_ns) {
  if (record.slot < SONDE_FIRST_FREE_SLOT) return;
  if (record.cgroup_id == 0) return release(record.slot, now_ns);
  if (const auto found = entries_.find(record.slot); found != entries_.end()) {
    if (found->second.record == record) return;
    if (same_occupant(found->second.record, record)) return renew(found->second, record);
    release(record.slot, now_ns);
  }
  add(record);
}

void Identity::add(const SlotRecord& record) {
  Entry entry;
  entry.record = record;
  entry.subject = make_subject(record);
  entry.pass = pass_;
  if (record.tgid == 0) {
    by_cgroup_[record.cgroup_id] = record.slot;
    ended_.erase(record.cgroup_id);
    if (record.removed_ns == 0) by_path_[record.path] = record.cgroup_id;
  }
  entries_[record.slot] = std::move(entry);
  changed_ = true;
}

// The same occupant: it ended, or its name changed (exec).
void Identity::renew(Entry& entry, const SlotRecord& record) {
  entry.record = record;
  if (record.removed_ns != 0) unlink_path(entry);
  changed_ = true;
}

// The path may have been given to a newer directory since, or the same directory has another slot now.
void Identity::unlink_path(const Entry& entry) {
  if (entry.record.tgid != 0) return;
  const auto own = by_cgroup_.find(entry.record.cgroup_id);
  if (own != by_cgroup_.end() && own->second != entry.record.slot) return;
  const auto found = by_path_.find(entry.record.path);
  if (found != by_path_.end() && found->second == entry.record.cgroup_id) by_path_.erase(found);
}

void Identity::release(uint32_t slot, uint64_t now_ns) {
  const auto found = entries_.find(slot);
  if (found == entries_.end()) return;
  const Entry& entry = found->second;
  const uint64_t id = entry.record.cgroup_id;
  if (entry.record.tgid == 0) {
    unlink_path(entry);
    if (const auto own = by_cgroup_.find(id); own != by_cgroup_.end() && own->second == slot) by_cgroup_.erase(own);
    ended_[id] = {entry.subject, now_ns};
    ended_order_.emplace_back(now_ns, id);
  }
  entries_.erase(found);
  changed_ = true;
}

// The owner of a slot below a container: its parent if that is (in) a container, else the slot with the container's path.
// A pod is nobody's but its own, also where its node is a container.
SubjectPtr Identity::fold(const SlotRecord& record) const {
  if (begins_pod(record.path)) return nullptr;
  if (SubjectPtr parent = find(record.parent_id); parent && parent->kind == SubjectKind::Container) return parent;
  const CgroupPath parsed = parse_cgroup_path(record.path);
  if (!parsed.inside) return nullptr;
  const auto container = by_path_.find(parsed.container_path);
  return container == by_path_.end() ? nullptr : find(container->second);
}

SubjectPtr Identity::make_subject(const SlotRecord& record) {
  if (SubjectPtr owner = record.tgid != 0 ? find(record.cgroup_id) : fold(record)) return owner;
  // A process whose cgroup is not known any more: its record's path says nothing.
  Subject subject = subject_of(record.tgid != 0 ? std::string() : record.path, record.cgroup_id, record.created_ns);
  if (enricher_ != nullptr) enricher_->enrich(subject);
  ++stats_.subjects_made;
  return std::make_shared<const Subject>(std::move(subject));
}

void Identity::enrich_again() {
  if (enricher_ == nullptr || enricher_->version() == enricher_version_) return;
  enricher_version_ = enricher_->version();
  std::unordered_map<const Subject*, SubjectPtr> renewed;  // several slots share a subject
  const auto renew_subject = [&](SubjectPtr& subject) {
    auto [found, added] = renewed.try_emplace(subject.get(), subject);
    if (added) {
      Subject copy = *subject;
      enricher_->enrich(copy);
      if (!same_names(copy, *subject)) found->second = std::make_shared<const Subject>(std::move(copy));
    }
    if (found->second == subject) return;
    subject = found->second;
    changed_ = true;
  };
  // `renewed` compares addresses: nothing may be freed, and its address used again, until the end.
  std::vector<SubjectPtr> keep;
  keep.reserve(ended_.size() + entries_.size());
  for (auto& [slot, entry] : entries_) {
    keep.push_back(entry.subject);
    renew_subject(entry.subject);
  }
  for (auto& [id, ended] : ended_) {
    keep.push_back(ended.subject);
    renew_subject(ended.subject);
  }
}

void Identity::expire(uint64_t now_ns) {
  while (!ended_order_.empty()) {
    const auto [at_ns, id] = ended_order_.front();
    const bool due = now_ns >= at_ns + options_.keep_ended_ns;
    if (!due && ended_order_.size() <= options_.keep_ended) return;
    ended_order_.pop_front();
    const auto found = ended_.find(id);
    if (found == ended_.end() || found->second.at_ns != at_ns) continue;  // it came back
    if (!due) ++stats_.forgotten;
    ended_.erase(found);
  }
}

IdentitySnapshotPtr Identity::publish(uint64_t now_ns) {
  auto next = std::make_shared<IdentitySnapshot>();
  next->made_ns = now_ns;
  next->slots.reserve(entries_.size() + 1);
  next->slots[SONDE_SLOT_UNATTRIBUTED] = snapshot_->slots.at(SONDE_SLOT_UNATTRIBUTED);
  for (const auto& [slot, entry] : entries_)
    next->slots[slot] = {entry.subject, entry.record.tgid, entry.record.comm, entry.record.removed_ns != 0};
  snapshot_ = std::move(next);
  changed_ = false;
  return snapshot_;
}

SubjectPtr Identity::find(uint64_t cgroup_id) const {
  if (const auto live = by_cgroup_.find(cgroup_id); live != by_cgroup_.end()) {
    const auto entry = entries_.find(live->second);
    if (entry != entries_.end()) return entry->second.subject;
  }
  const auto ended = ended_.find(cgroup_id);
  return ended == ended_.end() ? nullptr : ended->second.subject;
}

SubjectPtr Identity::find_path(const std::string& path) const {
  for (std::string at = path;;) {
    if (const auto found = by_path_.find(at); found != by_path_.end()) return find(found->second);
    const std::size_t slash = at.rfind('/');
    if (at == "/" || slash == std::string::npos) return nullptr;
    at.resize(slash == 0 ? 1 : slash);
  }
}

}  // namespace sonde
