// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/top_rows.h"

#include <algorithm>
#include <cmath>

namespace sonde::cli {
namespace {

std::string text_of(const AttributeSet& set, std::string_view key) {
  for (const Attribute& attribute : set) {
    if (attribute.key != key) continue;
    if (const auto* text = std::get_if<std::string>(&attribute.value)) return *text;
  }
  return {};
}

std::string name_of(const Resource& resource) {
  const AttributeSet& set = resource.attributes;
  const std::string pod = text_of(set, "k8s.pod.name");
  if (!pod.empty()) return text_of(set, "k8s.namespace.name") + "/" + pod + "/" + text_of(set, "k8s.container.name");
  const std::string path = text_of(set, "sonde.cgroup.path");
  if (!path.empty()) return path;
  const std::string id = text_of(set, "container.id");
  return id.empty() ? text_of(set, "service.instance.id") : "container " + id.substr(0, 12);
}

double number_of(const Point& point) { return point.metric->integer ? static_cast<double>(point.integer) : point.real; }

void add(TopMoment::Cell& cell, const Point& point, const ResourceSeries& series) {
  if (point.metric->instrument != Instrument::Histogram) {
    cell.number += number_of(point);
    return;
  }
  cell.count += point.count;
  for (uint32_t i = 0; i < point.bucket_length; ++i) {
    const uint64_t n = series.buckets[point.bucket_begin + i];
    if (n) cell.buckets[point.bucket_offset + static_cast<int32_t>(i)] += n;
  }
}

bool has_value(const AttributeSet& set, const std::string& value) {
  if (value.empty()) return true;
  return std::ranges::any_of(set, [&](const Attribute& attribute) {
    const auto* text = std::get_if<std::string>(&attribute.value);
    return text && *text == value;
  });
}

double value_of(const TopColumn& column, const TopMoment::Cell& then, const TopMoment::Cell& now, double seconds) {
  switch (column.measure) {
    case Measure::Rate: return std::max(now.number - then.number, 0.0) / seconds;
    case Measure::Value: return now.number;
    case Measure::Count: return static_cast<double>(now.count - std::min(then.count, now.count)) / seconds;
    case Measure::P99: return quantile(then, now, 0.99);
  }
  return 0;
}

}  // namespace

TopMoment moment_of(const std::vector<ResourceSeriesPtr>& all, const std::vector<TopColumn>& columns) {
  std::multimap<std::string_view, std::size_t> by_metric;
  for (std::size_t i = 0; i < columns.size(); ++i) by_metric.emplace(columns[i].metric, i);
  TopMoment moment;
  for (const ResourceSeriesPtr& series : all) {
    TopMoment::Subject subject{name_of(*series->resource), std::vector<TopMoment::Cell>(columns.size())};
    for (const Point& point : series->points) {
      const auto [begin, end] = by_metric.equal_range(point.metric->name);
      for (auto it = begin; it != end; ++it) {
        if (has_value(*point.attributes, columns[it->second].value)) add(subject.cells[it->second], point, *series);
      }
    }
    moment.subjects.emplace(series->resource->id, std::move(subject));
  }
  return moment;
}

double quantile(const TopMoment::Cell& before, const TopMoment::Cell& after, double q) {
  const uint64_t count = after.count - std::min(before.count, after.count);
  if (count == 0) return -1;
  const double wanted = q * static_cast<double>(count);
  double seen = 0;
  for (const auto& [index, n] : after.buckets) {
    const auto old = before.buckets.find(index);
    seen += static_cast<double>(n - (old == before.buckets.end() ? 0 : old->second));
    if (seen >= wanted) return std::exp2((index + 1) / 4.0);
  }
  return -1;
}

std::vector<TopRow> rows_between(const TopMoment& before, const TopMoment& after, double seconds,
                                 const std::vector<TopColumn>& columns, std::size_t by) {
  static const TopMoment::Cell kNothing;
  std::vector<TopRow> rows;
  for (const auto& [id, now] : after.subjects) {
    const auto found = before.subjects.find(id);
    TopRow row{now.name, {}};
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto& then = found == before.subjects.end() ? kNothing : found->second.cells[i];
      row.values.push_back(value_of(columns[i], then, now.cells[i], seconds));
    }
    if (std::ranges::any_of(row.values, [](double value) { return value > 0; })) rows.push_back(std::move(row));
  }
  std::ranges::sort(rows, [by](const TopRow& a, const TopRow& b) {
    if (by == kByName || a.values[by] == b.values[by]) return a.name < b.name;
    return a.values[by] > b.values[by];
  });
  return rows;
}

}  // namespace sonde::cli
