// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/top_columns.h"

#include <algorithm>
#include <cctype>

#include "agent/base/text.h"

namespace sonde::cli {
namespace {

constexpr std::size_t kMostValues =
    9;  // columns for the values of one attribute: as many as there are states of a thread

// sonde.file.operation.duration → file.operation
std::string short_name(std::string_view metric) {
  if (metric.starts_with("sonde.")) metric.remove_prefix(6);
  if (metric.ends_with(".duration")) metric.remove_suffix(9);
  return std::string(metric);
}

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

Form form_of(const MetricSpec& metric) {
  if (metric.unit == "By") return Form::Bytes;
  return metric.unit == "s" ? Form::Seconds : Form::Number;
}

// Values of the first attribute, as far as the tables know them.
std::vector<std::string_view> first_values(const ModuleInfo& info, std::size_t metric) {
  std::vector<std::string_view> values;
  for (const SeriesSpec& series : info.series) {
    if (series.metric != metric || is_keyed(series.source) || series.values[0].empty()) continue;
    if (std::ranges::find(values, series.values[0]) == values.end()) values.push_back(series.values[0]);
  }
  return values;
}

Measure measure_of(const MetricSpec& metric, bool p99) {
  switch (metric.instrument) {
    case Instrument::Counter: return Measure::Rate;
    case Instrument::Histogram: return p99 ? Measure::P99 : Measure::Count;
    case Instrument::UpDownCounter:
    case Instrument::Gauge: break;
  }
  return Measure::Value;
}

Form form_of(const MetricSpec& metric, Measure measure) {
  if (measure == Measure::P99) return Form::Seconds;
  return measure == Measure::Count ? Form::Number : form_of(metric);
}

TopColumn column(const MetricSpec& metric, std::string_view value, Measure measure) {
  TopColumn one;
  one.metric = metric.name;
  one.value = value;
  one.measure = measure;
  one.form = form_of(metric, measure);
  one.name = short_name(metric.name) + (value.empty() ? "" : "." + std::string(value)) +
             (measure == Measure::P99 ? ".p99" : "");
  one.title = upper(one.name) + (measure == Measure::Rate || measure == Measure::Count ? "/S" : "");
  one.field = one.name;
  return one;
}

TopColumn essential(const MetricSpec& metric, const TopSpec& spec) {
  const Measure measure = measure_of(metric, spec.p99);
  return {.name = std::string(spec.name),
          .title = std::string(spec.title),
          .field = std::string(spec.field),
          .metric = std::string(metric.name),
          .value = std::string(spec.value),
          .measure = measure,
          .form = form_of(metric, measure),
          .key = spec.key,
          .first = spec.first,
          .legend = std::string(spec.legend)};
}

void add_metric(const ModuleInfo& info, std::size_t index, std::vector<TopColumn>& columns) {
  const MetricSpec& metric = info.metrics[index];
  if (metric.instrument == Instrument::Histogram) {
    for (const bool p99 : {false, true}) columns.push_back(column(metric, "", measure_of(metric, p99)));
    return;
  }
  auto values = first_values(info, index);
  if (values.size() < 2 || values.size() > kMostValues) values = {""};
  for (const std::string_view value : values) columns.push_back(column(metric, value, measure_of(metric, false)));
}

std::string unknown(std::string_view what, std::string_view word, const std::vector<std::string>& known) {
  const auto near = nearest(word, std::span<const std::string>(known));
  const std::string hint = near.empty() ? "; there are " + join(known) : "; did you mean " + std::string(near) + "?";
  return "there is no " + std::string(what) + " '" + std::string(word) + "'" + hint;
}

}  // namespace

std::vector<TopColumn> essential_columns() {
  std::vector<TopColumn> columns;
  for (const ModuleEntry& entry : modules()) {
    for (const MetricSpec& metric : entry.module->info().metrics) {
      for (const TopSpec& spec : metric.top) columns.push_back(essential(metric, spec));
    }
  }
  return columns;
}

std::vector<TopColumn> columns_of(const ModuleInfo& info) {
  std::vector<TopColumn> columns;
  for (std::size_t i = 0; i < info.metrics.size(); ++i) add_metric(info, i, columns);
  return columns;
}

Result<std::vector<const ModuleInfo*>> probes_named(std::string_view list) {
  std::vector<const ModuleInfo*> probes;
  const auto add = [&](const ModuleInfo& info) {
    if (std::ranges::find(probes, &info) == probes.end()) probes.push_back(&info);
  };
  for (const std::string& name : split_list(list)) {
    if (name == "all") {
      for (const ModuleEntry& entry : modules()) add(entry.module->info());
      continue;
    }
    const int index = find_module(name);
    if (index < 0) {
      std::vector<std::string> known;
      for (const ModuleEntry& entry : modules()) {
        known.emplace_back(entry.module->info().name);
        for (const std::string_view alias : entry.module->info().aliases) known.emplace_back(alias);
      }
      return Error(unknown("probe", name, known));
    }
    add(modules()[static_cast<std::size_t>(index)].module->info());
    for (const ModuleEntry& entry : modules()) {
      if (stands_for(modules(), name, entry.module->info())) add(entry.module->info());  // its parts
    }
  }
  if (probes.empty()) return Error("does not name a probe; see `sonde probes`");
  return probes;
}

Result<std::size_t> column_named(const std::vector<TopColumn>& columns, std::string_view name) {
  if (name == "name") return kByName;
  const auto found = std::ranges::find(columns, name, &TopColumn::name);
  if (found != columns.end()) return static_cast<std::size_t>(found - columns.begin());
  std::vector<std::string> known{"name"};
  for (const TopColumn& one : columns) known.push_back(one.name);
  return Error(unknown("column", name, known));
}

}  // namespace sonde::cli
