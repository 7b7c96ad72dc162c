// SPDX-License-Identifier: Apache-2.0
// Slots to subjects: takes what the kernel layer knows about slots, publishes immutable IdentitySnapshots. Used by the
// control thread only; the snapshots may go anywhere.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "agent/identity/slot_record.h"
#include "agent/identity/subject.h"

namespace sonde {

using IdentitySnapshotPtr = std::shared_ptr<const IdentitySnapshot>;

// From the path alone: kind, runtime, container id, pod UID, QoS class.
Subject subject_of(const std::string& path, uint64_t cgroup_id, uint64_t created_ns);

// Who knows more than the path: pods of Kubernetes, containers of a local runtime.
class Enricher {
 public:
  virtual ~Enricher() = default;
  // Fills what it knows. True if that is all there will be; false: not known yet, ask again when version() changed.
  virtual bool enrich(Subject& subject) const = 0;
  // Rises when an answer given before may be another now.
  virtual uint64_t version() const = 0;
};

struct IdentityOptions {
  uint64_t keep_ended_ns = 120'000'000'000;  // how long the subject of a freed slot can still be found
  std::size_t keep_ended = 4096;             // and how many of them
  // Full path of a record whose path was cut by the kernel side (see find_child_cgroup); the argument is the record and
  // the path of its parent. Empty result: not to be had.
  std::function<std::string(const SlotRecord&, const std::string& parent_path)> full_path;
};

struct IdentityStats {
  uint64_t subjects_made = 0;
  uint64_t forgotten = 0;  // ended ones that went before their time: more than keep_ended
  uint64_t cut_paths = 0;  // whose full path was not to be had
};

class Identity {
 public:
  explicit Identity(IdentityOptions options = {}, const Enricher* enricher = nullptr);

  // All live slots (removed but not yet freed ones included). Slots that are not in the list are free.
  IdentitySnapshotPtr update(std::span<const SlotRecord> live, uint64_t now_ns);
  // Only what changed: each record is its slot's present state; cgroup_id 0 frees the slot.
  IdentitySnapshotPtr apply(std::span<const SlotRecord> changed, uint64_t now_ns);
  // The last one; never null.
  IdentitySnapshotPtr snapshot() const { return snapshot_; }

  // Also of ended ones, for keep_ended_ns. Null if not known.
  SubjectPtr find(uint64_t cgroup_id) const;
  // Of the nearest known directory at or above this path, live ones only.
  SubjectPtr find_path(const std::string& path) const;

  const IdentityStats& stats() const { return stats_; }

 private:
  struct Entry {
    SlotRecord record;
    SubjectPtr subject;
    bool settled = false;  // the enricher has no more to say
  };
  struct Ended {
    uint64_t cgroup_id = 0;
    uint64_t at_ns = 0;
    SubjectPtr subject;
  };

  bool place(const SlotRecord& record);
  bool release(uint32_t slot, uint64_t now_ns);
  bool enrich_again();
  void expire(uint64_t now_ns);
  void publish(uint64_t now_ns);
  SubjectPtr make_subject(const SlotRecord& record);
  std::string path_of(const SlotRecord& record);
  SubjectPtr enriched(Subject subject, bool& settled) const;

  IdentityOptions options_;
  const Enricher* enricher_;
  uint64_t enricher_version_ = 0;
  std::unordered_map<uint32_t, Entry> entries_;           // by slot
  std::unordered_map<uint64_t, uint32_t> by_cgroup_;      // cgroup id → slot of the cgroup itself
  std::unordered_map<std::string, uint64_t> by_path_;     // path of a live cgroup → its id
  std::unordered_map<uint64_t, SubjectPtr> ended_;        // by cgroup id
  std::deque<Ended> ended_order_;                         // oldest first
  IdentitySnapshotPtr snapshot_;
  IdentityStats stats_;
};

}  // namespace sonde
