// SPDX-License-Identifier: Apache-2.0
// When the next attempt to reach a receiver is due, and what the log says about it: the same for metrics and for spans.
// Guarded by the lock of the exporter that has it. Times are CLOCK_MONOTONIC in ns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/base/backoff.h"
#include "agent/export/otlp_sender.h"

namespace sonde {

class OtlpAttempts {
 public:
  // `what`: "OTLP export", the start of a line in the log.
  OtlpAttempts(const OtlpRetry& retry, std::string what);

  // The receiver answers: whatever fails next fails for the first time.
  void answered();
  // The request is to be sent again. `flushing`: somebody waits for all to be sent, so that of the wait only what the receiver
  // has requested remains.
  void retry(const SendResult& result, bool flushing);
  // Retried for longer than OtlpRetry::max_elapsed_ns. The next request begins its own time.
  bool too_long() const;
  void forget_failures() { failing_since_ns_ = 0; }

  uint64_t not_before_ns() const { return not_before_ns_; }
  // Our own patience may be cut short, not the receiver's wish.
  void hurry() { not_before_ns_ = asked_until_ns_; }
  // Nobody is there, and the next attempt would come too late to have its answer: waiting for it is of no use. What the receiver
  // itself has requested is waited for to the end.
  bool due_before(uint64_t own_end_ns, uint64_t asked_end_ns) const;

  // Logs the first failure, the same again once a minute, and that it works again. `error`: a sentence.
  void log(const SendResult& result, std::string_view destination, std::string_view error);

 private:
  const uint64_t longest_ns_;
  const std::string what_;
  Backoff backoff_;
  uint64_t not_before_ns_ = 0;
  uint64_t asked_until_ns_ = 0;    // the part of that wait that the receiver has requested
  uint64_t failing_since_ns_ = 0;  // of this request; 0: not failing
  uint64_t last_log_ns_ = 0;
  bool failing_ = false;
};

}  // namespace sonde
