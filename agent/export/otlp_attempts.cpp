// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_attempts.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "agent/base/clock.h"

namespace sonde {
namespace {

constexpr uint64_t kLogEvery = 60'000'000'000;

}  // namespace

OtlpAttempts::OtlpAttempts(const OtlpRetry& retry, std::string what)
    : longest_ns_(retry.max_elapsed_ns),
      what_(std::move(what)),
      backoff_({retry.initial_ns, retry.max_ns, retry.multiplier, retry.jitter}) {}

void OtlpAttempts::answered() {
  failing_since_ns_ = 0;
  not_before_ns_ = 0;
  asked_until_ns_ = 0;
  backoff_.reset();
}

void OtlpAttempts::retry(const SendResult& result, bool flushing) {
  const uint64_t now = monotonic_ns();
  if (failing_since_ns_ == 0) failing_since_ns_ = now;
  not_before_ns_ = now + backoff_.next(result.retry_after_ns);
  asked_until_ns_ = now + result.retry_after_ns.value_or(0);
  if (flushing && result.retry_after_ns) not_before_ns_ = asked_until_ns_;
}

bool OtlpAttempts::too_long() const {
  return longest_ns_ > 0 && failing_since_ns_ > 0 && not_before_ns_ > failing_since_ns_ + longest_ns_;
}

bool OtlpAttempts::due_before(uint64_t own_end_ns, uint64_t asked_end_ns) const {
  return not_before_ns_ <= (asked_until_ns_ >= not_before_ns_ ? asked_end_ns : own_end_ns);
}

void OtlpAttempts::log(const SendResult& result, std::string_view destination, std::string_view error) {
  const bool delivered = result.verdict == SendResult::Verdict::Delivered;
  const uint64_t now = monotonic_ns();
  if (delivered && failing_) spdlog::info("{} to {} works again", what_, destination);
  if ((!delivered || !result.message.empty()) && (failing_ == delivered || now - last_log_ns_ >= kLogEvery)) {
    last_log_ns_ = now;
    spdlog::warn("{} to {}: {}{}", what_, destination, delivered ? std::string_view(result.message) : error,
                 result.verdict == SendResult::Verdict::Retry ? "; trying again" : "");
  }
  failing_ = !delivered;
}

}  // namespace sonde
