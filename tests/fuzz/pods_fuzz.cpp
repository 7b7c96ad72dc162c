// SPDX-License-Identifier: Apache-2.0
// Pods as a kubelet or an API server tells them, as JSON and as protobuf: whatever comes is a pod within the limits, or an error.
// Layers: kube modules
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "agent/base/json.h"
#include "agent/kube/kubelet_source.h"
#include "agent/kube/pod.h"
#include "agent/kube/pod_proto.h"
#include "agent/kube/pod_table.h"
#include "tests/fuzz/support.h"

namespace {

using namespace sonde;
using fuzz::require;

void check(const kube::Pod& pod) {
  require(!pod.uid.empty() && !pod.name.empty() && !pod.namespace_name.empty());
  require(pod.labels.size() <= kube::kMostLabels && pod.annotations.size() <= kube::kMostLabels);
  require(pod.containers.size() <= kube::kMostContainers);
  require(std::ranges::all_of(pod.containers, [](const auto& container) { return container.restart_count >= 0; }));
}

// What the table was given it says again, of each container.
void check_table(const kube::Pod& pod) {
  kube::PodTable table({.namespaces = false});
  table.put(pod, 1);
  uint64_t cgroup_id = 1;
  for (const kube::PodContainer& container : pod.containers) {
    Subject subject;
    subject.kind = SubjectKind::Container;
    subject.container_id = container.id;
    subject.pod_uid = pod.uid;
    subject.cgroup_id = cgroup_id++;
    table.enrich(subject);
    require(subject.pod_name == pod.name);
    table.complete(subject);
  }
  table.replace({}, 2);
  require(table.size() == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      if (const auto pod = kube::pod_of(parse_json<nlohmann::json>(text))) check(*pod), check_table(*pod);
      break;
    case 1:
      if (const auto list = kube::parse_pod_list(text)) {
        require(list->pods.size() <= kube::kMostPods);
        for (const kube::Pod& pod : list->pods) check(pod);
      }
      break;
    case 2:
      if (const auto pod = kube::parse_pod_proto(text)) check(*pod), check_table(*pod);
      kube::uid_of_pod_proto(text);
      break;
    default:
      if (const std::string url = kube::kubelet_url(std::string(text)); !url.empty())
        require(url.starts_with("https://"));
  }
  return 0;
}
