// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/stream_table.h"

#include <sonde/abi.h>

#include <algorithm>

namespace sonde {
namespace {

bool folds_into_pod(const Subject& subject, const Decision& decision) {
  if (subject.pod_uid.empty() && subject.pod_name.empty()) return false;
  return decision.granularity == Granularity::Pod || subject.type == ContainerType::Sandbox;
}

// Namespace, pod and container are who it is, as service.instance.id says: a restarted container has another id, a pod of a
// StatefulSet that was made anew another UID, and both follow what was there before instead of standing beside it.
std::string stream_key(const Subject& subject, const Decision& decision) {
  const std::string pod = subject.namespace_name + "/" + subject.pod_name;
  if (folds_into_pod(subject, decision)) return "pod " + (subject.pod_name.empty() ? subject.pod_uid : pod);
  const std::string kind = decision.granularity == Granularity::Process ? "process " : "container ";
  if (!subject.pod_name.empty() && !subject.container_name.empty()) return kind + pod + "/" + subject.container_name;
  return kind + subject.key();
}

const DecisionPtr* decision_of(const PolicySnapshot& policy, uint32_t slot) {
  auto found = policy.slots.find(slot);
  return found != policy.slots.end() && found->second && found->second->selected ? &found->second : nullptr;
}

// When the policies in force were: what is asked newly counts from then on.
uint64_t policy_time(const PolicySnapshot& policy, Now now) {
  return now.real_of(policy.made_ns && policy.made_ns < now.boot_ns ? policy.made_ns : now.boot_ns);
}

void forget(Slot& slot) { slot = Slot{.round = slot.round}; }

}  // namespace

void StreamTable::apply(const IdentitySnapshot& identity, const PolicySnapshot& policy, Now now) {
  ++round_;
  Round round{policy, now, {}};
  for (const auto& [number, owner] : identity.slots) {
    if (number >= options_.max_slots || !owner.subject) continue;
    if (number >= slots_.size()) slots_.resize(number + 1);
    Slot& slot = slots_[number];
    slot.round = round_;
    const bool other = slot.cgroup_id != owner.subject->cgroup_id || slot.tgid != owner.tgid;
    if (slot.kind != SlotKind::Unknown && other) forget(slot);
    if (!owner.ended && decision_of(policy, number)) round.live_cgroups.insert(owner.subject->cgroup_id);
  }
  for (Slot& slot : slots_) {
    if (slot.round != round_ && slot.kind != SlotKind::Unknown) forget(slot);
  }
  // The ended ones first: a successor must find the stream that it continues.
  for (const bool ended : {true, false}) {
    for (const auto& [number, owner] : identity.slots) {
      if (number < options_.max_slots && owner.subject && owner.ended == ended) place(number, owner, round);
    }
  }
  for (auto& stream : streams_) {
    if (stream->wanted_round == round_) set_plan(*stream, stream->wanted, policy_time(policy, now));
    stream->wanted = nullptr;
  }
  count_live();
  for (auto& stream : streams_) {
    if (stream->state == StreamState::Live && stream->live == 0) end(*stream);
  }
  // A predecessor that goes on after all (other containers joined it) holds nobody up.
  for (auto& stream : streams_) {
    Stream* before = stream->predecessor;
    if (!before || before->state != StreamState::Live) continue;
    before->successor = nullptr;
    stream->predecessor = nullptr;
  }
}

void StreamTable::place(uint32_t number, const SlotOwner& owner, const Round& round) {
  Slot& slot = slots_[number];
  const bool fresh = slot.kind == SlotKind::Unknown;
  slot.cgroup_id = owner.subject->cgroup_id;
  slot.tgid = owner.tgid;
  if (number == SONDE_SLOT_UNATTRIBUTED || owner.subject->kind == SubjectKind::Unattributed) {
    slot.kind = SlotKind::Unattributed;
    return;
  }
  const DecisionPtr* decision = decision_of(round.policy, number);
  if (slot.kind == SlotKind::Selected && owner.ended && slot.ended) {
    // Nothing new comes from it; but if its name has only now become known, it is still in time for the last values.
    if (slot.stream && decision && slot.subject != owner.subject) rename(*slot.stream, *owner.subject, **decision);
    slot.subject = owner.subject;
    return;
  }
  if (!decision) {
    slot.kind = SlotKind::NotSelected;
    slot.ended = owner.ended;
    slot.subject = owner.subject;
    slot.decision = nullptr;
    return;
  }
  const bool same = slot.kind == SlotKind::Selected && slot.stream && slot.stream->state == StreamState::Live &&
                    slot.subject == owner.subject && same_for_pipeline(*slot.decision, **decision) &&
                    !slot.stream->pod && (!slot.group || slot.group->tgid() == 0 || slot.group->comm() == owner.comm);
  if (same) {
    slot.decision = *decision;
    slot.stream->decision = *decision;
  } else {
    join(slot, owner, *decision, round, fresh);
  }
  slot.kind = SlotKind::Selected;
  slot.ended = owner.ended;
  slot.subject = owner.subject;
  slot.decision = *decision;
}

void StreamTable::join(Slot& slot, const SlotOwner& owner, const DecisionPtr& decision, const Round& round,
                       bool fresh) {
  const Subject& subject = *owner.subject;
  const bool pod = folds_into_pod(subject, *decision);
  std::string key = stream_key(subject, *decision);
  auto found = current_.find(key);
  Stream* stream = found == current_.end() ? nullptr : found->second;

  // Until something of it was sent, a stream may still change its name.
  if (!stream && slot.stream && slot.stream->state == StreamState::Live && !slot.stream->emitted &&
      slot.stream->cgroup_id == subject.cgroup_id && slot.stream->pod == pod &&
      slot.stream->per_process == (decision->granularity == Granularity::Process)) {
    stream = slot.stream;
    current_.erase(stream->key);
    stream->key = key;
    current_[key] = stream;
  }
  const uint64_t since = policy_time(round.policy, round.now);
  uint64_t start = std::max(since, subject.started_ns ? round.now.real_of(subject.started_ns) : 0);
  // Counted from its first instruction, provisionally, since the agent was there before it.
  if (fresh && subject.started_ns && options_.attached_ns && subject.started_ns >= options_.attached_ns) {
    start = round.now.real_of(subject.started_ns);
  }
  if (stream && stream->cgroup_id != subject.cgroup_id && !round.live_cgroups.contains(stream->cgroup_id)) {
    if (pod) {
      stream->cgroup_id = subject.cgroup_id;  // a pod's numbers go on with the containers that are left
    } else {
      end(*stream);  // a restarted container: the same identity, from zero again
      stream = nullptr;
    }
  }
  if (stream && stream->cgroup_id == subject.cgroup_id) {
    Resource resource = rules_.of(subject, *decision, pod);
    if (resource.attributes != stream->resource->attributes) {
      if (stream->emitted) {
        end(*stream);
        stream = nullptr;
        start = round.now.real_ns;
      } else {
        rename(*stream, subject, *decision);
      }
    }
  }
  if (!stream) stream = begin(std::move(key), owner, decision, rules_.of(subject, *decision, pod), start, round.now);
  follow_policy(*stream, decision);
  if (slot.stream && slot.stream != stream && !stream->predecessor && !stream->emitted && slot.stream->emitted &&
      !slot.stream->successor) {
    stream->predecessor = slot.stream;  // moved, as by another granularity: first the old series end
    slot.stream->successor = stream;
  }
  slot.stream = stream;
  slot.group = group_for(*stream, owner);
}

Stream* StreamTable::begin(std::string key, const SlotOwner& owner, const DecisionPtr& decision, Resource resource,
                           uint64_t start_ns, Now now) {
  auto fresh = std::make_unique<Stream>();
  fresh->key = std::move(key);
  fresh->pod = folds_into_pod(*owner.subject, *decision);
  fresh->per_process = decision->granularity == Granularity::Process;
  fresh->cgroup_id = owner.subject->cgroup_id;
  fresh->decision = decision;
  fresh->start_ns = start_ns;
  fresh->sent_boot_ns = now.boot_ns;
  fresh->groups.push_back(std::make_unique<Group>());
  for (auto& old : streams_) {
    if (old->state == StreamState::Live || old->successor || old->key != fresh->key) continue;
    old->successor = fresh.get();
    fresh->predecessor = old.get();
    old->continued = old->resource->attributes == resource.attributes;
    if (old->continued) fresh->resource = old->resource;
  }
  if (!fresh->resource) {
    resource.id = next_resource_id_++;
    fresh->resource = std::make_shared<Resource>(std::move(resource));
  }
  current_[fresh->key] = fresh.get();
  streams_.push_back(std::move(fresh));
  return streams_.back().get();
}

void StreamTable::end(Stream& stream) {
  stream.state = StreamState::Ending;
  if (auto found = current_.find(stream.key); found != current_.end() && found->second == &stream)
    current_.erase(found);
}

void StreamTable::rename(Stream& stream, const Subject& subject, const Decision& decision) {
  if (stream.emitted) return;
  Resource resource = rules_.of(subject, decision, stream.pod);
  if (resource.attributes == stream.resource->attributes) return;
  resource.id = next_resource_id_++;
  stream.resource = std::make_shared<Resource>(std::move(resource));
}

// A pod's containers may be under different policies: it has what any of them asks for, and the shortest period.
void StreamTable::follow_policy(Stream& stream, const DecisionPtr& decision) {
  const SeriesPlanPtr plan = plans_.of(*decision);
  const bool first = stream.wanted_round != round_;
  stream.wanted = first ? plan : plans_.both(stream.wanted, plan);
  if (first || decision->period_ms < stream.decision->period_ms) stream.decision = decision;
  stream.wanted_round = round_;
}

void StreamTable::set_plan(Stream& stream, const SeriesPlanPtr& plan, uint64_t since_ns) {
  if (stream.plan == plan) return;
  if (stream.plan) {
    std::erase_if(stream.later, [&](const auto& entry) { return !plan->asked[entry.first]; });
    for (std::size_t i = 0; i < plan->asked.size(); ++i) {
      if (!plan->asked[i] || stream.plan->asked[i]) continue;
      stream.later.emplace_back(static_cast<uint16_t>(i), std::max(since_ns, stream.start_ns));
    }
  }
  stream.plan = plan;
  for (auto& group : stream.groups) {
    for (Accumulator& series : group->series()) {
      if (!plan->asked[series.ordinal]) {
        if (series.state == SeriesState::Live) series.state = SeriesState::Ending;
      } else if (!group->ending) {
        series.state = SeriesState::Live;
      }
    }
  }
  if (on_plan) on_plan(stream);
}

Group* StreamTable::group_for(Stream& stream, const SlotOwner& owner) {
  if (!stream.per_process || owner.tgid == 0) return &stream.own();
  for (auto& group : stream.groups) {
    if (group->tgid() == owner.tgid && group->comm() == owner.comm && !group->ending) return group.get();
  }
  AttributeSet extra;
  add_attribute(extra, "process.pid", int64_t{owner.tgid});
  if (!owner.comm.empty()) add_attribute(extra, "process.executable.name", clean_text(owner.comm));
  stream.groups.push_back(std::make_unique<Group>(owner.tgid, owner.comm, std::move(extra)));
  Group& fresh = *stream.groups.back();
  fresh.start_ns = std::max(stream.start_ns, stream.last_time_ns);
  return &fresh;
}

void StreamTable::count_live() {
  for (auto& stream : streams_) {
    stream->live = 0;
    for (auto& group : stream->groups) group->live = 0;
  }
  for (const Slot& slot : slots_) {
    if (slot.kind != SlotKind::Selected || !slot.stream || slot.ended) continue;
    ++slot.stream->live;
    if (slot.group) ++slot.group->live;
  }
  for (auto& stream : streams_) {
    for (std::size_t i = 1; i < stream->groups.size(); ++i) {
      Group& group = *stream->groups[i];
      if (group.live || group.ending) continue;
      group.ending = true;
      for (Accumulator& series : group.series()) {
        if (series.state == SeriesState::Live) series.state = SeriesState::Ending;
      }
    }
  }
}

void StreamTable::settle() {
  for (Slot& slot : slots_) {
    if (slot.kind != SlotKind::NotSelected) continue;
    slot.stream = nullptr;
    slot.group = nullptr;
  }
}

std::vector<uint32_t> StreamTable::ended_slots() const {
  std::vector<uint32_t> ended;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].ended) ended.push_back(static_cast<uint32_t>(i));
  }
  return ended;
}

void StreamTable::close(Stream& stream) {
  stream.state = StreamState::Marking;
  for (Slot& slot : slots_) {
    if (slot.stream != &stream) continue;
    slot.stream = nullptr;
    slot.group = nullptr;
  }
}

void StreamTable::sweep() {
  for (auto& stream : streams_) {
    if (stream->done) {
      if (Stream* next = stream->successor) {
        next->predecessor = nullptr;
        next->due = true;
      }
      if (stream->predecessor) stream->predecessor->successor = nullptr;
      continue;
    }
    if (stream->groups.size() == 1) continue;
    for (auto& group : stream->groups) {
      if (!group->ending || !group->series().empty()) continue;
      for (Slot& slot : slots_) {
        if (slot.group == group.get()) slot.group = &stream->own();  // stragglers count on the container
      }
      group.reset();
    }
    std::erase(stream->groups, nullptr);
  }
  std::erase_if(streams_, [&](const auto& stream) { return stream->done; });
}

}  // namespace sonde
