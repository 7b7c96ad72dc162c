// SPDX-License-Identifier: Apache-2.0
// When a node's report is written: on change only, spread by chance, never often. Pure: time and chance are given.
//
// News (a policy's generation, a failure, a probe) waits at most for the spread, which grows with the cluster so that a
// change of one policy makes about kMostPerSecond writes a second over all nodes. Counts alone wait longer. A report that
// flaps is written ten times, then every 20 s.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "agent/kube/node_report.h"

namespace sonde::kube {

class ReportSchedule {
 public:
  static constexpr uint64_t kMostPerSecond = 100;  // writes of news, over all nodes
  static constexpr uint64_t kShortestSpread = 1'000'000'000;
  static constexpr uint64_t kLongestSpread = 60'000'000'000;
  static constexpr uint64_t kShortestGap = 2'000'000'000;  // between two writes of one node
  static constexpr uint64_t kBurst = 10;                   // writes of news that may follow each other so
  static constexpr uint64_t kRefill = 20'000'000'000;      // one more of them each
  static constexpr uint64_t kCountsGap = 30'000'000'000;   // of counts alone; 60 ms more for each node
  static constexpr uint64_t kLongestCountsGap = 600'000'000'000;
  static constexpr uint64_t kShortestRetry = 1'000'000'000;
  static constexpr uint64_t kLongestRetry = 60'000'000'000;

  // A number from 0 to its argument, by chance.
  using UpTo = std::function<uint64_t(uint64_t)>;
  explicit ReportSchedule(UpTo up_to) : up_to_(std::move(up_to)) {}

  // What is so now, and how many nodes there are (0: not known).
  void offer(NodeReport report, uint64_t nodes, uint64_t now_ns);
  // When there is something to write; 0: nothing.
  uint64_t due_ns() const { return due_ns_; }
  const NodeReport& newest() const { return newest_; }
  // What newest() was when it was sent.
  void wrote(NodeReport report, uint64_t now_ns);
  void failed(uint64_t now_ns, uint64_t retry_after_ns);  // it was not written; least time to wait, or 0
  void forget();                                          // what was written is not there any more

 private:
  UpTo up_to_;
  NodeReport newest_;
  std::optional<NodeReport> written_;
  uint64_t due_ns_ = 0;
  bool due_for_news_ = false;
  uint64_t wrote_ns_ = 0;
  uint64_t spent_until_ns_ = 0;  // when the burst is whole again
  uint64_t retry_ns_ = 0;        // the last wait; 0: the last write went well
};

}  // namespace sonde::kube
