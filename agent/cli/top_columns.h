// SPDX-License-Identifier: Apache-2.0
// The columns of `sonde top`: those that the probes' tables mark (MetricSpec::top), or, with --probe, all that these measure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"
#include "agent/module/module.h"

namespace sonde::cli {

enum class Measure : uint8_t {
  Rate,   // of a sum, per second
  Value,  // of a gauge or up-down counter, as it is
  Count,  // of a histogram: operations per second
  P99,    // of a histogram, in seconds
};
enum class Form : uint8_t { Number, Bytes, Seconds };

struct TopColumn {
  std::string name;    // for --sort
  std::string title;   // in the table
  std::string field;   // in JSON
  std::string metric;  // sonde.…
  std::string value;   // one of a point's attributes has it; empty: all points are added up
  Measure measure = Measure::Rate;
  Form form = Form::Number;
  char key = 0;          // sorts by it while the table is shown
  bool first = false;    // sorts by it unless asked otherwise
  std::string legend{};  // for the line below the table

  bool operator==(const TopColumn&) const = default;
};

// Of all probes, as MetricSpec::top says.
std::vector<TopColumn> essential_columns();
// What this probe measures. Sums with a first attribute of few values have a column for each; a histogram has two.
std::vector<TopColumn> columns_of(const ModuleInfo& info);

// Probes by name or alias, each with its parts, separated by commas; `all`. Error: a sentence with the nearest existing
// name.
Result<std::vector<const ModuleInfo*>> probes_named(std::string_view list);
// The column of this name; `name` itself: npos. Error as above.
Result<std::size_t> column_named(const std::vector<TopColumn>& columns, std::string_view name);
inline constexpr std::size_t kByName = SIZE_MAX;

}  // namespace sonde::cli
