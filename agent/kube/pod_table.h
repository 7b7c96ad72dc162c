// SPDX-License-Identifier: Apache-2.0
// The pods of this node, joined with cgroups by the container's id and the pod's UID. Filled by a source of pods on a thread
// of its own, read by the agent's loop. What was known of a pod that ended stays for a while: its last counts are
// still to be named.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/base/mutex.h"
#include "agent/identity/identity.h"
#include "agent/kube/pod.h"

namespace sonde::kube {

struct PodTableOptions {
  uint64_t keep_ended_ns = 300'000'000'000;  // far above two export intervals
  std::size_t keep_ended = 4096;             // pods; the oldest go first
  bool namespaces = true;                    // somebody will tell their labels: wait for them
  uint64_t look_for_ns = 10'000'000'000;     // how long an unknown container is looked for
};

class PodTable final : public Enricher {
 public:
  explicit PodTable(PodTableOptions options = {}) : options_(options) {}

  // All pods that are there now (any thread). Those missing have ended.
  void replace(std::vector<Pod> pods, uint64_t now_ns);
  // One pod came or changed; one ended.
  void put(Pod pod, uint64_t now_ns);
  void remove(const std::string& uid, uint64_t now_ns);
  // Labels of a namespace, as far as known.
  void set_namespace(const std::string& name, std::map<std::string, std::string> labels);

  void enrich(Subject& subject) const override;
  // False for a container of a pod that no source has reported yet, or whose own status or namespace is missing.
  bool complete(const Subject& subject) const override;
  // While its pod is there and not over, unless it is a container that the kubelet does not start again.
  bool may_return(const Subject& subject) const override;
  uint64_t version() const override { return version_.load(std::memory_order_relaxed); }

  // Namespaces that have pods here.
  std::vector<std::string> namespaces() const;
  std::size_t size() const;           // pods that live
  std::size_t container_ids() const;  // that are remembered
  uint64_t updated_ns() const;        // CLOCK_BOOTTIME of the last news from a source; 0: never

  // Called by complete(), on its thread, when there is a container that no source has reported.
  void set_unknown(std::function<void()> unknown);
  // There still is one, younger than look_for_ns.
  bool looks_for_some(uint64_t now_ns) const;

 private:
  // Starts of one container, of which each made an id.
  struct Starts {
    int told = 0;    // ids that a status has named
    int before = 0;  // starts that no status named when the pod was first reported
  };
  struct Entry {
    std::shared_ptr<const Pod> pod;
    uint64_t ended_ns = 0;                   // 0: it lives
    std::map<std::string, Starts> starts{};  // by container
    std::deque<std::string> ids{};           // container ids that lead here, oldest first
    // Cgroup of each container that has a name. Ids rise: what is older than all of them is the sandbox, made first.
    mutable std::map<std::string, uint64_t> cgroups{};
    mutable uint64_t oldest = 0;  // the oldest cgroup that was seen, and when it was made; 0: not known
    mutable uint64_t oldest_started_ns = 0;
  };
  struct Known {
    std::string uid;
    std::string name;
    int restart_count = 0;
  };
  struct Match {
    const PodContainer* container = nullptr;
    int restart_count = 0;
  };
  Match match(const Entry& entry, const Subject& subject) const SONDE_REQUIRES(mutex_);
  const PodContainer* untold(const Entry& entry, const Subject& subject) const SONDE_REQUIRES(mutex_);
  bool is_sandbox(const Entry& entry, const Subject& subject) const;
  void note_oldest(const Entry& entry, const Subject& subject) const SONDE_REQUIRES(mutex_);
  void note_cgroup(const Entry& entry, const Subject& subject) const SONDE_REQUIRES(mutex_);
  void put_locked(Pod pod) SONDE_REQUIRES(mutex_);
  void index(Entry& entry, bool first) SONDE_REQUIRES(mutex_);
  void trim(Entry& entry) SONDE_REQUIRES(mutex_);
  void unindex(const Pod& pod) SONDE_REQUIRES(mutex_);
  void end_locked(const std::string& uid, uint64_t now_ns) SONDE_REQUIRES(mutex_);
  void expire(uint64_t now_ns) SONDE_REQUIRES(mutex_);

  PodTableOptions options_;
  mutable Mutex mutex_;
  std::unordered_map<std::string, Entry> pods_ SONDE_GUARDED_BY(mutex_);          // by UID
  std::unordered_map<std::string, Known> by_container_ SONDE_GUARDED_BY(mutex_);  // by container id
  std::deque<std::pair<uint64_t, std::string>> ended_ SONDE_GUARDED_BY(mutex_);   // {when, UID}, oldest first
  std::unordered_map<std::string, std::map<std::string, std::string>> namespaces_ SONDE_GUARDED_BY(mutex_);
  uint64_t updated_ns_ SONDE_GUARDED_BY(mutex_) = 0;
  // Container id → since when it is looked for.
  mutable std::map<std::string, uint64_t> unknown_ SONDE_GUARDED_BY(mutex_);
  std::function<void()> tell_unknown_ SONDE_GUARDED_BY(mutex_);
  mutable std::atomic<uint64_t> version_{1};
};

}  // namespace sonde::kube
