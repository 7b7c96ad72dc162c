// SPDX-License-Identifier: Apache-2.0
// How many spans may be recorded. The kernel side takes a token of the slot and one of the node for each span; here is
// computed how many tokens there are. A pure function of time and of what was spent.
//
// A policy has so many tokens a second, and as many as 30 seconds bring at once. Its slots see the same tokens: what one
// takes is missing for the others at the next turn. While others of the same policy have qualifying operations without a token,
// a slot gets at most a third of that. The node's tokens, which the kernel side counts exactly, bound all policies together.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sonde {

inline constexpr double kSpanBurstSeconds = 30;

struct SpanBudgetSlot {
  uint32_t slot = 0;
  std::string policy;
  double trees_per_second = 0;  // of the policy
  int64_t tokens = 0;           // in the kernel now
  uint64_t suppressed = 0;      // since the last span sent, all operations: in the kernel now
};

// What to add in the kernel.
struct SpanRefill {
  std::vector<int64_t> slots;  // in the order of what was given
  int64_t node = 0;
};

class SpanBudget {
 public:
  // `most_per_second`: of the node, for all policies together. now: CLOCK_BOOTTIME.
  SpanRefill refill(const std::vector<SpanBudgetSlot>& slots, int64_t node_tokens, double most_per_second, uint64_t now_ns);

 private:
  struct OfPolicy {
    double level = 0;      // tokens; below 0: slots took some at the same time
    unsigned waiting = 0;  // slots
    uint64_t seen_ns = 0;  // of the last refill with it
  };
  struct OfSlot {
    double share = 0;     // of the policy's tokens that this slot may still take
    int64_t granted = 0;  // in the kernel after the last refill
    std::string policy;
    uint64_t suppressed = 0;
    uint64_t seen_ns = 0;
  };

  std::map<std::string, OfPolicy> policies_;
  std::map<uint32_t, OfSlot> slots_;
  double node_rest_ = 0;    // part of a token
  bool node_fills_ = true;  // at the next refill with a policy
  uint64_t last_ns_ = 0;
};

}  // namespace sonde
