// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/span_feed.h"

#include <algorithm>
#include <utility>

#include "sonde/abi.h"

namespace sonde {
namespace {

constexpr uint64_t kTokensEvery = 200'000'000;

}  // namespace

SpanFeed::SpanFeed(SpanRing& ring, ResourceOptions resource, std::vector<SpanSink*> sinks)
    : ring_(ring), rules_(std::move(resource)), sinks_(std::move(sinks)) {}

void SpanFeed::turn(const IdentitySnapshot& identity, const PolicySnapshot& decisions, double most_per_second,
                    uint64_t now_ns) {
  read(identity, decisions);
  if (now_ns < next_tokens_ns_) return;
  next_tokens_ns_ = now_ns + kTokensEvery;
  give_tokens(decisions, most_per_second, now_ns);
}

void SpanFeed::finish(const IdentitySnapshot& identity, const PolicySnapshot& decisions) {
  ring_.add_tokens(SONDE_SLOT_NODE, -std::max<int64_t>(ring_.tokens(SONDE_SLOT_NODE), 0));
  read(identity, decisions);
}

void SpanFeed::read(const IdentitySnapshot& identity, const PolicySnapshot& decisions) {
  SpanBatch batch;
  const SpanClock clock = SpanClock::read();
  ring_.read([&](std::span<const std::byte> record) { take(record, clock, identity, decisions, batch); });
  if (batch.spans.empty()) return;
  stats_.recorded += batch.spans.size();
  // Those of one Resource next to each other, otherwise as they came.
  std::ranges::stable_sort(batch.spans, {}, &Span::slot);
  const auto shared = std::make_shared<const SpanBatch>(std::move(batch));
  for (SpanSink* sink : sinks_) sink->consume(shared);
}

void SpanFeed::take(std::span<const std::byte> bytes, const SpanClock& clock, const IdentitySnapshot& identity,
                    const PolicySnapshot& decisions, SpanBatch& batch) {
  const auto record = span_record(bytes);
  if (!record) {
    ++stats_.malformed;
    return;
  }
  told_ += record->suppressed;
  const auto owner = identity.slots.find(record->slot);
  const auto decision = decisions.slots.find(record->slot);
  const bool known = owner != identity.slots.end() && decision != decisions.slots.end() && decision->second;
  if (!known) {
    ++stats_.unknown_owner;
    return;
  }
  auto span = reader_.read(*record, decision->second->traces, clock);
  if (!span) {
    ++stats_.not_requested;
    return;
  }
  span->resource = resource_of(record->slot, owner->second.subject, decision->second);
  batch.spans.push_back(std::move(*span));
}

ResourcePtr SpanFeed::resource_of(uint32_t slot, const SubjectPtr& subject, const DecisionPtr& decision) {
  Named& named = named_[slot];
  if (named.subject != subject || named.decision != decision) {
    named = {subject, decision, std::make_shared<const Resource>(rules_.of_spans(*subject, *decision))};
  }
  return named.resource;
}

void SpanFeed::give_tokens(const PolicySnapshot& decisions, double most_per_second, uint64_t now_ns) {
  std::vector<SpanBudgetSlot> slots;
  for (const auto& [slot, decision] : decisions.slots) {
    if (!decision || decision->traces.policy.empty() || slot == SONDE_SLOT_NODE) continue;
    slots.push_back({slot, decision->traces.policy, decision->traces.trees_per_second, ring_.tokens(slot),
                     ring_.suppressed(slot)});
  }
  std::erase_if(named_, [&](const auto& entry) { return !decisions.slots.contains(entry.first); });
  if (slots.empty() && suppressed_.empty()) return;
  const SpanRefill refill = budget_.refill(slots, ring_.tokens(SONDE_SLOT_NODE), most_per_second, now_ns);
  std::map<uint32_t, uint64_t> suppressed;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    ring_.add_tokens(slots[i].slot, refill.slots[i]);
    suppressed[slots[i].slot] = slots[i].suppressed;
  }
  ring_.add_tokens(SONDE_SLOT_NODE, refill.node);
  for (const auto& [slot, before] : suppressed_) {
    if (suppressed.contains(slot)) continue;
    // Its owner may have left it already, with what nobody took.
    told_ += std::max(before, ring_.take_suppressed(slot));
    ring_.add_tokens(slot, -ring_.tokens(slot));
  }
  suppressed_ = std::move(suppressed);
  count_suppressed();
}

void SpanFeed::count_suppressed() {
  uint64_t sum = told_;
  for (const auto& [slot, count] : suppressed_) sum += count;
  stats_.suppressed = std::max(stats_.suppressed, sum);  // what a span took along and is still in the ring is in neither
}

}  // namespace sonde
