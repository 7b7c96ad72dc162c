// SPDX-License-Identifier: Apache-2.0
// Text 0.0.4 and OpenMetrics 1.0. Differences: how a counter's family is called, UNIT, _created, Info, `le` of whole
// numbers, HELP's quotes, # EOF.
#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <iterator>
#include <limits>

#include "agent/export/prometheus_format.h"
#include "agent/export/prometheus_histogram.h"
#include "agent/export/prometheus_names.h"

namespace sonde {
namespace {

void append_number(std::string& out, double value) {
  if (std::isnan(value))
    out += "NaN";
  else if (std::isinf(value))
    out += value > 0 ? "+Inf" : "-Inf";
  else
    fmt::format_to(std::back_inserter(out), "{}", value);
}

std::array<std::string, kExplicitBounds.size()> bound_texts(bool openmetrics) {
  std::array<std::string, kExplicitBounds.size()> out;
  for (std::size_t i = 0; i < out.size(); i++) {
    append_number(out[i], kExplicitBounds[i]);
    // OpenMetrics' canonical form; in text 0.0.4 every client library writes le="1".
    if (openmetrics && out[i].find_first_of(".e") == std::string::npos) out[i] += ".0";
  }
  return out;
}

class TextWriter {
 public:
  TextWriter(bool openmetrics, bool created)
      : openmetrics_(openmetrics), created_(openmetrics && created), bounds_(bound_texts(openmetrics)) {}

  void family(const PrometheusFamily& family) {
    head(family);
    for (const PrometheusSample& sample : family.samples) {
      if (sample.histogram)
        histogram(family.name, sample);
      else
        value(family, sample);
    }
  }

  std::string take() {
    if (openmetrics_) out_ += "# EOF\n";
    return std::move(out_);
  }

 private:
  static std::string_view suffix_of(PrometheusType type) {
    if (type == PrometheusType::Counter) return "_total";
    if (type == PrometheusType::Info) return "_info";
    return "";
  }

  std::string_view type_word(PrometheusType type) const {
    switch (type) {
      case PrometheusType::Counter: return "counter";
      case PrometheusType::Histogram: return "histogram";
      case PrometheusType::Info: return openmetrics_ ? "info" : "gauge";
      case PrometheusType::Gauge: break;
    }
    return "gauge";
  }

  void head(const PrometheusFamily& family) {
    std::string name = family.name;
    if (!openmetrics_) name += suffix_of(family.type);
    if (!family.help.empty()) {
      out_ += "# HELP " + name + " ";
      append_escaped(out_, family.help, openmetrics_);
      out_ += '\n';
    }
    fmt::format_to(std::back_inserter(out_), "# TYPE {} {}\n", name, type_word(family.type));
    if (openmetrics_ && !family.unit.empty())
      fmt::format_to(std::back_inserter(out_), "# UNIT {} {}\n", name, family.unit);
  }

  void labels(const PrometheusSample& sample, std::string_view le = {}) {
    std::string_view shared = sample.shared ? std::string_view(sample.shared->text) : std::string_view();
    std::string_view own = sample.own ? std::string_view(sample.own->text) : std::string_view();
    if (shared.empty() && own.empty() && le.empty()) return;
    out_ += '{';
    out_ += shared;
    if (!shared.empty() && !own.empty()) out_ += ',';
    out_ += own;
    if (!le.empty()) {
      if (!shared.empty() || !own.empty()) out_ += ',';
      out_ += "le=\"";
      out_ += le;
      out_ += '"';
    }
    out_ += '}';
  }

  void value(const PrometheusFamily& family, const PrometheusSample& sample) {
    out_ += family.name;
    out_ += suffix_of(family.type);
    labels(sample);
    out_ += ' ';
    if (sample.is_integer)
      fmt::format_to(std::back_inserter(out_), "{}", sample.integer);
    else
      append_number(out_, sample.real);
    out_ += '\n';
    if (family.type == PrometheusType::Counter) created(family.name, sample);
  }

  void histogram(const std::string& name, const PrometheusSample& sample) {
    const Point& point = *sample.histogram;
    auto counts = classic_buckets(point.bucket_offset, sample.buckets, point.bucket_length);
    for (std::size_t i = 0; i < counts.size(); i++) {
      out_ += name;
      out_ += "_bucket";
      labels(sample, bounds_[i]);
      fmt::format_to(std::back_inserter(out_), " {}\n", counts[i]);
    }
    out_ += name;
    out_ += "_bucket";
    labels(sample, "+Inf");
    fmt::format_to(std::back_inserter(out_), " {}\n", point.count);
    out_ += name;
    out_ += "_sum";
    labels(sample);
    out_ += ' ';
    append_number(out_, point.real);
    out_ += '\n';
    out_ += name;
    out_ += "_count";
    labels(sample);
    fmt::format_to(std::back_inserter(out_), " {}\n", point.count);
    created(name, sample);
  }

  void created(const std::string& name, const PrometheusSample& sample) {
    if (!created_ || sample.start_ns == 0) return;
    out_ += name;
    out_ += "_created";
    labels(sample);
    fmt::format_to(std::back_inserter(out_), " {}.{:03}\n", sample.start_ns / 1'000'000'000,
                   sample.start_ns / 1'000'000 % 1000);
  }

  const bool openmetrics_;
  const bool created_;
  const std::array<std::string, kExplicitBounds.size()> bounds_;
  std::string out_;
};

std::string render(const PrometheusFamilies& families, bool openmetrics, bool created) {
  TextWriter writer(openmetrics, created);
  for (const auto& [name, family] : families.families()) writer.family(family);
  return writer.take();
}

}  // namespace

std::string render_text(const PrometheusFamilies& families) { return render(families, false, false); }

std::string render_openmetrics(const PrometheusFamilies& families, bool created) {
  return render(families, true, created);
}

}  // namespace sonde
