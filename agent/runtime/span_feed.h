// SPDX-License-Identifier: Apache-2.0
// Spans from the kernel side to the sinks: at each turn of the loop what was sent is read, named and handed over, and tokens
// are given for more. For the agent's loop.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "agent/identity/subject.h"
#include "agent/kernel/span_ring.h"
#include "agent/pipeline/resource.h"
#include "agent/pipeline/span_budget.h"
#include "agent/pipeline/span_reader.h"
#include "agent/pipeline/stats.h"
#include "agent/policy/decision.h"

namespace sonde {

class SpanFeed {
 public:
  SpanFeed(SpanRing& ring, ResourceOptions resource, std::vector<SpanSink*> sinks);

  // With the snapshots that the kernel side was configured by before: a slot gets another owner only in a turn after one in which
  // what its last owner sent was read. `most_per_second`: spans on this node, for all policies together. now: CLOCK_BOOTTIME.
  void turn(const IdentitySnapshot& identity, const PolicySnapshot& decisions, double most_per_second, uint64_t now_ns);
  // No more tokens are given, what was sent is handed over.
  void finish(const IdentitySnapshot& identity, const PolicySnapshot& decisions);

  SpanStats stats() const { return stats_; }

 private:
  void read(const IdentitySnapshot& identity, const PolicySnapshot& decisions);
  void take(std::span<const std::byte> record, const SpanClock& clock, const IdentitySnapshot& identity,
            const PolicySnapshot& decisions, SpanBatch& batch);
  void give_tokens(const PolicySnapshot& decisions, double most_per_second, uint64_t now_ns);
  void count_suppressed();
  ResourcePtr resource_of(uint32_t slot, const SubjectPtr& subject, const DecisionPtr& decision);

  struct Named {
    SubjectPtr subject;
    DecisionPtr decision;
    ResourcePtr resource;
  };

  SpanRing& ring_;
  ResourceRules rules_;
  SpanReader reader_;
  std::vector<SpanSink*> sinks_;
  SpanBudget budget_;
  std::map<uint32_t, Named> named_;          // by slot, of those that had spans
  std::map<uint32_t, uint64_t> suppressed_;  // by slot, of those that have tokens: not told by any span yet
  uint64_t told_ = 0;                        // suppressed ones that spans reported, or of slots without tokens by now
  uint64_t next_tokens_ns_ = 0;
  SpanStats stats_;
};

}  // namespace sonde
