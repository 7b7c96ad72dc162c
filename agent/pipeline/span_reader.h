// SPDX-License-Identifier: Apache-2.0
// From a record of the kernel side to a Span. Records are checked: nothing in them is trusted to be in range.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "agent/module/module.h"
#include "agent/pipeline/span.h"
#include "agent/policy/decision.h"
#include "sonde/spans.h"

namespace sonde {

// One instant on the kernel side's clock and on the wall clock. Read when spans are converted, so that steps of the wall
// clock and suspends since the start of the agent do not shift them. What ended before a suspend and is read after it has the
// time of the resume: CLOCK_MONOTONIC stood still in between.
struct SpanClock {
  uint64_t monotonic_ns = 0;
  uint64_t real_ns = 0;

  static SpanClock read();
  // Of a time that is over; at least 1.
  uint64_t real_of(uint64_t monotonic) const;
};

// Of this size, with a known operation, and not ending before it starts.
std::optional<sonde_span> span_record(std::span<const std::byte> bytes);

// What the kernel side is to send for these settings.
sonde_span_config span_config(const TraceSettings& settings);

class SpanReader {
 public:
  explicit SpanReader(std::span<const ModuleEntry> modules = sonde::modules());

  // Without resource. nullopt: settings that are in force since do not record it, or its function's threshold is above that of
  // others, which the kernel side goes by.
  std::optional<Span> read(const sonde_span& record, const TraceSettings& settings, const SpanClock& clock) const;

 private:
  std::array<const Module*, kSpanOperations> modules_{};  // by operation; null: none sends spans of it
};

}  // namespace sonde
