// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/aggregator_impl.h"

#include <algorithm>
#include <bit>

namespace sonde {
namespace {

constexpr std::size_t kMaxNodeSeries = 10'000;
constexpr std::size_t kMaxStreamSeries = 60'000;  // places in a group are 16 bits wide
constexpr std::size_t kMaxLimited = 64;

void count(Tally& tally, uint64_t samples, uint64_t amount) {
  tally.samples += samples;
  tally.value += amount;
}

}  // namespace

Aggregator::Impl::Impl(AggregatorOptions options, SelfMetrics* self)
    : options_(std::move(options)),
      self_(self),
      catalog_(options_.modules),
      rules_(options_.resource),
      table_(
          catalog_, rules_,
          {options_.max_slots, options_.attached_ns, options_.not_before_ns, options_.phase_ns, options_.may_return}) {
  auto resource = std::make_shared<Resource>(rules_.of_node());
  resource->id = table_.next_resource_id();
  node_.resource = unattributed_.resource = resource;
  node_.groups.push_back(std::make_unique<Group>());
  unattributed_.groups.push_back(
      std::make_unique<Group>(0, "", AttributeSet{{"sonde.subject", std::string("unattributed")}}));
  table_.on_plan = [this](Stream& stream) { start_from_zero(stream); };
  table_.on_life_end = [this](Group& group) { end_life(group); };
  table_.on_merge = [this](Stream& into, Stream& from, Now now) { merge(into, from, now); };
}

void Aggregator::Impl::begin_collection(std::shared_ptr<const IdentitySnapshot> identity,
                                        std::shared_ptr<const PolicySnapshot> policy, Now now) {
  ++collection_;
  limited_.clear();
  if (node_.start_ns == 0) {
    const uint64_t since = std::max(options_.attached_ns, options_.not_before_ns);
    node_.start_ns = unattributed_.start_ns = now.real_of(since ? since : now.boot_ns);
    node_.sent_boot_ns = now.boot_ns;
  }
  if (identity && policy && (identity != identity_ || policy != policy_)) {
    identity_ = std::move(identity);
    policy_ = std::move(policy);
    table_.apply(*identity_, *policy_, now);
    follow_node_policy();
    say_returning(now);
    end_gauges();
    resolve_pending();
  }
}

void Aggregator::Impl::end_collection(Now now, bool everything) {
  if (everything) table_.settle();
  table_.end_unused(now);
  for (auto it = pending_.begin(); it != pending_.end();) {
    if (++it->second.collections < options_.pending_collections) {
      ++it;
      continue;
    }
    move_all(it->second.group, [&](const Located& located, const Accumulator& from) {
      return unattributed(located, Detour::UnknownSlot, from.stamp, from.amount());
    });
    it = pending_.erase(it);
  }
  publish_stats();
}

Accumulator* Aggregator::Impl::route(uint32_t number, SeriesId id, Source source, uint64_t amount) {
  const int ordinal = catalog_.ordinal(id);
  if (ordinal < 0) return discard(Discard::UnknownSeries, 1, amount);
  const Source declared = catalog_[ordinal].source;
  const bool counts = declared == Source::Counter || declared == Source::Cells ||
                      (declared == Source::Read && !is_state(*catalog_[ordinal].metric, declared));
  const bool fits = source == Source::Counter ? counts : is_histogram(declared);
  if (!fits) return discard(Discard::UnknownSeries, 1, amount);

  const Located located = catalog_.locate(ordinal, id);
  if (number == SONDE_SLOT_NODE) return node_series(located, amount);
  if (catalog_[located.ordinal].metric->node) return discard(Discard::NotAsked, 1, amount);
  Slot* slot = table_.find(number);
  if (number == SONDE_SLOT_UNATTRIBUTED || (slot && slot->kind == SlotKind::Unattributed)) {
    return unattributed(located, Detour::UnattributedSlot, 1, amount);
  }
  if (number == SONDE_SLOT_IGNORED) return discard(Discard::NotSelected, 1, amount);
  if (!slot || slot->kind == SlotKind::Unknown) return hold(number, located, amount);
  if (slot->stream) return credit(*slot->stream, *slot->group, located, 1, amount);
  if (slot->kind == SlotKind::NotSelected) return discard(Discard::NotSelected, 1, amount);
  return unattributed(located, Detour::AfterEnd, 1, amount);
}

Accumulator* Aggregator::Impl::discard(Discard why, uint64_t samples, uint64_t amount) {
  count(stats_.discards[static_cast<std::size_t>(why)], samples, amount);
  return nullptr;
}

Accumulator& Aggregator::Impl::create(Stream& stream, Group& group, const Located& located) {
  ++stream.series;
  ++series_;
  return group.insert(located, catalog_);
}

Accumulator* Aggregator::Impl::credit(Stream& stream, Group& group, const Located& located, uint64_t samples,
                                      uint64_t amount) {
  Accumulator* const known = group.find_key(located.key);
  if (known && known->takes_samples()) return known;
  if (known && known->state == SeriesState::Marking) return discard(Discard::NotAsked, samples, amount);
  if (stream.plan && !stream.plan->asked[located.ordinal]) {
    const uint16_t coarse = stream.plan->instead[located.ordinal];
    if (coarse == kNoSeries) return discard(Discard::NotAsked, samples, amount);
    return credit(stream, group, {coarse, catalog_[coarse].key, catalog_[coarse].attributes}, samples, amount);
  }

  if (known) return discard(Discard::NotAsked, samples, amount);  // of a stream that is parked

  const Decision& decision = *stream.decision;
  const auto limit = [](int configured) { return static_cast<std::size_t>(std::max(configured, 0)); };
  const bool node_full = series_ >= limit(decision.series_per_node);
  const bool full = stream.series >= std::min(limit(decision.series_per_container), kMaxStreamSeries);
  const bool hard = series_ + parked_ >= options_.max_series;
  // The one series of a metric without attributes is no combination in excess.
  const bool plain = located.attributes->empty() && group.extra().empty();
  if (node_full && limited_.size() < kMaxLimited) limited_.insert(series_limit_owner(decision));
  if (hard || ((node_full || full) && !plain)) {
    const Detour why = hard ? Detour::HardLimit : full ? Detour::SeriesPerContainer : Detour::SeriesPerNode;
    return fold(stream, located, why, samples, amount);
  }
  Accumulator& series = create(stream, group, located);
  if (group.ending) series.state = SeriesState::Ending;
  return &series;
}

Accumulator* Aggregator::Impl::fold(Stream& stream, const Located& located, Detour why, uint64_t samples,
                                    uint64_t amount) {
  Located overflow{located.ordinal, catalog_.overflow_key(located.ordinal), catalog_.overflow()};
  Accumulator* series = stream.own().find_key(overflow.key);
  if (!series && why == Detour::HardLimit) return unattributed(located, why, samples, amount);
  if (series && !series->takes_samples()) return discard(Discard::NotAsked, samples, amount);
  count(stats_.detours[static_cast<std::size_t>(why)], samples, amount);
  if (!series) series = &create(stream, stream.own(), overflow);
  return series;
}

Accumulator* Aggregator::Impl::unattributed(const Located& located, Detour why, uint64_t samples, uint64_t amount) {
  count(stats_.detours[static_cast<std::size_t>(why)], samples, amount);
  return of_node(unattributed_, located, options_.unattributed_series);
}

// What the policies ask of the node: series that are no longer asked for end, as a container's do.
void Aggregator::Impl::follow_node_policy() {
  const auto found = policy_->slots.find(SONDE_SLOT_NODE);
  DecisionPtr decision = found != policy_->slots.end() && found->second->selected ? found->second : nullptr;
  if (decision == node_decision_) return;
  node_decision_ = std::move(decision);
  std::vector<bool> asked(catalog_.size());
  for (std::size_t i = 0; i < asked.size(); ++i) {
    asked[i] = node_decision_ && catalog_[i].metric->node && catalog_.asked(i, *node_decision_);
  }
  node_asked_ = std::move(asked);
  for (Accumulator& series : node_.own().series()) {
    if (series.state == SeriesState::Marking) continue;
    const bool asks = node_asked_[series.ordinal];
    if (series.state == SeriesState::Parked) {
      if (asks) series.state = SeriesState::Returning;
      node_.returns = node_.returns || asks;
    } else {
      series.state = asks ? SeriesState::Live : SeriesState::Ending;
    }
  }
  for (std::size_t i = 0; i < node_asked_.size(); ++i) {
    const CatalogSeries& series = catalog_[i];
    if (!node_asked_[i] || !series.metric->from_zero || is_keyed(series.source) ||
        is_state(*series.metric, series.source))
      continue;
    of_node(node_, {static_cast<uint16_t>(i), series.key, series.attributes}, kMaxNodeSeries);
  }
}

Accumulator* Aggregator::Impl::node_series(const Located& located, uint64_t amount) {
  if (located.ordinal >= node_asked_.size() || !node_asked_[located.ordinal])
    return discard(Discard::NotAsked, 1, amount);
  Accumulator* series = of_node(node_, located, kMaxNodeSeries);
  return series->takes_samples() ? series : discard(Discard::NotAsked, 1, amount);
}

// Not limited by policies; bounded all the same, by folding.
Accumulator* Aggregator::Impl::of_node(Stream& stream, const Located& located, std::size_t limit) {
  Group& group = stream.own();
  if (Accumulator* series = group.find_key(located.key)) return series;
  if (stream.series < limit) return &create(stream, group, located);
  Located overflow{located.ordinal, catalog_.overflow_key(located.ordinal), catalog_.overflow()};
  if (Accumulator* series = group.find_key(overflow.key)) return series;
  return &create(stream, group, overflow);
}

// A slot that the snapshots do not know yet: kept until they do.
Accumulator* Aggregator::Impl::hold(uint32_t number, const Located& located, uint64_t amount) {
  auto found = pending_.find(number);
  if (found == pending_.end()) {
    if (pending_.size() >= options_.max_pending_slots || number >= options_.max_slots) {
      return unattributed(located, Detour::PendingFull, 1, amount);
    }
    found = pending_.try_emplace(number).first;
  }
  Group& group = found->second.group;
  Accumulator* series = group.find_key(located.key);
  if (!series) series = &group.insert(located, catalog_);
  ++series->stamp;
  return series;
}

void Aggregator::Impl::resolve_pending() {
  for (auto it = pending_.begin(); it != pending_.end();) {
    Slot* slot = table_.find(it->first);
    if (!slot || slot->kind == SlotKind::Unknown) {
      ++it;
      continue;
    }
    settle(*slot, it->second);
    it = pending_.erase(it);
  }
}

void Aggregator::Impl::settle(Slot& slot, Pending& pending) {
  move_all(pending.group, [&](const Located& located, const Accumulator& from) -> Accumulator* {
    if (slot.kind == SlotKind::Unattributed) {
      return unattributed(located, Detour::UnattributedSlot, from.stamp, from.amount());
    }
    if (!slot.stream) return discard(Discard::NotSelected, from.stamp, from.amount());
    return credit(*slot.stream, *slot.group, located, from.stamp, from.amount());
  });
}

void Aggregator::Impl::move_all(Group& from,
                                const std::function<Accumulator*(const Located&, const Accumulator&)>& to) {
  for (const Accumulator& series : from.series()) {
    const Located located{series.ordinal, series.key, series.attributes};
    if (Accumulator* target = to(located, series)) target->add(series);
  }
}

// The latest value; slots of one stream add up within a collection. Nothing is lost where it goes nowhere: the next
// collection has it again.
void Aggregator::Impl::gauge(uint32_t number, SeriesId id, int64_t value) {
  const int ordinal = catalog_.ordinal(id);
  if (ordinal < 0 || !is_state(*catalog_[ordinal].metric, catalog_[ordinal].source)) return;
  const Located located = catalog_.locate(ordinal, id);
  Slot* slot = table_.find(number);
  Accumulator* series = nullptr;
  if (number == SONDE_SLOT_NODE) {
    series = node_series(located, 0);
  } else if (catalog_[ordinal].metric->node) {
    return;
  } else if (slot && slot->stream && slot->kind == SlotKind::Selected && slot->stream->state == StreamState::Live) {
    series = state_of(*slot, located);
  }
  if (!series) return;
  const int64_t before = series->stamp == collection_ ? std::bit_cast<int64_t>(series->value) : 0;
  series->value = std::bit_cast<uint64_t>(before + value);
  series->stamp = collection_;
}

void Aggregator::Impl::start_from_zero(Stream& stream) {
  for (const uint16_t ordinal : stream.plan->from_zero) {
    if (stream.own().find_key(catalog_[ordinal].key)) continue;
    const CatalogSeries& series = catalog_[ordinal];
    if (stream.series >= static_cast<std::size_t>(std::max(stream.decision->series_per_container, 0))) return;
    if (series_ + parked_ >= options_.max_series) return;
    create(stream, stream.own(), {ordinal, series.key, series.attributes});
  }
}

void Aggregator::Impl::publish_stats() {
  stats_.streams = static_cast<uint64_t>(
      std::ranges::count_if(table_.streams(), [](const auto& stream) { return stream->state != StreamState::Parked; }));
  stats_.labels_held = table_.labels_held();
  stats_.labels_held_by = stats_.labels_held ? table_.held_names() : std::vector<std::string>();
  stats_.series = series_;
  stats_.pending_slots = pending_.size();
  stats_.series_limited.assign(limited_.begin(), limited_.end());
  const MutexLock lock(mutex_);
  published_ = stats_;
}

AggregatorStats Aggregator::Impl::stats() const {
  const MutexLock lock(mutex_);
  return published_;
}

}  // namespace sonde
