// SPDX-License-Identifier: Apache-2.0
// What a receiver that knows values only makes of batches, and pods whose containers may be started again.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>

#include "tests/unit/pipeline/support.h"

namespace sonde::testing {

// increase() over everything, as Prometheus works it out, without its extrapolation: what points of one instance and
// one set of labels rise by; a fall is a reset; the first point is where it began.
class LastValues {
 public:
  void take(const BatchPtr& batch) {
    if (!batch) return;
    check_structure(*batch);
    for (const ResourcePoints& part : batch->resources) {
      const std::string instance = attribute(*part.resource, "service.instance.id");
      const std::string all = text(part.resource->attributes);
      EXPECT_EQ(resources_.try_emplace(instance, all).first->second, all) << "one id stands for one Resource, for ever";
      for (std::size_t i = part.begin; i < part.begin + part.length; ++i) take(instance, batch->points[i]);
    }
  }
  uint64_t increase(const std::string& metric) const {
    uint64_t sum = 0;
    for (const auto& [key, series] : series_) sum += key.second.starts_with(metric + "{") ? series.increase : 0;
    return sum;
  }
  // Series that are still shown, of instances whose id has this in it.
  std::size_t shown(const std::string& instance) const {
    std::size_t count = 0;
    for (const auto& [key, series] : series_) count += !series.ended && key.first.find(instance) != std::string::npos;
    return count;
  }
  std::set<std::string> instances(const std::string& metric) const {
    std::set<std::string> found;
    for (const auto& [key, series] : series_) {
      if (key.second.starts_with(metric + "{")) found.insert(key.first);
    }
    return found;
  }

 private:
  struct Series {
    uint64_t time = 0, start = 0, value = 0, increase = 0;
    bool ended = false;
  };
  void take(const std::string& instance, const Point& point) {
    const std::string name = std::string(point.metric->name) + "{" + text(*point.attributes) + "}";
    auto [entry, fresh] = series_.try_emplace({instance, name});
    Series& series = entry->second;
    EXPECT_GT(point.time_ns, series.time) << name << ": Prometheus refuses the whole request";
    EXPECT_GT(point.time_ns, point.start_ns) << name;
    if (!fresh && point.start_ns != series.start) {
      EXPECT_GT(point.start_ns, series.time) << name << " starts at or before its last point";
    }
    const bool same_life = !fresh && point.start_ns == series.start;
    series.time = point.time_ns;
    series.start = point.start_ns;
    series.ended = point.no_recorded_value;
    if (point.no_recorded_value) return;
    const uint64_t value = point.metric->instrument == Instrument::Histogram ? point.count
                           : point.metric->integer                           ? static_cast<uint64_t>(point.integer)
                                                                             : static_cast<uint64_t>(point.real);
    const bool falls =
        point.metric->instrument == Instrument::Counter || point.metric->instrument == Instrument::Histogram;
    if (same_life && falls) {
      EXPECT_GE(value, series.value) << name << " fell while its start stayed";
    }
    if (!fresh) series.increase += value >= series.value ? value - series.value : value;
    series.value = value;
  }
  std::map<std::pair<std::string, std::string>, Series> series_;
  std::map<std::string, std::string> resources_;
};

// A pod of which the kubelet says what may be started again.
struct Cluster {
  std::set<std::string> over;  // container names that are not started again
  AggregatorOptions options() {
    AggregatorOptions options;
    options.attached_ns = 900 * kSecond;
    options.may_return = [this](const Subject& subject, StreamScope) {
      return !over.contains(subject.container_name) && !over.contains(subject.pod_uid);
    };
    return options;
  }
};

// One life of the container in this slot: it counts, ends, and its slot is given back.
inline void live(World& world, uint32_t slot, Subject subject, uint16_t series, uint64_t amount, uint64_t ns) {
  world.add(slot, std::move(subject));
  world.collect();
  world.pass(ns);
  world.end(slot);
  world.collect([&] { world.aggregator.counter(slot, id(series), amount); });
  world.remove(slot);
  world.collect();
}

}  // namespace sonde::testing
