// SPDX-License-Identifier: Apache-2.0
// Slots to subjects: takes what the kernel layer knows about slots, publishes immutable IdentitySnapshots. Used on
// the agent's loop only; the snapshots may go anywhere.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

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
  // Fills the fields it knows and leaves the others: what was known of a pod stays known while its last counts leave.
  // Must not touch the fields that key() is made of.
  virtual void enrich(Subject& subject) const = 0;
  // Is everything known of this subject that will be known? Until then it is counted, but nothing is decided.
  virtual bool complete(const Subject& subject) const = 0;
  // Nothing of this container runs. May it be started again, as itself (as its pod, for a sandbox)?
  virtual bool may_return(const Subject& subject) const = 0;
  // Another number when an answer given before may be another now.
  virtual uint64_t version() const = 0;
};

struct IdentityOptions {
  uint64_t keep_ended_ns = 120'000'000'000;  // how long the subject of a freed slot can still be found
  std::size_t keep_ended = 4096;             // and how many of them
};

struct IdentityStats {
  uint64_t subjects_made = 0;
  uint64_t forgotten = 0;  // ended ones that went before their time: more than keep_ended
};

class Identity {
 public:
  explicit Identity(IdentityOptions options = {}, const Enricher* enricher = nullptr);

  // All slots in use (removed but not yet freed ones included). Slots that are not in the list are free.
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
    SlotRecord record;  // as given
    SubjectPtr subject;
    uint64_t pass = 0;  // of the update() that saw it last
  };
  struct Ended {
    SubjectPtr subject;
    uint64_t at_ns = 0;
  };

  void place(const SlotRecord& record, uint64_t now_ns);
  void add(const SlotRecord& record);
  void renew(Entry& entry, const SlotRecord& record);
  void release(uint32_t slot, uint64_t now_ns);
  void unlink_path(const Entry& entry);
  void enrich_again();
  void expire(uint64_t now_ns);
  IdentitySnapshotPtr publish(uint64_t now_ns);
  SubjectPtr make_subject(const SlotRecord& record);
  SubjectPtr fold(const SlotRecord& record) const;

  IdentityOptions options_;
  const Enricher* enricher_;
  uint64_t enricher_version_ = 0;
  uint64_t pass_ = 0;
  bool changed_ = false;
  std::unordered_map<uint32_t, Entry> entries_;            // by slot
  std::unordered_map<uint64_t, uint32_t> by_cgroup_;       // cgroup id → slot of the cgroup itself, until it is freed
  std::unordered_map<std::string, uint64_t> by_path_;      // path of a live cgroup → its id
  std::unordered_map<uint64_t, Ended> ended_;              // by cgroup id, after its slot was freed
  std::deque<std::pair<uint64_t, uint64_t>> ended_order_;  // {when, cgroup id}, oldest first
  IdentitySnapshotPtr snapshot_;
  IdentityStats stats_;
};

}  // namespace sonde
