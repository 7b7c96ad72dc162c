// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/span_budget.h"

#include <algorithm>
#include <cmath>

namespace sonde {
namespace {

constexpr double kShareWhileOthersWait = 1.0 / 3;

}  // namespace

SpanRefill SpanBudget::refill(const std::vector<SpanBudgetSlot>& slots, int64_t node_tokens, double most_per_second,
                              uint64_t now_ns) {
  const double seconds = last_ns_ && now_ns > last_ns_ ? static_cast<double>(now_ns - last_ns_) / 1e9 : 0;
  last_ns_ = now_ns;

  std::map<std::string, double> rates;
  for (const SpanBudgetSlot& one : slots) rates[one.policy] = one.trees_per_second;
  for (const auto& [name, per_second] : rates) {
    policies_.try_emplace(name, OfPolicy{.level = kSpanBurstSeconds * per_second});
    policies_[name].waiting = 0;
    policies_[name].seen_ns = now_ns;
  }

  // What was spent, and who waits.
  std::vector<bool> waits(slots.size());
  for (std::size_t i = 0; i < slots.size(); ++i) {
    OfSlot& of = slots_[slots[i].slot];
    OfPolicy& policy = policies_[slots[i].policy];
    if (of.policy != slots[i].policy) {
      of = {.share = kSpanBurstSeconds * slots[i].trees_per_second, .granted = slots[i].tokens, .policy = slots[i].policy};
    }
    of.seen_ns = now_ns;
    const auto spent = static_cast<double>(std::max<int64_t>(of.granted - slots[i].tokens, 0));
    of.share -= spent;
    policy.level -= spent;
    // A span that was sent takes the number along: what is there after one is new.
    waits[i] = slots[i].suppressed != 0 && (slots[i].suppressed != of.suppressed || spent > 0);
    of.suppressed = slots[i].suppressed;
    policy.waiting += waits[i];
  }

  double rate = 0;
  for (const auto& [name, per_second] : rates) {
    double& level = policies_[name].level;
    level = std::min(kSpanBurstSeconds * per_second, level + per_second * seconds);
    rate += per_second;
  }
  rate = std::min(rate, most_per_second);

  SpanRefill refill;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    OfSlot& of = slots_[slots[i].slot];
    const OfPolicy& policy = policies_[slots[i].policy];
    const double part = policy.waiting > (waits[i] ? 1U : 0U) ? kShareWhileOthersWait : 1;
    const double burst = kSpanBurstSeconds * slots[i].trees_per_second;
    of.share = std::min(burst * part, of.share + slots[i].trees_per_second * part * seconds);
    const double may = std::max(0.0, std::min(of.share, policy.level));
    of.granted = static_cast<int64_t>(std::floor(may));
    refill.slots.push_back(of.granted - slots[i].tokens);
  }

  const double burst = kSpanBurstSeconds * rate;
  if (node_fills_ && rate > 0) node_rest_ = burst - static_cast<double>(node_tokens);
  node_fills_ = rate <= 0;
  const double level = std::min(burst, static_cast<double>(node_tokens) + node_rest_ + rate * seconds);
  const double whole = std::floor(level);
  refill.node = static_cast<int64_t>(whole) - node_tokens;
  node_rest_ = rate > 0 ? level - whole : 0;

  std::erase_if(policies_, [&](const auto& entry) { return entry.second.seen_ns != now_ns; });
  std::erase_if(slots_, [&](const auto& entry) { return entry.second.seen_ns != now_ns; });
  return refill;
}

}  // namespace sonde
