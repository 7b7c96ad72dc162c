// SPDX-License-Identifier: Apache-2.0
#include "agent/export/prometheus_family.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "agent/base/utf8.h"
#include "agent/export/prometheus_names.h"

namespace sonde {
namespace {

std::string text_of(const Attribute& attribute) {
  if (const auto* text = std::get_if<std::string>(&attribute.value)) return made_utf8(*text);
  if (const auto* number = std::get_if<int64_t>(&attribute.value)) return std::to_string(*number);
  return std::get<bool>(attribute.value) ? "true" : "false";
}

std::string find_text(const AttributeSet& attributes, std::string_view key) {
  for (const Attribute& attribute : attributes)
    if (attribute.key == key) return text_of(attribute);
  return {};
}

// Is it one of the values that were joined?
bool has_value(std::string_view joined, std::string_view value) {
  for (;;) {
    const std::size_t end = joined.find(';');
    if (joined.substr(0, end) == value) return true;
    if (end == std::string_view::npos) return false;
    joined.remove_prefix(end + 1);
  }
}

bool names_the_target(std::string_view key) {
  return key == "service.name" || key == "service.namespace" || key == "service.instance.id";
}

PrometheusType type_of(Instrument instrument) {
  switch (instrument) {
    case Instrument::Counter: return PrometheusType::Counter;
    case Instrument::Histogram: return PrometheusType::Histogram;
    case Instrument::UpDownCounter:
    case Instrument::Gauge: break;
  }
  return PrometheusType::Gauge;
}

bool has_name(const LabelSet& set, const std::string* name) {
  return std::any_of(set.labels.begin(), set.labels.end(), [&](const auto& label) { return label.name == name; });
}

bool clash(const LabelSet& shared, const LabelSet& own) {
  return std::any_of(shared.labels.begin(), shared.labels.end(),
                     [&](const auto& label) { return has_name(own, label.name); });
}

}  // namespace

std::size_t PrometheusFamilies::SampleKeyHash::operator()(const SampleKey& key) const {
  std::hash<const void*> hash;
  return (hash(key.family) * 31 + hash(key.shared)) * 31 + hash(key.own);
}

PrometheusFamilies::PrometheusFamilies(std::vector<ResourceSeriesPtr> state, bool legacy_names)
    : state_(std::move(state)) {
  for (const ResourceSeriesPtr& series : state_) add_resource(*series, legacy_names);
  std::erase_if(families_, [](const auto& entry) { return entry.second.samples.empty(); });
}

void PrometheusFamilies::add_resource(const ResourceSeries& series, bool legacy_names) {
  ResourceLabels labels = resource_labels(*series.resource);
  if (labels.info) {
    PrometheusFamily& info = family("target", "", "Attributes of the OpenTelemetry Resource.", PrometheusType::Info);
    add(info, {.shared = labels.shared, .own = labels.info, .integer = 1, .is_integer = true});
  }
  for (const Point& point : series.points) {
    PrometheusFamily* to = family_of(*point.metric);
    if (to)
      add(*to, sample_of(point, series, labels.shared));
    else
      duplicates_++;
  }
  if (legacy_names) add_legacy_families(*this, series, labels.shared);
}

PrometheusFamilies::ResourceLabels PrometheusFamilies::resource_labels(const Resource& resource) {
  std::vector<PrometheusLabel> shared;
  std::string job = find_text(resource.attributes, "service.name");
  std::string space = find_text(resource.attributes, "service.namespace");
  if (!space.empty()) job = job.empty() ? space : space + "/" + job;
  std::string instance = find_text(resource.attributes, "service.instance.id");
  if (!job.empty()) shared.push_back({label_name("job"), job});
  if (!instance.empty()) shared.push_back({label_name("instance"), instance});

  AttributeSet others;
  for (const Attribute& attribute : resource.attributes)
    if (!names_the_target(attribute.key)) others.push_back(attribute);
  const LabelSet* promoted = labels(resource.promoted);
  for (const PrometheusLabel& label : promoted->labels) {
    bool taken = std::any_of(shared.begin(), shared.end(), [&](const auto& other) { return other.name == label.name; });
    if (!taken) shared.push_back(label);
  }
  // Without job and instance nothing could be joined with target_info.
  bool joinable = !job.empty() || !instance.empty();
  const LabelSet* base = intern(std::move(shared));
  const LabelSet* info = nullptr;
  if (joinable && !others.empty()) {
    // All attributes, but those the series carry anyway are said once.
    std::vector<PrometheusLabel> rest;
    for (const PrometheusLabel& label : labels(others)->labels) {
      if (!has_name(*base, label.name)) rest.push_back(label);
    }
    info = intern(std::move(rest));
  }
  return {base, info};
}

PrometheusSample PrometheusFamilies::sample_of(const Point& point, const ResourceSeries& series,
                                               const LabelSet* shared) {
  PrometheusSample sample;
  sample.shared = shared;
  auto [entry, added] = by_attributes_.try_emplace(point.attributes.get(), nullptr);
  if (added) entry->second = labels(*point.attributes);
  sample.own = entry->second;
  if (clash(*shared, *sample.own)) {
    sample.own = merged(*shared, *sample.own);
    sample.shared = nullptr;
  }
  sample.start_ns = point.start_ns;
  if (point.metric->instrument == Instrument::Histogram) {
    sample.histogram = &point;
    sample.buckets = series.buckets.data() + point.bucket_begin;
  } else if (point.metric->integer) {
    sample.integer = point.integer;
    sample.is_integer = true;
  } else {
    sample.real = point.real;
  }
  return sample;
}

PrometheusFamily* PrometheusFamilies::family_of(const MetricSpec& metric) {
  auto [entry, added] = by_metric_.try_emplace(&metric, nullptr);
  if (added) {
    PrometheusName name = prometheus_name(metric);
    PrometheusType type = type_of(metric.instrument);
    PrometheusFamily& made = family(name.name, name.unit, metric.description, type);
    // Two metrics under one name are one family only if they are of one kind.
    if (made.type == type && made.unit == name.unit) entry->second = &made;
  }
  return entry->second;
}

PrometheusFamily& PrometheusFamilies::family(const std::string& name, const std::string& unit, std::string_view help,
                                             PrometheusType type) {
  auto [entry, added] = families_.try_emplace(name);
  if (added) entry->second = {name, unit, std::string(help), type, {}};
  return entry->second;
}

void PrometheusFamilies::add(PrometheusFamily& to, PrometheusSample sample) {
  if (seen_.insert({&to, sample.shared, sample.own}).second)
    to.samples.push_back(sample);
  else
    duplicates_++;
}

const std::string* PrometheusFamilies::label_name(std::string_view key) {
  auto [entry, added] = label_names_.try_emplace(std::string(key), nullptr);
  if (added) entry->second = &*names_.insert(prometheus_label(key)).first;
  return entry->second;
}

const LabelSet* PrometheusFamilies::labels(const AttributeSet& attributes) {
  std::vector<PrometheusLabel> out;
  for (const Attribute& attribute : attributes) {
    std::string value = text_of(attribute);
    if (value.empty()) continue;  // the same as no label
    const std::string* name = label_name(attribute.key);
    auto same = std::find_if(out.begin(), out.end(), [&](const auto& label) { return label.name == name; });
    // Attributes are sorted by key, so the joined values are too.
    if (same == out.end()) {
      out.push_back({name, std::move(value)});
    } else if (!has_value(same->value, value)) {  // web;web would be a value that nobody gave
      same->value += ";" + value;
    }
  }
  return intern(std::move(out));
}

const LabelSet* PrometheusFamilies::intern(std::vector<PrometheusLabel> labels) {
  std::string text;
  for (const PrometheusLabel& label : labels) {
    if (!text.empty()) text += ',';
    text += *label.name;
    text += "=\"";
    append_escaped(text, label.value, true);
    text += '"';
  }
  auto [entry, added] = label_sets_.try_emplace(text);
  if (added) entry->second = {std::move(labels), std::move(text)};
  return &entry->second;
}

// The series' own attribute wins over one of its Resource with the same name.
const LabelSet* PrometheusFamilies::merged(const LabelSet& shared, const LabelSet& own) {
  std::vector<PrometheusLabel> all;
  for (const PrometheusLabel& label : shared.labels)
    if (!has_name(own, label.name)) all.push_back(label);
  all.insert(all.end(), own.labels.begin(), own.labels.end());
  return intern(std::move(all));
}

std::map<std::string, std::string> joined_labels(const std::vector<ResourceSeriesPtr>& state) {
  std::map<std::string, std::string> joined;
  for (const ResourceSeriesPtr& series : state) {
    std::map<std::string, std::string> values;
    for (const Attribute& attribute : series->resource->attributes) {
      const std::string value = text_of(attribute);
      if (value.empty()) continue;
      auto [entry, fresh] = values.try_emplace(prometheus_label(attribute.key), value);
      if (fresh || has_value(entry->second, value)) continue;
      entry->second += ";" + value;
      joined[entry->first] = entry->second;
    }
  }
  return joined;
}

}  // namespace sonde
