// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/aggregator.h"

#include "agent/pipeline/aggregator_impl.h"

namespace sonde {

Aggregator::Aggregator(AggregatorOptions options, SelfMetrics* self)
    : impl_(std::make_unique<Impl>(std::move(options), self)) {}
Aggregator::~Aggregator() = default;

void Aggregator::begin_collection(std::shared_ptr<const IdentitySnapshot> identity,
                                  std::shared_ptr<const PolicySnapshot> policy, Now now) {
  impl_->begin_collection(std::move(identity), std::move(policy), now);
}

void Aggregator::counter(uint32_t slot, SeriesId id, uint64_t delta) {
  impl_->received(delta);
  if (Accumulator* series = impl_->find(slot, id)) {
    series->value += delta;
  } else if (Accumulator* other = impl_->route(slot, id, Source::Counter, delta)) {
    other->value += delta;
  }
}

void Aggregator::gauge(uint32_t slot, SeriesId id, int64_t value) { impl_->gauge(slot, id, value); }

void Aggregator::histogram(uint32_t slot, SeriesId id, const HistogramDelta& delta) {
  impl_->received(delta.count);
  Accumulator* series = impl_->find(slot, id);
  if (!series || !series->histogram) series = impl_->route(slot, id, Source::Histogram, delta.count);
  if (series) series->add(delta);
}

void Aggregator::end_collection(Now now, bool everything) { impl_->end_collection(now, everything); }
BatchPtr Aggregator::emit(Now now) { return impl_->emit(now, false); }
BatchPtr Aggregator::emit_all(Now now) { return impl_->emit(now, true); }
uint64_t Aggregator::next_due(uint64_t boot_ns) const { return impl_->next_due(boot_ns); }
AggregatorStats Aggregator::stats() const { return impl_->stats(); }

}  // namespace sonde
