// SPDX-License-Identifier: Apache-2.0
// Where a metric is shown under other names than its own: columns of `sonde top`, names of the tools that Sonde replaces.
#pragma once

#include <cstdint>
#include <string_view>

namespace sonde {

// A column of the table that `sonde top` shows without --probe: a sum as rate, a gauge as is, of a histogram the rate of
// its samples. The columns are in the order of the probes' names and their metrics.
struct TopSpec {
  std::string_view name;      // for --sort
  std::string_view title;     // in the table
  std::string_view field;     // in JSON
  char key = 0;               // sorts by it
  std::string_view value{};   // only series with an attribute of this value; empty: all of the metric's
  bool p99 = false;           // of a histogram: the 99th percentile instead
  bool first = false;         // the table is sorted by it unless --sort is given; one column is
  std::string_view legend{};  // what a short title means, for the line below the table
};

enum class LegacyKind : uint8_t { Counter, Gauge, Percent };

// A metric of `prometheus.naming: legacy`.
struct LegacyName {
  std::string_view name;  // counters without _total
  LegacyKind kind = LegacyKind::Counter;
  std::string_view help;
  bool pages = false;  // bytes in pages of the machine's size

  bool operator==(const LegacyName&) const = default;
};

// What a metric contributes to one. Contributions of all metrics add up, a histogram's with the number of its samples.
struct LegacySpec {
  LegacyName to;
  std::string_view key{};    // only series with this attribute; empty: all of the metric's
  std::string_view value{};  // of the attribute; empty: any
  int part = 1;              // factor of the sum
  int whole = 0;             // Percent: factor of the sum that is 100 %
  std::string_view label{};  // if not empty: the attribute's value becomes this label
};

}  // namespace sonde
