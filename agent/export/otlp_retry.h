// SPDX-License-Identifier: Apache-2.0
// Exponential backoff with jitter. Values of time in nanoseconds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>

#include "agent/export/otlp_options.h"

namespace sonde {

class Backoff {
 public:
  explicit Backoff(const OtlpRetry& options, uint64_t seed = std::random_device{}())
      : options_(options), random_(seed), interval_(static_cast<double>(options.initial_ns)) {}

  void reset() { interval_ = static_cast<double>(options_.initial_ns); }

  // How long to wait before the next try. What the receiver asked for is never undercut, and the following waits grow
  // from there.
  uint64_t next(std::optional<uint64_t> asked_ns = std::nullopt) {
    const double asked = asked_ns ? static_cast<double>(*asked_ns) : 0;
    if (asked > interval_) interval_ = asked;
    const double spread = options_.jitter * interval_;
    std::uniform_real_distribution<double> around(interval_ - spread, interval_ + spread);
    const double wait = std::max(spread > 0 ? around(random_) : interval_, asked);
    interval_ = std::min(interval_ * options_.multiplier, std::max(static_cast<double>(options_.max_ns), asked));
    return static_cast<uint64_t>(wait);
  }

 private:
  const OtlpRetry options_;
  std::mt19937_64 random_;
  double interval_;
};

}  // namespace sonde
