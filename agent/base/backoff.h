// SPDX-License-Identifier: Apache-2.0
// Chance, and waits that grow after each failure, spread by chance so that many nodes do not come back together. Times in
// nanoseconds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>

namespace sonde {

// Not for secrets. From one thread at a time.
class Chance {
 public:
  explicit Chance(uint64_t seed = std::random_device{}()) : random_(seed) {}
  uint64_t between(uint64_t least, uint64_t most) {
    return std::uniform_int_distribution<uint64_t>(least, most)(random_);
  }
  // Within a share of `middle` on both sides: 0.1 for a tenth.
  double around(double middle, double share) {
    if (share <= 0 || middle <= 0) return middle;
    return std::uniform_real_distribution<double>(middle - share * middle, middle + share * middle)(random_);
  }
  uint64_t around(uint64_t middle, double share) {
    return static_cast<uint64_t>(around(static_cast<double>(middle), share));
  }

 private:
  std::mt19937_64 random_;
};

struct RetryWaits {
  uint64_t initial_ns = 0;
  uint64_t max_ns = 0;
  double multiplier = 2;
  double jitter = 0.25;  // a wait of w is drawn from w * [1 - jitter, 1 + jitter]
};

class Backoff {
 public:
  explicit Backoff(const RetryWaits& waits, Chance chance = Chance())
      : waits_(waits), chance_(chance), interval_(static_cast<double>(waits.initial_ns)) {}

  void reset() { interval_ = static_cast<double>(waits_.initial_ns); }

  // How long to wait before the next try. What the other side asked for is never undercut, and the following waits grow
  // from there.
  uint64_t next(std::optional<uint64_t> asked_ns = std::nullopt) {
    const double asked = asked_ns ? static_cast<double>(*asked_ns) : 0;
    if (asked > interval_) interval_ = asked;
    const double wait = std::max(chance_.around(interval_, waits_.jitter), asked);
    interval_ = std::min(interval_ * waits_.multiplier, std::max(static_cast<double>(waits_.max_ns), asked));
    return static_cast<uint64_t>(wait);
  }

 private:
  const RetryWaits waits_;
  Chance chance_;
  double interval_;
};

}  // namespace sonde
