// SPDX-License-Identifier: Apache-2.0
// What happens to a stream's series when a run of its container ends, when it is parked and when it resumes.
#include <algorithm>

#include "agent/pipeline/aggregator_impl.h"

namespace sonde {

// Nothing is open or connected in a container that has ended. Whatever else counts into the stream says its own values in
// this same collection.
void Aggregator::Impl::end_life(Group& group) {
  for (Accumulator& series : group.series()) {
    const CatalogSeries& info = catalog_[series.ordinal];
    if (!is_state(*info.metric, info.source) || info.metric->instrument == Instrument::Gauge) continue;
    series.value = 0;
    series.stamp = 0;
  }
}

// A gauge has nothing to say of a container that does not run.
void Aggregator::Impl::end_gauges() {
  for (auto& stream : table_.streams()) {
    if (stream->live || stream->state != StreamState::Live) continue;
    for (Accumulator& series : stream->own().series()) {
      const bool gauge = catalog_[series.ordinal].metric->instrument == Instrument::Gauge;
      if (gauge && series.state == SeriesState::Live) series.state = SeriesState::Ending;
    }
  }
}

// It goes on with the first sample of the next life, also where its end mark is still to be sent.
Accumulator* Aggregator::Impl::state_of(const Slot& slot, const Located& located) {
  Accumulator* known = slot.group->find_key(located.key);
  if (known && known->state == SeriesState::Live) return known;
  const bool asked = !slot.stream->plan || slot.stream->plan->asked[located.ordinal];
  const bool ends = known && (known->state == SeriesState::Ending || known->state == SeriesState::Marking);
  if (ends && asked && !slot.ended && !slot.group->ending) {
    known->state = SeriesState::Live;
    return known;
  }
  return credit(*slot.stream, *slot.group, located, 0, 0);
}

// Before anything is added to series whose last value is out, they have to come back with that value.
void Aggregator::Impl::reopen(Stream& into, const Stream& from, Now now) {
  for (const auto& group : from.groups) {
    const auto same = std::ranges::find_if(into.groups, [&](const auto& other) { return other->goes_on_as(*group); });
    if (same == into.groups.end()) continue;
    for (const Accumulator& series : group->series()) {
      Accumulator* sum = (*same)->find_key(series.key);
      if (!sum) continue;
      if (sum->state == SeriesState::Marking) sum->state = SeriesState::Ending;  // its end mark is still here
      if (sum->state == SeriesState::Parked) sum->state = SeriesState::Returning;
      into.returns = into.returns || sum->state == SeriesState::Returning;
    }
  }
  if (!into.returns) return;
  say_returning(now);
  for (auto& group : into.groups) {
    for (Accumulator& series : group->series()) {
      const bool asked = !into.plan || into.plan->asked[series.ordinal];
      if (series.state == SeriesState::Live && !asked) series.state = SeriesState::Ending;
    }
  }
}

void Aggregator::Impl::merge(Stream& into, Stream& from, Now now) {
  reopen(into, from, now);
  const auto add = [&](Group& target, const Group& source) {
    for (const Accumulator& series : source.series()) {
      Accumulator* sum = target.find_key(series.key);
      if (!sum) sum = &create(into, target, {series.ordinal, series.key, series.attributes});
      const CatalogSeries& info = catalog_[series.ordinal];
      if (!is_state(*info.metric, info.source)) sum->add(series);
    }
  };
  for (auto& group : from.groups) {
    // A process may be in both: it is one.
    const auto same = std::ranges::find_if(into.groups, [&](const auto& other) { return other->goes_on_as(*group); });
    if (same != into.groups.end()) {
      add(**same, *group);
      continue;
    }
    // Its process may have been in the other before, and have ended there.
    if (into.last_time_ns) group->start_ns = std::max(group->start_ns, into.last_time_ns + kPointStep);
    const std::size_t moved = group->series().size();
    into.groups.push_back(std::move(group));
    into.series += moved;
    from.series -= moved;
  }
  std::erase(from.groups, nullptr);
}

// Series that were ended and are asked for again go on with their old totals. Those are said before anything is added:
// what came meanwhile is then seen as an increase, and it is the whole of it.
void Aggregator::Impl::say_returning(Now now) {
  const auto returns = [](const auto& stream) { return stream->returns; };
  if (!node_.returns && std::ranges::none_of(table_.streams(), returns)) return;
  if (!early_) early_ = batches_.take(0, 0, 0);
  BatchWriter writer(catalog_, *early_, now);
  for (auto& stream : table_.streams()) {
    if (stream->returns) say_returning(writer, *stream);
  }
  if (node_.returns) say_returning(writer, node_);
}

void Aggregator::Impl::say_returning(BatchWriter& writer, Stream& stream) {
  writer.begin(stream.resource);
  const std::size_t returned = writer.write_returning(stream);
  writer.end();
  stream.returns = false;
  stream.series += returned;
  series_ += returned;
  parked_ -= returned;
}

// Its series have had their end marks. Of a process nothing is kept: it goes on from zero, with a later start.
void Aggregator::Impl::park(Stream& stream) {
  leave_books(stream);
  stream.groups.resize(1);
  stream.series = 0;
  stream.own().erase_if([&](const Accumulator& series) {
    return is_state(*catalog_[series.ordinal].metric, catalog_[series.ordinal].source);
  });
  for (Accumulator& series : stream.own().series()) series.state = SeriesState::Parked;
  parked_ += stream.own().series().size();
}

void Aggregator::Impl::leave_books(Stream& stream) {
  series_ -= stream.series;
  for (const auto& group : stream.groups) {
    parked_ -= static_cast<std::size_t>(std::ranges::count(group->series(), SeriesState::Parked, &Accumulator::state));
  }
}

}  // namespace sonde
