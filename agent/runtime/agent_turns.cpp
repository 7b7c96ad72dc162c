// SPDX-License-Identifier: Apache-2.0
// When this agent counts and when it exports while another one runs on the machine; and what ends between collections.
#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/runtime/agent.h"
#include "agent/runtime/cluster_options.h"

namespace sonde {
namespace {

constexpr uint64_t kReleasedEvery = kGraceNs + 50 * kMillisecond;

}  // namespace

// One collection. The snapshots first: the pipeline then knows the holder of every slot whose rows are read, and no holder of
// one that is given back.
CollectStats Agent::read_rows(Rows rows) {
  const bool all = rows == Rows::All;
  aggregator_->begin_collection(control_->identity(), control_->decisions(), Now::read());
  control_->collection_began();
  CollectStats stats =
      all ? engine_->collect(*aggregator_, clear_mask(), true) : engine_->collect_released(*aggregator_, clear_mask());
  aggregator_->end_collection(Now::read(), all);
  return stats;
}

void Agent::collect_released() {
  read_rows(Rows::Released);
  settle();
}

void Agent::settle() {
  control_->collection_ended();
  next_released_ns_ = boottime_ns() + kReleasedEvery;
}

// What was counted while another agent counted too is what that one has sent.
void Agent::follow_turns(uint64_t now) {
  const bool could = may_write();
  if (counting_.follow(now)) {
    read_rows(Rows::All);
    settle();
    aggregator_ = std::make_unique<Aggregator>(aggregator_options(host_name()), self_.get());
    timed_ = nullptr;
    self_->start_at(Now::read());
  }
  writing_.follow(now);
  if (could == may_write()) return;
  if (could) {
    // Where its streams stand to what the other has sent nobody knows: a new start does.
    spdlog::error("this agent was unresponsive for {} s and another one has taken over: exiting",
                  WriteTurn::kSilence / kSecond);
    stop();
  } else {
    spdlog::info("the previous agent has ended: this one exports from now on");
    next_collect_ns_ = std::min(next_collect_ns_, aggregator_->next_due(now));
  }
}

// Before slots get other owners. While another agent exports it also sends the spans: this one gives no tokens for them.
void Agent::follow_spans(uint64_t now) {
  if (!may_write()) return;
  spans_->turn(*control_->identity(), *control_->decisions(), config_.ceilings.trees_per_second, now);
}

SpanStats Agent::span_stats() const {
  SpanStats stats = spans_->stats();
  for (const auto& of_module : engine_->losses()) stats.buffer_full += of_module[SONDE_LOSS_SPAN];
  return stats;
}

// A stream begins with a collection, and only then is it known when it is due: what is newly selected must not wait for the
// longer periods of others.
void Agent::follow_periods(uint64_t now) {
  if (timed_ == control_->decisions()) return;
  timed_ = control_->decisions();
  for (const auto& [slot, decision] : timed_->slots) {
    if (!decision || !decision->selected) continue;
    next_collect_ns_ = std::min(next_collect_ns_, now + decision->period_ms * kMillisecond);
  }
}

void Agent::warn_of_turns(std::vector<std::string>& warnings) const {
  if (!may_write()) {
    warnings.push_back(
        fmt::format("another agent on this machine is exporting (see {}); this one counts and waits until it has ended",
                    writing_.path()));
  }
  if (!writing_.error().empty()) warnings.push_back(writing_.error());
}

}  // namespace sonde
