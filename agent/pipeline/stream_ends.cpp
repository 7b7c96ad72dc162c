// SPDX-License-Identifier: Apache-2.0
// Where streams end, and what is remembered of them.
#include <algorithm>

#include "agent/pipeline/stream_table.h"

namespace sonde {
namespace {

// Between two runs of a CronJob its workload's stream goes on.
constexpr uint64_t kWorkloadWait = 15 * 60 * uint64_t{1'000'000'000};
constexpr uint64_t kRememberEnded = 10 * 60 * uint64_t{1'000'000'000};
constexpr std::size_t kManyEnded = 256;  // then those that are too old are forgotten

const std::string& instance_of(const Stream& stream) {
  static const std::string none;
  const AttributeSet& attributes = stream.resource->attributes;
  const auto found = std::ranges::find(attributes, "service.instance.id", &Attribute::key);
  const auto* text = found == attributes.end() ? nullptr : std::get_if<std::string>(&found->value);
  return text ? *text : none;
}

}  // namespace

void StreamTable::end_life(Slot& slot) {
  if (on_life_end && slot.stream && slot.group && !slot.tgid) on_life_end(*slot.group);
}

void StreamTable::count_live(Now now) {
  for (auto& [key, family] : families_) family->live = 0;
  for (auto& stream : streams_) {
    stream->live = 0;
    for (auto& group : stream->groups) group->live = 0;
  }
  for (const Slot& slot : slots_) {
    if (slot.kind != SlotKind::Selected || !slot.stream || slot.ended) continue;
    ++slot.stream->live;
    ++slot.stream->family->live;
    if (slot.group) ++slot.group->live;
  }
  for (auto& stream : streams_) {
    if (stream->live) {
      stream->idle_boot_ns = 0;
      stream->deselected = false;
    } else if (!stream->idle_boot_ns) {
      stream->idle_boot_ns = now.boot_ns;
    }
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

// Does the stream go on though nothing counts into it? Its container may be started again.
bool StreamTable::waits(const Stream& stream, Now now) const {
  if (stream.deselected || !options_.may_return || !stream.family->subject) return false;
  if (stream.scope == StreamScope::Workload && now.boot_ns > stream.idle_boot_ns + kWorkloadWait) return false;
  return options_.may_return(*stream.family->subject, stream.scope);
}

void StreamTable::end_unused(Now now) {
  for (auto& stream : streams_) {
    if (stream->live || stream->done) continue;
    const bool others = stream->family->live > 0;  // the container goes on under other labels
    if (stream->state == StreamState::Live && others && !stream->deselected) {
      stream->state = StreamState::Ending;
      stream->keeps = true;
    } else if (!others && !waits(*stream, now)) {
      if (stream->state == StreamState::Live) stream->state = StreamState::Ending;
      stream->keeps = false;
      stream->done = stream->state == StreamState::Parked;
    } else if (stream->deselected && stream->state == StreamState::Live) {
      stream->state = StreamState::Ending;
    }
    if (stream->state != StreamState::Ending) continue;
    for (auto& group : stream->groups) {
      // What was to come back has its mark already.
      for (Accumulator& series : group->series()) {
        if (series.state == SeriesState::Returning) series.state = SeriesState::Parked;
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

void StreamTable::settle_start(Stream& stream) const {
  const auto ended = ended_.find(instance_of(stream));
  if (ended != ended_.end()) stream.start_ns = std::max(stream.start_ns, ended->second.last_ns + kPointStep);
}

void StreamTable::close(Stream& stream, Now now) {
  for (Slot& slot : slots_) {
    if (slot.stream != &stream) continue;
    slot.stream = nullptr;
    slot.group = nullptr;
  }
  if (stream.emitted) ended_[instance_of(stream)] = {stream.resource, stream.last_time_ns, now.boot_ns};
  stream.state = StreamState::Parked;
  stream.done = !stream.keeps;
}

void StreamTable::leave_family(Stream& stream) {
  std::erase(stream.family->streams, &stream);
  if (stream.family->streams.empty()) families_.erase(std::string(stream.family->key));
  stream.family = nullptr;
}

void StreamTable::sweep(Now now) {
  for (auto& stream : streams_) {
    if (stream->done) {
      if (auto found = current_.find(stream->key); found != current_.end() && found->second == stream.get())
        current_.erase(found);
      leave_family(*stream);
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
  if (resources_.size() > 2 * (streams_.size() + kManyEnded)) {
    std::erase_if(resources_, [](const auto& entry) { return entry.second.expired(); });
  }
  if (ended_.size() < kManyEnded) return;
  std::erase_if(ended_, [&](const auto& entry) { return now.boot_ns > entry.second.at_ns + kRememberEnded; });
}

}  // namespace sonde
