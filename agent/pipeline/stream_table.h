// SPDX-License-Identifier: Apache-2.0
// Which slot counts into which stream: follows the snapshots, begins and ends streams. Knows nothing of samples.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/identity/subject.h"
#include "agent/pipeline/now.h"
#include "agent/pipeline/resource.h"
#include "agent/pipeline/stream.h"

namespace sonde {

enum class SlotKind : uint8_t { Unknown, Unattributed, NotSelected, Selected };

struct Slot {
  SlotKind kind = SlotKind::Unknown;
  bool ended = false;
  // Where its samples go. Still set for one collection after a slot was deselected: those counts are from before.
  Stream* stream = nullptr;
  Group* group = nullptr;
  uint64_t cgroup_id = 0;
  uint32_t tgid = 0;
  SubjectPtr subject;
  DecisionPtr decision;
  uint64_t round = 0;
};

struct StreamTableOptions {
  uint32_t max_slots = 0;
  uint64_t attached_ns = 0;
  uint64_t phase_ns = 0;
};

class StreamTable {
 public:
  StreamTable(const Catalog& catalog, const ResourceRules& rules, StreamTableOptions options)
      : rules_(rules), plans_(catalog), options_(options) {}

  void apply(const IdentitySnapshot& identity, const PolicySnapshot& policy, Now now);
  // After a collection: what was deselected takes no more samples.
  void settle();

  Slot* find(uint32_t slot) { return slot < slots_.size() ? &slots_[slot] : nullptr; }
  std::vector<std::unique_ptr<Stream>>& streams() { return streams_; }
  const std::vector<std::unique_ptr<Stream>>& streams() const { return streams_; }
  std::vector<uint32_t> ended_slots() const;

  // Called when a stream has a new plan: makes the series that are sent from zero on.
  std::function<void(Stream&)> on_plan;

  // The stream takes no samples any more.
  void close(Stream& stream);
  // Deletes streams that are done (and closed), and groups without series whose process has gone.
  void sweep();

  uint64_t next_resource_id() { return next_resource_id_++; }
  uint64_t period_index(uint64_t boot_ns, uint64_t period_ns) const {
    const uint64_t phase = period_ns ? options_.phase_ns % period_ns : 0;
    return period_ns && boot_ns >= phase ? (boot_ns - phase) / period_ns + 1 : 0;
  }

 private:
  struct Round {
    const PolicySnapshot& policy;
    Now now;
    std::unordered_set<uint64_t> live_cgroups;  // selected and not ended
  };
  void place(uint32_t number, const SlotOwner& owner, const Round& round);
  void join(Slot& slot, const SlotOwner& owner, const DecisionPtr& decision, const Round& round, bool fresh);
  Stream* begin(std::string key, const SlotOwner& owner, const DecisionPtr& decision, Resource resource,
                uint64_t start_ns, Now now);
  void end(Stream& stream);
  void set_plan(Stream& stream, const SeriesPlanPtr& plan, uint64_t since_ns);
  void rename(Stream& stream, const Subject& subject, const Decision& decision);
  Group* group_for(Stream& stream, const SlotOwner& owner);
  void follow_policy(Stream& stream, const DecisionPtr& decision);
  void count_live();

  const ResourceRules& rules_;
  SeriesPlans plans_;
  const StreamTableOptions options_;
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::unordered_map<std::string, Stream*> current_;  // by key: the one that takes samples
  uint64_t round_ = 0;
  uint64_t next_resource_id_ = 1;
};

}  // namespace sonde
