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

double number_of(const Point& point) {
  return point.metric->integer ? static_cast<double>(point.integer) : point.real;
}

void add(TopMoment::Histogram& histogram, const Point& point, const ResourceSeries& series) {
  histogram.count += point.count;
  for (uint32_t i = 0; i < point.bucket_length; ++i) {
    const uint64_t n = series.buckets[point.bucket_begin + i];
    if (n) histogram.buckets[point.bucket_offset + static_cast<int32_t>(i)] += n;
  }
}

}  // namespace

TopMoment moment_of(const std::vector<ResourceSeriesPtr>& all) {
  TopMoment moment;
  for (const ResourceSeriesPtr& series : all) {
    TopMoment::Subject subject;
    subject.name = name_of(*series->resource);
    for (const Point& point : series->points) {
      const std::string_view metric = point.metric->name;
      if (metric == "sonde.file.io") {
        (text_of(*point.attributes, "disk.io.direction") == "read" ? subject.read : subject.write) += number_of(point);
      } else if (metric == "sonde.file.operation.duration") {
        add(subject.operations, point, *series);
      } else if (metric == "sonde.file.operation.errors") {
        subject.errors += number_of(point);
      } else if (metric == "sonde.sched.run_queue.duration") {
        add(subject.waits, point, *series);
      }
    }
    moment.subjects.emplace(series->resource->id, std::move(subject));
  }
  return moment;
}

double quantile(const TopMoment::Histogram& before, const TopMoment::Histogram& after, double q) {
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

std::vector<TopRow> rows_between(const TopMoment& before, const TopMoment& after, double seconds, TopColumn by) {
  static const TopMoment::Subject kNothing;
  std::vector<TopRow> rows;
  for (const auto& [id, now] : after.subjects) {
    const auto found = before.subjects.find(id);
    const TopMoment::Subject& then = found == before.subjects.end() ? kNothing : found->second;
    TopRow row;
    row.name = now.name;
    row.read = (now.read - then.read) / seconds;
    row.write = (now.write - then.write) / seconds;
    row.errors = (now.errors - then.errors) / seconds;
    row.operations = static_cast<double>(now.operations.count - then.operations.count) / seconds;
    row.operation_p99 = quantile(then.operations, now.operations, 0.99);
    row.waits = static_cast<double>(now.waits.count - then.waits.count) / seconds;
    row.wait_p99 = quantile(then.waits, now.waits, 0.99);
    if (row.read + row.write + row.errors + row.operations + row.waits > 0) rows.push_back(std::move(row));
  }
  const auto value = [by](const TopRow& row) {
    switch (by) {
      case TopColumn::Name: return 0.0;
      case TopColumn::Read: return row.read;
      case TopColumn::Write: return row.write;
      case TopColumn::Operations: return row.operations;
      case TopColumn::OperationP99: return row.operation_p99;
      case TopColumn::Errors: return row.errors;
      case TopColumn::Waits: return row.waits;
      case TopColumn::WaitP99: return row.wait_p99;
    }
    return 0.0;
  };
  std::ranges::sort(rows, [&](const TopRow& a, const TopRow& b) {
    return value(a) != value(b) ? value(a) > value(b) : a.name < b.name;
  });
  return rows;
}

}  // namespace sonde::cli
