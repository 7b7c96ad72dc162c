// SPDX-License-Identifier: Apache-2.0
// From OpenTelemetry names to Prometheus names, as the compatibility specification of OpenTelemetry says
// (translation strategy UnderscoreEscapingWithSuffixes, the one dashboards expect).
#pragma once

#include <string>
#include <string_view>

#include "agent/module/metric.h"

namespace sonde {

struct PrometheusName {
  std::string name;  // of the family; counters without _total: sonde_file_io_bytes
  std::string unit;  // bytes, seconds; empty if the name ends in none
};

PrometheusName prometheus_name(const MetricSpec& metric);

// Word of a UCUM unit: "By" is "bytes", "By/s" "bytes_per_second", "{packet}" empty.
std::string prometheus_unit(std::string_view ucum, Instrument instrument);

// Dots and all else that is not allowed become '_', runs of it one.
std::string prometheus_label(std::string_view key);

// Backslash and line end; in label values (and in OpenMetrics' HELP) also the double quote.
void append_escaped(std::string& out, std::string_view text, bool quotes);

}  // namespace sonde
