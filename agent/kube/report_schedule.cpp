// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/report_schedule.h"

#include <algorithm>

#include "agent/base/duration.h"
#include "agent/kube/api_client.h"

namespace sonde::kube {
namespace {

// A tenth up or down is not worth a write.
bool near(uint64_t a, uint64_t b) { return (a > b ? a - b : b - a) * 10 <= std::max(a, b); }

}  // namespace

void ReportSchedule::offer(NodeReport report, uint64_t nodes, uint64_t now_ns) {
  if (written_ && near(report.series, written_->series)) report.series = written_->series;
  newest_ = std::move(report);
  if (written_ && newest_ == *written_) {
    if (!retry_ns_) due_ns_ = 0;
    return;
  }
  const bool news = !written_ || !same_substance(newest_, *written_);
  if (due_ns_ && (due_for_news_ || !news)) return;  // it goes with what is due already
  const uint64_t spread = std::clamp(nodes * kSecond / kMostPerSecond, kShortestSpread, kLongestSpread);
  uint64_t least = now_ns;
  if (news) {
    if (wrote_ns_) least = std::max(least, wrote_ns_ + kShortestGap);
    const uint64_t whole = (kBurst - 1) * kRefill;
    if (spent_until_ns_ > least + whole) least = spent_until_ns_ - whole;
  } else {
    least = std::max(least, wrote_ns_ + std::min(kCountsGap + nodes * 60 * kMillisecond, kLongestCountsGap));
  }
  due_ns_ = least + up_to_(spread);
  due_for_news_ = news;
}

void ReportSchedule::wrote(NodeReport report, uint64_t now_ns) {
  const bool news = !written_ || !same_substance(report, *written_);
  if (news) spent_until_ns_ = std::max(spent_until_ns_, now_ns) + kRefill;
  written_ = std::move(report);
  wrote_ns_ = now_ns;
  due_ns_ = 0;
  due_for_news_ = false;
  retry_ns_ = 0;
}

void ReportSchedule::failed(uint64_t now_ns, uint64_t retry_after_ns) {
  retry_ns_ = retry_ns_ ? std::min(retry_ns_ * 2, kLongestRetry) : kShortestRetry;
  const uint64_t least = std::max(retry_ns_, std::min(retry_after_ns, kMostRetryAfter));
  due_ns_ = now_ns + least + up_to_(least);
  due_for_news_ = true;
}

void ReportSchedule::forget() { written_.reset(); }

}  // namespace sonde::kube
