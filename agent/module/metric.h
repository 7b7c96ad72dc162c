// SPDX-License-Identifier: Apache-2.0
// The definition of a metric as constant data: the single source for export, docs, `sonde probes` and policy checks.
// The catalogue is docs/ops/metrics.md.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "agent/module/shown.h"

namespace sonde {

// A policy's preset and each probe's level; a level includes those before it. OptIn metrics are only requested by name.
enum class Level : uint8_t { None = 0, Minimal, Standard, Detailed, OptIn };

enum class Instrument : uint8_t {
  Counter,        // monotonic sum
  UpDownCounter,  // non-monotonic sum
  Gauge,
  Histogram,  // base-2 exponential, scale 2, in the metric's unit
};

struct AttributeSpec {
  std::string_view key;
  std::string_view values;  // for display: "read, write"
};

struct MetricSpec {
  std::string_view name;  // OpenTelemetry form: sonde.file.io
  std::string_view unit;  // UCUM: By, s, {operation}
  Instrument instrument = Instrument::Counter;
  Level level = Level::Standard;
  std::string_view description;
  std::span<const AttributeSpec> attributes{};  // in the order of SeriesSpec::values
  bool from_zero = false;  // exported as 0 from selection on, so that the first event is visible as an increase
  bool node = false;       // counted on SONDE_SLOT_NODE, part of the node's Resource rather than a container's
  bool integer = true;     // value type of sums and gauges; false: double
  std::span<const TopSpec> top{};
  std::span<const LegacySpec> legacy{};
};

inline constexpr std::size_t kMaxAttributes = 3;
using AttributeValues = std::array<std::string_view, kMaxAttributes>;

// Where in the kernel's rows a series is counted.
enum class Source : uint8_t {
  Counter,    // <module>_counters[slot][index]
  Histogram,  // sonde_histograms[<module>_histograms[slot][index]]
  Cells,      // <module>_cells[slot]: attribute values by Module::decode_cell
  // A histogram per key: <module>_keyed[slot], attribute values by Module::decode_keyed. It replaces the plain histograms
  // (Histogram) of its metric at a lower level: where it is requested, these are neither counted nor exported.
  KeyedHistogram,
  Gauge,      // <module>_gauges[slot][index], int64, refreshed by Module::refresh
  Read,       // read by user space: index into the values of Module::read
  ReadKeyed,  // a value per key, read by user space: Module::read_keyed; attribute values by Module::decode_read
};

// A current value, not a sum of changes.
constexpr bool is_state(const MetricSpec& metric, Source source) {
  return source == Source::Gauge || source == Source::ReadKeyed ||
         (source == Source::Read && metric.instrument != Instrument::Counter);
}
constexpr bool is_keyed(Source source) {
  return source == Source::Cells || source == Source::KeyedHistogram || source == Source::ReadKeyed;
}
constexpr bool is_histogram(Source source) { return source == Source::Histogram || source == Source::KeyedHistogram; }

struct SeriesSpec {
  uint8_t metric = 0;  // index into ModuleInfo::metrics
  Source source = Source::Counter;
  uint16_t index = 0;
  AttributeValues values{};  // empty: the series does not have this attribute
  Level level = Level::Standard;
  uint8_t flag = 0;    // bits of the subject's flags byte that make the kernel side count it
  double scale = 1.0;  // kernel unit to metric unit: 1e-9 for ns to s
  bool early = false;  // Histogram: its row is allocated in advance, because none can be allocated where it is observed
};

}  // namespace sonde
