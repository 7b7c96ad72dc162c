// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/pod_table.h"

#include <algorithm>
#include <set>
#include <utility>

#include "agent/base/clock.h"

namespace sonde::kube {
namespace {

constexpr std::size_t kMostIds = 64;  // remembered per pod, in addition to those in its status

const PodContainer* named(const Pod& pod, const std::string& name) {
  const auto found = std::ranges::find(pod.containers, name, &PodContainer::name);
  return found == pod.containers.end() ? nullptr : &*found;
}

bool names(const Pod& pod, const std::string& id) {
  return std::ranges::any_of(pod.containers, [&](const auto& one) { return one.id == id || one.previous_id == id; });
}

}  // namespace

void PodTable::replace(std::vector<Pod> pods, uint64_t now_ns) {
  const MutexLock lock(mutex_);
  std::set<std::string> there;
  for (Pod& pod : pods) {
    there.insert(pod.uid);
    put_locked(std::move(pod));
  }
  std::vector<std::string> gone;
  for (const auto& [uid, entry] : pods_) {
    if (!entry.ended_ns && !there.contains(uid)) gone.push_back(uid);
  }
  for (const std::string& uid : gone) end_locked(uid, now_ns);
  updated_ns_ = now_ns;
  expire(now_ns);
}

void PodTable::put(Pod pod, uint64_t now_ns) {
  const MutexLock lock(mutex_);
  put_locked(std::move(pod));
  updated_ns_ = now_ns;
  expire(now_ns);
}

void PodTable::remove(const std::string& uid, uint64_t now_ns) {
  const MutexLock lock(mutex_);
  end_locked(uid, now_ns);
  updated_ns_ = now_ns;
}

void PodTable::set_namespace(const std::string& name, std::map<std::string, std::string> labels) {
  const MutexLock lock(mutex_);
  auto [found, fresh] = namespaces_.try_emplace(name);
  if (!fresh && found->second == labels) return;
  found->second = std::move(labels);
  ++version_;
}

// A pod whose text is the same is no news: sources that are asked again and again give it each time.
void PodTable::put_locked(Pod pod) {
  const auto [found, first] = pods_.try_emplace(pod.uid);
  Entry& entry = found->second;
  const bool same = entry.pod && !entry.ended_ns && *entry.pod == pod;
  if (same) return;
  // A container that is no longer in the pod's status (started again twice) is still to be found by its id.
  entry.pod = std::make_shared<const Pod>(std::move(pod));
  entry.ended_ns = 0;
  index(entry, first);
  ++version_;
}

void PodTable::index(Entry& entry, bool first) {
  for (const PodContainer& container : entry.pod->containers) {
    Starts& starts = entry.starts[container.name];
    const auto add = [&](const std::string& id, int restart_count) SONDE_REQUIRES(mutex_) {
      if (id.empty() || !by_container_.try_emplace(id, Known{entry.pod->uid, container.name, restart_count}).second)
        return;
      entry.ids.push_back(id);
      ++starts.told;
    };
    add(container.previous_id, std::max(container.restart_count - 1, 0));
    add(container.id, container.restart_count);
    if (first) starts.before = std::max(container.restart_count + 1 - starts.told, 0);
  }
  trim(entry);
}

// A container that is started again and again for months leaves nothing behind.
void PodTable::trim(Entry& entry) {
  for (std::size_t n = entry.ids.size(); n > 0 && entry.ids.size() > kMostIds + 2 * entry.pod->containers.size(); --n) {
    std::string id = std::move(entry.ids.front());
    entry.ids.pop_front();
    if (names(*entry.pod, id))
      entry.ids.push_back(std::move(id));
    else
      by_container_.erase(id);
  }
}

void PodTable::unindex(const Pod& pod) {
  std::erase_if(by_container_, [&](const auto& item) { return item.second.uid == pod.uid; });
}

void PodTable::end_locked(const std::string& uid, uint64_t now_ns) {
  const auto found = pods_.find(uid);
  if (found == pods_.end() || found->second.ended_ns) return;
  found->second.ended_ns = now_ns;
  ended_.emplace_back(now_ns, uid);
}

void PodTable::expire(uint64_t now_ns) {
  while (!ended_.empty()) {
    const auto& [when, uid] = ended_.front();
    if (when + options_.keep_ended_ns > now_ns && ended_.size() <= options_.keep_ended) return;
    const auto found = pods_.find(uid);
    if (found != pods_.end() && found->second.ended_ns == when) {  // not one that came back
      unindex(*found->second.pod);
      pods_.erase(found);
    }
    ended_.pop_front();
  }
}

void PodTable::enrich(Subject& subject) const {
  if (subject.kind != SubjectKind::Container) return;
  const MutexLock lock(mutex_);
  auto found = pods_.end();
  const auto by_id = by_container_.find(subject.container_id);
  if (by_id != by_container_.end()) found = pods_.find(by_id->second.uid);
  if (found == pods_.end() && !subject.pod_uid.empty()) found = pods_.find(subject.pod_uid);
  if (found == pods_.end()) {
    return;
  }
  const Pod& pod = *found->second.pod;
  subject.namespace_name = pod.namespace_name;
  subject.pod_name = pod.name;
  if (!pod.node_name.empty()) subject.node_name = pod.node_name;
  subject.owners = pod.owners;
  subject.pod_labels = pod.labels;
  subject.pod_annotations = pod.annotations;
  if (const auto ns = namespaces_.find(pod.namespace_name); ns != namespaces_.end()) {
    subject.namespace_labels = ns->second;
  }
  note_oldest(found->second, subject);
  const Match match = this->match(found->second, subject);
  if (!match.container) {  // just made, or the pause container, which no status names
    const bool sandbox = subject.container_name.empty() && is_sandbox(found->second, subject);
    if (sandbox) subject.type = ContainerType::Sandbox;
    if (sandbox) unknown_.erase(subject.container_id);
    return;
  }
  subject.container_name = match.container->name;
  subject.image = match.container->image;
  subject.type = match.container->type;
  subject.restart_count = match.restart_count;
  unknown_.erase(subject.container_id);
  note_cgroup(found->second, subject);
}

PodTable::Match PodTable::match(const Entry& entry, const Subject& subject) const {
  for (const PodContainer& container : entry.pod->containers) {
    if (container.id == subject.container_id) return {&container, container.restart_count};
  }
  const auto known = by_container_.find(subject.container_id);
  if (known != by_container_.end()) return {named(*entry.pod, known->second.name), known->second.restart_count};
  const PodContainer* container = untold(entry, subject);
  // Older than the one before the present one, and mostly the one before that.
  return {container, container ? std::max(container->restart_count - 2, 0) : 0};
}

// It was started and ended between two looks at the pod, so that no status ever named it. Whose it was is known if a single
// container of the pod has been started more often than ids were told, and has gone on since.
const PodContainer* PodTable::untold(const Entry& entry, const Subject& subject) const {
  if (subject.started_ns == 0 || subject.pod_uid.empty() || subject.cgroup_id <= entry.oldest) return nullptr;
  const PodContainer* only = nullptr;
  for (const PodContainer& container : entry.pod->containers) {
    const auto successor = entry.cgroups.find(container.name);
    const auto starts = entry.starts.find(container.name);
    if (successor == entry.cgroups.end() || successor->second < subject.cgroup_id || starts == entry.starts.end())
      continue;
    // Of a pod whose sandbox was there before us, not all cgroups were seen.
    const int unseen = entry.oldest_started_ns ? 0 : starts->second.before;
    if (container.restart_count + 1 - starts->second.told - unseen <= 0) continue;
    if (only) return nullptr;
    only = &container;
  }
  return only;
}

void PodTable::note_oldest(const Entry& entry, const Subject& subject) const {
  if (subject.cgroup_id == 0 || subject.pod_uid.empty()) return;
  if (entry.oldest && subject.cgroup_id > entry.oldest) return;
  if (subject.cgroup_id != entry.oldest) entry.oldest_started_ns = 0;
  entry.oldest = subject.cgroup_id;
  entry.oldest_started_ns = std::max(entry.oldest_started_ns, subject.started_ns);
}

bool PodTable::is_sandbox(const Entry& entry, const Subject& subject) const {
  if (subject.cgroup_id == 0 || subject.pod_uid.empty()) return false;
  return std::ranges::any_of(entry.cgroups, [&](const auto& item) { return item.second > subject.cgroup_id; });
}

// Only those that the pod's status names now: what was started again is younger than the sandbox, but older than its
// successor. So a container whose status is late is not taken for the sandbox while its predecessor is the one named.
void PodTable::note_cgroup(const Entry& entry, const Subject& subject) const {
  if (subject.cgroup_id == 0 || subject.pod_uid.empty()) return;
  const auto [known, fresh] = entry.cgroups.try_emplace(subject.container_name, subject.cgroup_id);
  const uint64_t before = std::exchange(known->second, std::max(known->second, subject.cgroup_id));
  if (fresh || before != known->second) ++version_;  // the pod's sandbox may be known by it
}

bool PodTable::complete(const Subject& subject) const {
  if (subject.kind != SubjectKind::Container || subject.pod_uid.empty()) return true;
  std::function<void()> tell;
  {
    const MutexLock lock(mutex_);
    const bool sandbox = subject.type == ContainerType::Sandbox;
    if (!subject.pod_name.empty() && (sandbox || !subject.container_name.empty())) {
      return !options_.namespaces || namespaces_.contains(subject.namespace_name);
    }
    if (unknown_.size() < kMostPods) unknown_.try_emplace(subject.container_id, boottime_ns());
    tell = tell_unknown_;
  }
  if (tell) tell();
  return false;
}

bool PodTable::may_return(const Subject& subject) const {
  const MutexLock lock(mutex_);
  const auto found = pods_.find(subject.pod_uid);
  if (found == pods_.end() || found->second.ended_ns || found->second.pod->over) return false;
  if (subject.container_name.empty()) return true;
  const PodContainer* container = named(*found->second.pod, subject.container_name);
  return container && !container->finished;
}

void PodTable::set_unknown(std::function<void()> unknown) {
  const MutexLock lock(mutex_);
  tell_unknown_ = std::move(unknown);
}

bool PodTable::looks_for_some(uint64_t now_ns) const {
  const MutexLock lock(mutex_);
  std::erase_if(unknown_, [&](const auto& item) { return now_ns >= item.second + options_.look_for_ns; });
  return !unknown_.empty();
}

std::vector<std::string> PodTable::namespaces() const {
  const MutexLock lock(mutex_);
  std::set<std::string> names;
  for (const auto& [uid, entry] : pods_) {
    if (!entry.ended_ns) names.insert(entry.pod->namespace_name);
  }
  return {names.begin(), names.end()};
}

std::size_t PodTable::size() const {
  const MutexLock lock(mutex_);
  return static_cast<std::size_t>(std::ranges::count_if(pods_, [](const auto& item) { return !item.second.ended_ns; }));
}

std::size_t PodTable::container_ids() const {
  const MutexLock lock(mutex_);
  return by_container_.size();
}

uint64_t PodTable::updated_ns() const {
  const MutexLock lock(mutex_);
  return updated_ns_;
}

}  // namespace sonde::kube
