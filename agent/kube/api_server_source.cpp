// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/api_server_source.h"

#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <utility>

namespace sonde::kube {
namespace {

ReflectorOptions pods_of(const std::string& node_name) {
  ReflectorOptions options;
  options.path = "/api/v1/pods";
  options.query = "fieldSelector=spec.nodeName%3D" + node_name;
  return options;
}

}  // namespace

void ApiServerSource::Objects::listed(const std::string& key, const nlohmann::json& object) {
  auto pod = pod_of(object);
  if (!pod) return spdlog::warn("pod {}: {}", key, pod.error().message());
  listing_.insert_or_assign(key, std::move(*pod));
}

void ApiServerSource::Objects::replace() {
  std::vector<Pod> pods;
  uids_.clear();
  for (auto& [key, pod] : listing_) {
    uids_[key] = pod.uid;
    pods.push_back(std::move(pod));
  }
  listing_.clear();
  sink_.all(std::move(pods));
}

void ApiServerSource::Objects::put(const std::string& key, const nlohmann::json& object) {
  auto pod = pod_of(object);
  if (!pod) return spdlog::warn("pod {}: {}", key, pod.error().message());
  // The same name again is another pod: the old one has ended, though nobody said so.
  if (const auto before = uids_.find(key); before != uids_.end() && before->second != pod->uid)
    sink_.gone(before->second);
  uids_[key] = pod->uid;
  sink_.one(std::move(*pod));
}

void ApiServerSource::Objects::remove(const std::string& key) {
  const auto found = uids_.find(key);
  if (found == uids_.end()) return;
  sink_.gone(found->second);
  uids_.erase(found);
}

ApiServerSource::ApiServerSource(ApiOptions api, const std::string& node_name, PodSink& sink)
    : client_(std::move(api)), objects_(sink), reflector_(client_, pods_of(node_name), objects_) {
  reflector_.start();
}

ApiServerSource::~ApiServerSource() { client_.stop(); }

}  // namespace sonde::kube
