// SPDX-License-Identifier: Apache-2.0
// `prometheus.naming: legacy`: the names of the tools that Sonde replaces, computed at scrape from Sonde's own metrics, as
// these say (MetricSpec::legacy).
// Where an old name has no exact counterpart, docs/ops/prometheus.md says what stands in for it.
#include <unistd.h>

#include <cstdint>
#include <map>
#include <string_view>

#include "agent/export/prometheus_family.h"

namespace sonde {
namespace {

struct Sums {
  const LegacyName* to = nullptr;
  double part = 0;
  double whole = 0;
};

// Of one label set.
struct Group {
  std::map<std::string_view, Sums> names;
  uint64_t start_ns = 0;  // the earliest
};

double page_size() {
  static const double size = static_cast<double>(::sysconf(_SC_PAGESIZE));
  return size;
}

PrometheusType type_of(LegacyKind kind) {
  return kind == LegacyKind::Counter ? PrometheusType::Counter : PrometheusType::Gauge;
}

const Attribute* find(const AttributeSet& attributes, std::string_view key) {
  for (const Attribute& attribute : attributes)
    if (attribute.key == key) return &attribute;
  return nullptr;
}

bool applies(const LegacySpec& spec, const AttributeSet& attributes) {
  if (spec.key.empty()) return true;
  const Attribute* attribute = find(attributes, spec.key);
  if (!attribute || spec.value.empty()) return attribute;
  const auto* text = std::get_if<std::string>(&attribute->value);
  return text && *text == spec.value;
}

double value_of(const Point& point) {
  if (point.metric->instrument == Instrument::Histogram) return static_cast<double>(point.count);
  return point.metric->integer ? static_cast<double>(point.integer) : point.real;
}

// The labels of one legacy series: its own if it has one; pid and comm at process granularity.
AttributeSet labels_of(const LegacySpec& spec, const AttributeSet& attributes) {
  AttributeSet out;
  if (!spec.label.empty()) out.push_back({std::string(spec.label), find(attributes, spec.key)->value});
  if (const Attribute* comm = find(attributes, "process.executable.name")) out.push_back({"comm", comm->value});
  if (const Attribute* pid = find(attributes, "process.pid")) out.push_back({"pid", pid->value});
  return out;
}

void add(const LegacySpec& spec, const Point& point, Group& group) {
  Sums& sums = group.names[spec.to.name];
  sums.to = &spec.to;
  sums.part += spec.part * value_of(point);
  sums.whole += spec.whole * value_of(point);
  if (point.start_ns != 0 && (group.start_ns == 0 || point.start_ns < group.start_ns)) group.start_ns = point.start_ns;
}

}  // namespace

void add_legacy_families(PrometheusFamilies& families, const ResourceSeries& series, const LabelSet* shared) {
  std::map<const LabelSet*, Group> groups;
  for (const Point& point : series.points) {
    for (const LegacySpec& spec : point.metric->legacy) {
      if (!applies(spec, *point.attributes)) continue;
      add(spec, point, groups[families.labels(labels_of(spec, *point.attributes))]);
    }
  }
  for (const auto& [own, group] : groups) {
    for (const auto& [name, sums] : group.names) {
      const LegacyName& to = *sums.to;
      double value = to.pages ? sums.part / page_size() : sums.part;
      if (to.kind == LegacyKind::Percent) {
        if (sums.whole <= 0) continue;
        value = 100.0 * sums.part / sums.whole;
      }
      PrometheusFamily& family = families.family(std::string(name), "", to.help, type_of(to.kind));
      families.add(family, {.shared = shared, .own = own, .real = value, .start_ns = group.start_ns});
    }
  }
}

}  // namespace sonde
