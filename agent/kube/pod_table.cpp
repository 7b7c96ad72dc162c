// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/pod_table.h"

#include <algorithm>
#include <set>
#include <utility>

#include "agent/base/clock.h"

namespace sonde::kube {
namespace {

const PodContainer* container_of(const Pod& pod, const std::string& id, bool& previous) {
  for (const PodContainer& container : pod.containers) {
    previous = container.id != id;
    if (container.id == id || container.previous_id == id) return &container;
  }
  return nullptr;
}

}  // namespace

void PodTable::replace(std::vector<Pod> pods, uint64_t now_ns) {
  const std::lock_guard lock(mutex_);
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
  const std::lock_guard lock(mutex_);
  put_locked(std::move(pod));
  updated_ns_ = now_ns;
  expire(now_ns);
}

void PodTable::remove(const std::string& uid, uint64_t now_ns) {
  const std::lock_guard lock(mutex_);
  end_locked(uid, now_ns);
  updated_ns_ = now_ns;
}

void PodTable::set_namespace(const std::string& name, std::map<std::string, std::string> labels) {
  const std::lock_guard lock(mutex_);
  auto [found, fresh] = namespaces_.try_emplace(name);
  if (!fresh && found->second == labels) return;
  found->second = std::move(labels);
  ++version_;
}

// A pod whose text is the same is no news: sources that are asked again and again give it each time.
void PodTable::put_locked(Pod pod) {
  Entry& entry = pods_[pod.uid];
  const bool same = entry.pod && !entry.ended_ns && *entry.pod == pod;
  if (same) return;
  // A container that is no longer in the pod's status (started again twice) is still to be found by its id.
  auto next = std::make_shared<const Pod>(std::move(pod));
  entry.pod = next;
  entry.ended_ns = 0;
  index(next);
  ++version_;
}

void PodTable::index(const std::shared_ptr<const Pod>& pod) {
  for (const PodContainer& container : pod->containers) {
    if (!container.id.empty()) by_container_[container.id] = pod->uid;
    if (!container.previous_id.empty()) by_container_[container.previous_id] = pod->uid;
  }
}

void PodTable::unindex(const Pod& pod) {
  std::erase_if(by_container_, [&](const auto& item) { return item.second == pod.uid; });
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
  const std::lock_guard lock(mutex_);
  auto found = pods_.end();
  const auto by_id = by_container_.find(subject.container_id);
  if (by_id != by_container_.end()) found = pods_.find(by_id->second);
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
  bool previous = false;
  const PodContainer* container = container_of(pod, subject.container_id, previous);
  if (!container) {  // just made, or the pause container, which no status names
    const bool sandbox = subject.container_name.empty() && is_sandbox(found->second, subject);
    if (sandbox) subject.type = ContainerType::Sandbox;
    if (sandbox) unknown_.erase(subject.container_id);
    return;
  }
  subject.container_name = container->name;
  subject.image = container->image;
  subject.type = container->type;
  subject.restart_count = std::max(container->restart_count - (previous ? 1 : 0), 0);
  unknown_.erase(subject.container_id);
  note_cgroup(found->second, subject);
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
    const std::lock_guard lock(mutex_);
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

void PodTable::set_unknown(std::function<void()> unknown) {
  const std::lock_guard lock(mutex_);
  tell_unknown_ = std::move(unknown);
}

bool PodTable::looks_for_some(uint64_t now_ns) const {
  const std::lock_guard lock(mutex_);
  std::erase_if(unknown_, [&](const auto& item) { return now_ns >= item.second + options_.look_for_ns; });
  return !unknown_.empty();
}

std::vector<std::string> PodTable::namespaces() const {
  const std::lock_guard lock(mutex_);
  std::set<std::string> names;
  for (const auto& [uid, entry] : pods_) {
    if (!entry.ended_ns) names.insert(entry.pod->namespace_name);
  }
  return {names.begin(), names.end()};
}

std::size_t PodTable::size() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::ranges::count_if(pods_, [](const auto& item) { return !item.second.ended_ns; }));
}

uint64_t PodTable::updated_ns() const {
  const std::lock_guard lock(mutex_);
  return updated_ns_;
}

}  // namespace sonde::kube
