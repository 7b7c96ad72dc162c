// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/documents.h"

#include <map>
#include <nlohmann/json.hpp>

#include "agent/base/json.h"

namespace sonde {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxPidsShown = 1000;

// Subjects by their cgroup; each once, though nested directories and processes have slots too.
std::map<std::string, SubjectPtr> subjects_of(const IdentitySnapshot& identity) {
  std::map<std::string, SubjectPtr> subjects;
  for (const auto& [slot, owner] : identity.slots) {
    if (owner.subject->kind == SubjectKind::Unattributed) continue;
    subjects.emplace(owner.subject->cgroup_path, owner.subject);
  }
  return subjects;
}

Json attributes_json(const AttributeSet& set) {
  Json object = Json::object();
  for (const Attribute& attribute : set) {
    std::visit([&](const auto& value) { object[attribute.key] = value; }, attribute.value);
  }
  return object;
}

Json point_json(const Point& point, const ResourceSeries& series) {
  Json json{{"attributes", attributes_json(*point.attributes)}};
  if (point.metric->instrument == Instrument::Histogram) {
    json["count"] = point.count;
    json["sum"] = point.real;
    json["scale"] = 2;
    json["offset"] = point.bucket_offset;
    json["buckets"] = std::vector<uint64_t>(series.buckets.begin() + point.bucket_begin,
                                            series.buckets.begin() + point.bucket_begin + point.bucket_length);
  } else if (point.metric->integer) {
    json["value"] = point.integer;
  } else {
    json["value"] = point.real;
  }
  return json;
}

std::string text_of(const Json& json) { return json_text(json, 2) + "\n"; }

}  // namespace

std::string make_pods_json(const IdentitySnapshot& identity, const Members& members) {
  Json list = Json::array();
  for (const auto& [path, subject] : subjects_of(identity)) {
    Json one{{"kind", subject->kind == SubjectKind::Container ? "container" : "cgroup"}, {"cgroup", path}};
    one["cgroup_id"] = subject->cgroup_id;
    const std::pair<const char*, const std::string&> names[] = {{"namespace", subject->namespace_name},
                                                                {"pod", subject->pod_name},
                                                                {"container", subject->container_name},
                                                                {"pod_uid", subject->pod_uid},
                                                                {"runtime", subject->runtime},
                                                                {"container_id", subject->container_id},
                                                                {"qos", subject->qos},
                                                                {"image", subject->image}};
    for (const auto& [key, value] : names) {
      if (!value.empty()) one[key] = value;
    }
    // A container's processes may stand in directories inside it; other cgroups' directories are subjects themselves.
    const bool whole = subject->kind == SubjectKind::Container;
    if (auto pids = members.pids(path, kMaxPidsShown, whole)) one["pids"] = pids->pids;
    list.push_back(std::move(one));
  }
  return text_of(list);
}

std::string report_json(const std::vector<ResourceSeriesPtr>& all) {
  Json list = Json::array();
  for (const ResourceSeriesPtr& series : all) {
    Json metrics = Json::array();
    const MetricSpec* current = nullptr;
    for (const Point& point : series->points) {
      if (point.metric != current) {
        current = point.metric;
        metrics.push_back({{"name", current->name}, {"unit", current->unit}, {"points", Json::array()}});
      }
      metrics.back()["points"].push_back(point_json(point, *series));
    }
    list.push_back({{"resource", attributes_json(series->resource->attributes)},
                    {"time_unix_ns", series->time_ns},
                    {"metrics", std::move(metrics)}});
  }
  return text_of(list);
}

}  // namespace sonde
