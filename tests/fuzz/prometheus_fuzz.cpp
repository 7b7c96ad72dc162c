// SPDX-License-Identifier: Apache-2.0
// Names and label values on their way to Prometheus, and what a scraper says it accepts.
// Layers: export
#include <algorithm>
#include <cctype>

#include "agent/base/utf8.h"
#include "agent/export/prometheus_exporter.h"
#include "agent/export/prometheus_names.h"
#include "tests/fuzz/support.h"

namespace {

using namespace sonde;
using fuzz::require;

bool is_name(std::string_view text, bool colons) {
  return !text.empty() && !std::isdigit(static_cast<unsigned char>(text.front())) &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                  (colons && c == ':');
         });
}

const MetricSpec kCounter{.name = "sonde.fuzz.count", .unit = "{thing}", .description = "A count"};

// A batch with hostile strings: whatever the name of a pod or a label holds, the exposition stays one.
BatchPtr batch_of(const std::string& key, const std::string& value) {
  auto resource = std::make_shared<Resource>();
  resource->id = 1;
  resource->attributes = {{"container.name", value}};
  resource->promoted = resource->attributes;
  auto batch = std::make_shared<Batch>();
  batch->time_ns = 2'000'000'000;
  Point point;
  point.metric = &kCounter;
  point.attributes = std::make_shared<const AttributeSet>(AttributeSet{{key, value}});
  point.start_ns = 1'000'000'000;
  point.time_ns = batch->time_ns;
  point.integer = 3;
  batch->points.push_back(point);
  batch->resources.push_back({resource, 0, 1});
  return batch;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::string accept = input.word(), key = input.word(), value(input.rest());

  if (!key.empty()) require(is_name(prometheus_label(key), false));
  for (const Instrument instrument : {Instrument::Counter, Instrument::Gauge, Instrument::Histogram}) {
    MetricSpec spec{.name = "sonde.x", .unit = key, .instrument = instrument};
    require(is_name(prometheus_name(spec).name, true));
  }
  const std::string fixed = made_utf8(value);
  require(fixed.size() == value.size() && is_utf8(fixed) && (!is_utf8(value) || fixed == value));

  PrometheusExporter exporter;
  exporter.push(batch_of(key.empty() ? "k" : key, value));
  const Exposition got = exporter.render({accept, ""});
  require(got.content_encoding.empty() && !got.content_type.empty());
  if (got.content_type.starts_with("text/plain") || got.content_type.starts_with("application/openmetrics-text")) {
    require(is_utf8(got.body) && got.body.ends_with('\n'));
    // Every line is a comment or a sample: a line break in a value would make one that is neither.
    for (std::size_t at = 0; at < got.body.size();) {
      const std::size_t end = got.body.find('\n', at);
      const std::string_view line = std::string_view(got.body).substr(at, end - at);
      require(line.starts_with('#') || line.starts_with("sonde_") || line.starts_with("target_info"));
      at = end + 1;
    }
  }
  return 0;
}
