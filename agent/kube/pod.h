// SPDX-License-Identifier: Apache-2.0
// What Sonde wants to know of a pod, and how it is read from the JSON of core/v1 Pod, as kubelet and API server give it.
#pragma once

#include <cstddef>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"
#include "agent/identity/subject.h"

namespace sonde::kube {

// What a node can have at most is far below; a peer that sends more is not a kubelet.
inline constexpr std::size_t kMostPods = 4096;
inline constexpr std::size_t kMostContainers = 256;        // of one pod
inline constexpr std::size_t kMostLabels = 256;            // of one pod, and as many annotations
inline constexpr std::size_t kMostAnnotationBytes = 4096;  // of one value; a longer one is left out

struct PodContainer {
  std::string name;
  std::string image;
  // 64 hex digits, without containerd://; empty while it does not run yet. A container that was started again has
  // the previous one's id in `previous_id`.
  std::string id;
  std::string previous_id;
  ContainerType type = ContainerType::Unknown;
  int restart_count = 0;
  bool finished = false;  // it has ended, and the kubelet does not start it again while the pod lives
  friend bool operator==(const PodContainer&, const PodContainer&) = default;
};

struct Pod {
  // As in the cgroup's path: the kubelet's own UID. For a static pod that is the hash in the annotation
  // kubernetes.io/config.hash, whatever UID its mirror has in the API.
  std::string uid;
  std::string namespace_name;
  std::string name;
  std::string node_name;
  std::vector<Owner> owners;  // nearest first, as far as the pod itself tells
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  std::vector<PodContainer> containers;
  bool over = false;  // Succeeded or Failed: none of its containers starts again
  friend bool operator==(const Pod&, const Pod&) = default;
};

// Of one Pod object. The error says what is missing.
Result<Pod> pod_of(const nlohmann::json& object);
struct PodList {
  std::vector<Pod> pods;
  std::size_t skipped = 0;  // entries that are no pods, or beyond the limits
  std::string resource_version;
};
// Of a PodList; entries that cannot be understood are skipped and counted.
Result<PodList> parse_pod_list(std::string_view json);

}  // namespace sonde::kube
