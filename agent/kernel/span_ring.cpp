// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/span_ring.h"

#include <bpf/libbpf.h>

#include <cerrno>
#include <utility>

#include "sonde/spans.h"

namespace sonde {

Result<std::unique_ptr<SpanRing>> SpanRing::open(Core& core) {
  std::unique_ptr<SpanRing> spans(new SpanRing(core));
  const auto record = [](void* self, void* data, std::size_t size) {
    (*static_cast<SpanRing*>(self)->take_)({static_cast<const std::byte*>(data), size});
    return 0;
  };
  spans->ring_ = ring_buffer__new(core.map_fd("sonde_spans"), record, spans.get(), nullptr);
  if (!spans->ring_) return Error::system("cannot read the ring of spans", errno);
  return spans;
}

SpanRing::~SpanRing() { ring_buffer__free(ring_); }

void SpanRing::read(const std::function<void(std::span<const std::byte>)>& take) {
  take_ = &take;
  ring_buffer__consume(ring_);
  take_ = nullptr;
}

int64_t SpanRing::tokens(uint32_t slot) const {
  return __atomic_load_n(&core_.span_budgets.at<sonde_span_budget>(slot)->tokens, __ATOMIC_RELAXED);
}

void SpanRing::add_tokens(uint32_t slot, int64_t more) {
  if (more) __atomic_add_fetch(&core_.span_budgets.at<sonde_span_budget>(slot)->tokens, more, __ATOMIC_SEQ_CST);
}

uint64_t SpanRing::suppressed(uint32_t slot) const {
  uint64_t sum = 0;
  for (const uint64_t& one : core_.span_budgets.at<sonde_span_budget>(slot)->suppressed) {
    sum += __atomic_load_n(&one, __ATOMIC_RELAXED);
  }
  return sum;
}

uint64_t SpanRing::take_suppressed(uint32_t slot) {
  uint64_t sum = 0;
  for (uint64_t& one : core_.span_budgets.at<sonde_span_budget>(slot)->suppressed) {
    sum += __atomic_exchange_n(&one, 0, __ATOMIC_SEQ_CST);
  }
  return sum;
}

}  // namespace sonde
