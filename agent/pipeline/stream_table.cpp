// SPDX-License-Identifier: Apache-2.0
// Slots and the streams they count into. Where streams end is in stream_ends.cpp.
#include "agent/pipeline/stream_table.h"

#include <sonde/abi.h>

#include <algorithm>

namespace sonde {
namespace {

StreamScope scope_of(const Subject& subject, const Decision& decision) {
  if (subject.pod_uid.empty() && subject.pod_name.empty()) return StreamScope::Container;
  if (decision.granularity == Granularity::Pod || subject.type == ContainerType::Sandbox) return StreamScope::Pod;
  const bool named = !subject.pod_name.empty() && !subject.container_name.empty();
  // What nobody owns is a workload of its own: it keeps its name.
  if (decision.granularity == Granularity::Workload && named && workload_of(subject)) return StreamScope::Workload;
  return StreamScope::Container;
}

// Whose streams these are, whatever labels it has: a pod is another one if its UID is another, but a container of a pod
// that is started again is the same.
std::string family_key(const Subject& subject, StreamScope scope) {
  const std::string pod = subject.namespace_name + "/" + subject.pod_name + "/" + subject.pod_uid;
  if (scope == StreamScope::Pod) return "pod " + (subject.pod_name.empty() ? subject.pod_uid : pod);
  if (!subject.pod_name.empty() && !subject.container_name.empty()) return pod + "/" + subject.container_name;
  return subject.key();
}

std::string instance_of(const Resource& resource) {
  const auto found = std::ranges::find(resource.attributes, "service.instance.id", &Attribute::key);
  const auto* text = found == resource.attributes.end() ? nullptr : std::get_if<std::string>(&found->value);
  return text ? *text : std::string();
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
  const Round round{policy, now};
  for (const auto& [number, owner] : identity.slots) {
    if (number >= options_.max_slots || !owner.subject) continue;
    if (number >= slots_.size()) slots_.resize(number + 1);
    Slot& slot = slots_[number];
    slot.round = round_;
    const bool other = slot.cgroup_id != owner.subject->cgroup_id || slot.tgid != owner.tgid;
    if (slot.kind != SlotKind::Unknown && other) forget(slot);
  }
  for (Slot& slot : slots_) {
    if (slot.round != round_ && slot.kind != SlotKind::Unknown) forget(slot);
  }
  // The ended ones first: a stream begins with the first life.
  for (const bool ended : {true, false}) {
    for (const auto& [number, owner] : identity.slots) {
      if (number < options_.max_slots && owner.subject && owner.ended == ended) place(number, owner, round);
    }
  }
  for (auto& stream : streams_) {
    if (stream->wanted_round == round_) set_plan(*stream, stream->wanted);
    stream->wanted = nullptr;
  }
  count_live(now);
  end_unused(now);
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
  const bool ends = owner.ended && !slot.ended;
  if (slot.kind == SlotKind::Selected && owner.ended && (slot.ended || (slot.stream && slot.stream->emitted))) {
    // Its last counts go where those before went; but if its name has only now become known, it is still in time.
    const bool unsent = slot.stream && !slot.stream->emitted;
    if (unsent && decision && slot.subject != owner.subject) join(slot, owner, *decision, round, fresh);
    slot.subject = owner.subject;
    slot.ended = true;
    if (ends) end_life(slot);
    return;
  }
  if (!decision) {
    if (slot.stream && !owner.ended && !slot.tgid) slot.stream->deselected = true;
    slot.kind = SlotKind::NotSelected;
    slot.ended = owner.ended;
    slot.subject = owner.subject;
    slot.decision = nullptr;
    return;
  }
  const bool same = slot.kind == SlotKind::Selected && slot.stream && slot.stream->state == StreamState::Live &&
                    slot.subject == owner.subject && same_for_pipeline(*slot.decision, **decision) &&
                    slot.stream->scope == StreamScope::Container &&
                    (!slot.group || slot.group->tgid() == 0 || slot.group->comm() == owner.comm);
  if (same) {
    follow_policy(*slot.stream, *decision);
  } else {
    join(slot, owner, *decision, round, fresh);
  }
  slot.kind = SlotKind::Selected;
  slot.ended = owner.ended;
  slot.subject = owner.subject;
  slot.decision = *decision;
  if (ends) end_life(slot);
}

StreamTable::Place StreamTable::place_of(const Subject& subject, const Decision& decision) {
  const StreamScope scope = scope_of(subject, decision);
  const bool per_process = decision.granularity == Granularity::Process && scope == StreamScope::Container;
  Resource resource = rules_.of(subject, decision, scope);
  const std::string instance = instance_of(resource);
  const bool named = !subject.pod_name.empty();
  // Outside Kubernetes a cgroup made again under an old path is somebody else.
  const std::string name = named || scope == StreamScope::Pod ? instance : subject.key();
  const std::string family = scope == StreamScope::Workload ? instance : family_key(subject, scope);
  // Counted by process or as a whole, it is one Resource: one stream, so that it has one writer.
  return {scope, per_process, std::move(resource), name, &family_of(family)};
}

Family& StreamTable::family_of(std::string key) {
  auto& family = families_[key];
  if (!family) {
    family = std::make_unique<Family>();
    family->key = std::move(key);
  }
  return *family;
}

void StreamTable::join(Slot& slot, const SlotOwner& owner, const DecisionPtr& decision, const Round& round,
                       bool fresh) {
  const Subject& subject = *owner.subject;
  Place place = place_of(subject, *decision);
  auto found = current_.find(place.key);
  Stream* stream = found == current_.end() ? nullptr : found->second;
  const uint64_t since = policy_time(round.policy, round.now);
  uint64_t start = std::max(since, subject.started_ns ? round.now.real_of(subject.started_ns) : 0);
  // Counted from its first instruction, provisionally, since the agent was there before it.
  if (fresh && subject.started_ns && options_.attached_ns && subject.started_ns >= options_.attached_ns) {
    start = round.now.real_of(subject.started_ns);
  }
  if (options_.not_before_ns) start = std::max(start, round.now.real_of(options_.not_before_ns));
  if (Stream* before = slot.stream; before && before != stream) {
    const bool whole = before->family == place.family || before->family->subject->cgroup_id == subject.cgroup_id;
    // Until something of it was sent, a stream may still change its name.
    const bool unsent = !before->emitted && before->state != StreamState::Parked && before->scope == place.scope &&
                        before->scope != StreamScope::Workload;
    if (unsent && whole && !stream) {
      rename(*before, place);
      stream = before;
    } else if (unsent && whole) {
      if (stream->state != StreamState::Live) revive(*stream);
      merge(*stream, *before, round.now);
    } else if (before->emitted) {
      start = round.now.real_ns;  // what it has counted so far was sent under the old name
    }
  }
  if (!stream && place.family->streams.size() >= kMaxStreamsPerContainer) stream = hold_name(slot, place);
  if (!stream) stream = begin(place, decision, start, round.now);
  if (!stream->emitted) stream->start_ns = std::min(stream->start_ns, start);
  if (stream->state != StreamState::Live) revive(*stream);
  Family& family = *stream->family;
  family.subject = owner.subject;
  std::erase(family.streams, stream);
  family.streams.push_back(stream);
  follow_policy(*stream, decision);
  slot.stream = stream;
  slot.group = place.per_process && owner.tgid ? process_of(*stream, owner) : &stream->own();
  if (place.family->streams.empty()) families_.erase(std::string(place.family->key));
}

Stream* StreamTable::begin(Place& place, const DecisionPtr& decision, uint64_t start_ns, Now now) {
  auto fresh = std::make_unique<Stream>();
  fresh->key = std::move(place.key);
  fresh->family = place.family;
  fresh->scope = place.scope;
  fresh->decision = decision;
  fresh->start_ns = start_ns;
  fresh->sent_boot_ns = now.boot_ns;
  fresh->groups.push_back(std::make_unique<Group>());
  fresh->resource = resource_for(std::move(place.resource));
  current_[fresh->key] = fresh.get();
  place.family->streams.push_back(fresh.get());
  streams_.push_back(std::move(fresh));
  return streams_.back().get();
}

// The same Resource has the same number, also after its end.
ResourcePtr StreamTable::resource_for(Resource resource) {
  std::weak_ptr<const Resource>& known = resources_[instance_of(resource)];
  if (ResourcePtr same = known.lock(); same && same->attributes == resource.attributes) return same;
  resource.id = next_resource_id_++;
  auto made = std::make_shared<const Resource>(std::move(resource));
  known = made;
  return made;
}

// One stream too many: it goes on under the labels it has.
Stream* StreamTable::hold_name(Slot& slot, const Place& place) {
  if (place.family->refused != place.key) {
    place.family->refused = place.key;
    ++labels_held_;
  }
  const bool own = slot.stream && slot.stream->family == place.family;
  return own ? slot.stream : place.family->streams.back();
}

std::vector<std::string> StreamTable::held_names() const {
  std::vector<std::string> names;
  for (const auto& [key, family] : families_) {
    if (!family->refused.empty()) names.push_back(key);
  }
  std::ranges::sort(names);
  return names;
}

void StreamTable::rename(Stream& stream, Place& place) {
  current_.erase(stream.key);
  stream.key = place.key;
  current_[stream.key] = &stream;
  if (place.resource.attributes != stream.resource->attributes) {
    stream.resource = resource_for(std::move(place.resource));
  }
  if (stream.family == place.family) return;
  leave_family(stream);
  stream.family = place.family;
}

// Whatever counted into the one counts into the other from now on.
void StreamTable::merge(Stream& into, Stream& from, Now now) {
  for (auto& group : into.groups) {
    const auto same = [&](const auto& other) {
      return other->tgid() == group->tgid() && other->comm() == group->comm();
    };
    if (group->ending && std::ranges::any_of(from.groups, same)) resume(into, *group);
  }
  if (on_merge) on_merge(into, from, now);
  if (!into.emitted) into.start_ns = std::min(into.start_ns, from.start_ns);
  for (Slot& slot : slots_) {
    if (slot.stream != &from) continue;
    slot.stream = &into;
    const auto is = [&](const auto& group) { return group.get() == slot.group; };
    if (std::ranges::none_of(from.groups, is)) continue;  // it has moved with its process
    const auto same = [&](const auto& group) { return group->goes_on_as(*slot.group); };
    slot.group = std::ranges::find_if(into.groups, same)->get();
  }
  current_.erase(from.key);
  from.key.clear();
  from.state = StreamState::Parked;
  from.done = true;
}

// A life that comes before the end was sent, or a label that goes back.
void StreamTable::revive(Stream& stream) {
  for (auto& group : stream.groups) {
    for (Accumulator& series : group->series()) {
      const bool asked = !stream.plan || stream.plan->asked[series.ordinal];
      if (series.state == SeriesState::Parked && asked) series.state = SeriesState::Returning;
    }
  }
  stream.returns = true;
  stream.state = StreamState::Live;
  stream.keeps = stream.done = false;
}

// A pod's containers may be under different policies: it has what any of them asks for, and the shortest period.
void StreamTable::follow_policy(Stream& stream, const DecisionPtr& decision) {
  const SeriesPlanPtr plan = plans_.of(*decision);
  const bool first = stream.wanted_round != round_;
  stream.wanted = first ? plan : plans_.both(stream.wanted, plan);
  if (first || decision->period_ms < stream.decision->period_ms) stream.decision = decision;
  stream.wanted_round = round_;
}

void StreamTable::set_plan(Stream& stream, const SeriesPlanPtr& plan) {
  if (stream.plan == plan || (stream.plan && stream.plan->asked == plan->asked)) return;
  stream.plan = plan;
  for (auto& group : stream.groups) {
    for (Accumulator& series : group->series()) {
      const bool out = series.state == SeriesState::Parked || series.state == SeriesState::Returning;
      if (!plan->asked[series.ordinal]) {
        if (out) series.state = SeriesState::Parked;
        if (series.state == SeriesState::Live) series.state = SeriesState::Ending;
      } else if (!group->ending) {
        series.state = out ? SeriesState::Returning : SeriesState::Live;
        stream.returns = stream.returns || out;
      }
    }
  }
  if (on_plan) on_plan(stream);
}

// A process that is here again before its end was told has never gone: no two groups say the same series.
void StreamTable::resume(Stream& stream, Group& group) {
  group.ending = false;
  for (Accumulator& series : group.series()) {
    if (stream.plan && !stream.plan->asked[series.ordinal]) continue;
    const bool out = series.state == SeriesState::Parked || series.state == SeriesState::Returning;
    series.state = out ? SeriesState::Returning : SeriesState::Live;
    stream.returns = stream.returns || out;
  }
}

Group* StreamTable::process_of(Stream& stream, const SlotOwner& owner) {
  for (auto& group : stream.groups) {
    if (group->tgid() != owner.tgid || group->comm() != owner.comm) continue;
    if (group->ending) resume(stream, *group);
    return group.get();
  }
  AttributeSet extra;
  add_attribute(extra, "process.pid", int64_t{owner.tgid});
  if (!owner.comm.empty()) add_attribute(extra, "process.executable.name", clean_text(owner.comm));
  stream.groups.push_back(std::make_unique<Group>(owner.tgid, owner.comm, std::move(extra)));
  Group& fresh = *stream.groups.back();
  fresh.start_ns = std::max(stream.start_ns, stream.last_time_ns ? stream.last_time_ns + kPointStep : 0);
  return &fresh;
}

}  // namespace sonde
