// SPDX-License-Identifier: Apache-2.0
// Which slot counts into which stream: follows the snapshots, begins and ends streams. Knows nothing of samples.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/identity/subject.h"
#include "agent/pipeline/now.h"
#include "agent/pipeline/resource.h"
#include "agent/pipeline/stream.h"

namespace sonde {

// So many streams a container may have, one for each set of values that the labels on its Resource had; then its
// labels stay as they are.
inline constexpr std::size_t kMaxStreamsPerContainer = 16;

enum class SlotKind : uint8_t { Unknown, Unattributed, NotSelected, Selected };

struct Slot {
  SlotKind kind = SlotKind::Unknown;
  bool ended = false;  // as the last snapshot said
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
  uint64_t attached_ns = 0;  // see AggregatorOptions
  uint64_t not_before_ns = 0;
  uint64_t phase_ns = 0;
  std::function<bool(const Subject&, StreamScope)> may_return;
};

class StreamTable {
 public:
  StreamTable(const Catalog& catalog, const ResourceRules& rules, StreamTableOptions options)
      : rules_(rules), plans_(catalog), options_(std::move(options)) {}

  void apply(const IdentitySnapshot& identity, const PolicySnapshot& policy, Now now);
  // After a collection of everything: what was deselected takes no more samples.
  void settle();
  // Ends streams that nothing counts into and that wait for nobody.
  void end_unused(Now now);

  Slot* find(uint32_t slot) { return slot < slots_.size() ? &slots_[slot] : nullptr; }
  std::vector<std::unique_ptr<Stream>>& streams() { return streams_; }
  const std::vector<std::unique_ptr<Stream>>& streams() const { return streams_; }
  // Changes of labels that made no new stream because a container had too many, and whose they were.
  uint64_t labels_held() const { return labels_held_; }
  std::vector<std::string> held_names() const;

  // Called when a stream has a new plan: makes the series that are sent from zero on.
  std::function<void(Stream&)> on_plan;
  // Called when a container's life has ended, before any sample of its last collection: up-down counters are 0 again.
  std::function<void(Group&)> on_life_end;
  // Called when two streams that were never sent turn out to have one name. The second is deleted afterwards.
  std::function<void(Stream& into, Stream& from, Now)> on_merge;

  // The first emission is near: not earlier than the last point of an earlier stream of that name.
  void settle_start(Stream& stream) const;
  // The stream takes no samples any more: it is done, or parked if it keeps its totals.
  void close(Stream& stream, Now now);
  // Deletes streams that are done (and closed), and groups without series whose process has gone.
  void sweep(Now now);

  uint64_t next_resource_id() { return next_resource_id_++; }
  uint64_t period_index(uint64_t boot_ns, uint64_t period_ns) const {
    const uint64_t phase = period_ns ? options_.phase_ns % period_ns : 0;
    return period_ns && boot_ns >= phase ? (boot_ns - phase) / period_ns + 1 : 0;
  }

 private:
  struct Round {
    const PolicySnapshot& policy;
    Now now;
  };
  // Where a slot counts, as its names and its policy say.
  struct Place {
    StreamScope scope;
    bool per_process;
    Resource resource;
    std::string key;
    Family* family;
  };
  struct Ended {
    ResourcePtr resource;
    uint64_t last_ns;  // CLOCK_REALTIME of its last point
    uint64_t at_ns;    // CLOCK_BOOTTIME
  };
  void place(uint32_t number, const SlotOwner& owner, const Round& round);
  Place place_of(const Subject& subject, const Decision& decision);
  Family& family_of(std::string key);
  void join(Slot& slot, const SlotOwner& owner, const DecisionPtr& decision, const Round& round, bool fresh);
  Stream* begin(Place& place, const DecisionPtr& decision, uint64_t start_ns, Now now);
  ResourcePtr resource_for(Resource resource);
  Stream* hold_name(Slot& slot, const Place& place);
  void rename(Stream& stream, Place& place);
  void merge(Stream& into, Stream& from, Now now);
  void revive(Stream& stream);
  bool waits(const Stream& stream, Now now) const;
  void set_plan(Stream& stream, const SeriesPlanPtr& plan);
  void end_life(Slot& slot);
  void resume(Stream& stream, Group& group);
  Group* process_of(Stream& stream, const SlotOwner& owner);
  void follow_policy(Stream& stream, const DecisionPtr& decision);
  void count_live(Now now);
  void leave_family(Stream& stream);

  const ResourceRules& rules_;
  SeriesPlans plans_;
  const StreamTableOptions options_;
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::unordered_map<std::string, Stream*> current_;  // by key: live, ending and parked ones
  std::unordered_map<std::string, std::unique_ptr<Family>> families_;
  std::unordered_map<std::string, Ended> ended_;  // by service.instance.id, of the last minutes
  std::unordered_map<std::string, std::weak_ptr<const Resource>>
      resources_;  // by service.instance.id: of streams and ended_
  uint64_t labels_held_ = 0;
  uint64_t round_ = 0;
  uint64_t next_resource_id_ = 1;
};

}  // namespace sonde
