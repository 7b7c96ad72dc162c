// SPDX-License-Identifier: Apache-2.0
// One scrape as families of samples, before any format: names translated, labels merged, duplicates left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/export/prometheus_state.h"

namespace sonde {

struct PrometheusLabel {
  const std::string* name;  // interned: equal names have equal pointers
  std::string value;
};

struct LabelSet {
  std::vector<PrometheusLabel> labels;
  std::string text;  // a="x",b="y"; escaped for both text formats
};

enum class PrometheusType : uint8_t { Counter, Gauge, Histogram, Info };

struct PrometheusSample {
  const LabelSet* shared = nullptr;  // of the Resource
  const LabelSet* own = nullptr;
  double real = 0;
  int64_t integer = 0;
  bool is_integer = false;
  uint64_t start_ns = 0;  // 0: not known
  const Point* histogram = nullptr;
  const uint64_t* buckets = nullptr;  // histogram->bucket_length of them
};

struct PrometheusFamily {
  std::string name;  // counters without _total, target_info as "target"
  std::string unit;
  std::string help;
  PrometheusType type = PrometheusType::Gauge;
  std::vector<PrometheusSample> samples;
};

class PrometheusFamilies {
 public:
  PrometheusFamilies(std::vector<ResourceSeriesPtr> state, bool legacy_names);

  const std::map<std::string, PrometheusFamily>& families() const { return families_; }
  std::size_t duplicates() const { return duplicates_; }

  // For agent/export/prometheus_legacy.cpp.
  PrometheusFamily& family(const std::string& name, const std::string& unit, std::string_view help,
                           PrometheusType type);
  const LabelSet* labels(const AttributeSet& attributes);  // interned by content
  void add(PrometheusFamily& family, PrometheusSample sample);

 private:
  struct ResourceLabels {
    const LabelSet* shared;  // job, instance, promoted
    const LabelSet* info;    // the other attributes, for target_info; null: no target_info
  };

  void add_resource(const ResourceSeries& series, bool legacy_names);
  ResourceLabels resource_labels(const Resource& resource);
  PrometheusSample sample_of(const Point& point, const ResourceSeries& series, const LabelSet* shared);
  PrometheusFamily* family_of(const MetricSpec& metric);
  const std::string* label_name(std::string_view key);
  const LabelSet* intern(std::vector<PrometheusLabel> labels);
  const LabelSet* merged(const LabelSet& shared, const LabelSet& own);

  std::vector<ResourceSeriesPtr> state_;  // points and buckets of the samples live here
  std::map<std::string, PrometheusFamily> families_;
  std::unordered_map<const MetricSpec*, PrometheusFamily*> by_metric_;
  std::unordered_map<std::string, const std::string*> label_names_;  // key → label
  std::unordered_set<std::string> names_;
  std::unordered_map<std::string, LabelSet> label_sets_;  // by text
  std::unordered_map<const AttributeSet*, const LabelSet*> by_attributes_;
  struct SampleKey {
    const void *family, *shared, *own;
    bool operator==(const SampleKey&) const = default;
  };
  struct SampleKeyHash {
    std::size_t operator()(const SampleKey& key) const;
  };
  std::unordered_set<SampleKey, SampleKeyHash> seen_;
  std::size_t duplicates_ = 0;
};

// Labels in which different values of one Resource meet, because its attributes have one name in Prometheus, with the
// values as they are joined: {"k8s_pod_label_app_name", "a;b"}.
std::map<std::string, std::string> joined_labels(const std::vector<ResourceSeriesPtr>& state);

// Adds the families of `prometheus.naming: legacy` for one Resource.
void add_legacy_families(PrometheusFamilies& families, const ResourceSeries& series, const LabelSet* shared);

}  // namespace sonde
