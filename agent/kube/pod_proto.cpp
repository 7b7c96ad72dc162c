// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/pod_proto.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "agent/kube/pod_parts.h"
#include "kubernetes/pod.pb.h"

namespace sonde::kube {
namespace {

namespace pb = sonde::kubernetes;

bool parse(pb::Pod& pod, std::string_view bytes) {
  return bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()) &&
         pod.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

template <typename Map>
std::map<std::string, std::string> texts(const Map& from) {
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : from) {
    if (out.size() >= kMostLabels) break;
    if (value.size() <= kMostAnnotationBytes) out.emplace(key, value);
  }
  return out;
}

template <typename Statuses>
void add_container(const pb::Container& from, const Statuses& statuses, ContainerType type, Pod& out) {
  if (out.containers.size() >= kMostContainers) return;
  PodContainer container;
  container.name = from.name();
  container.image = from.image();
  const bool stays = type == ContainerType::Init && from.restart_policy() == "Always";
  container.type = stays ? ContainerType::Sidecar : type;
  const auto status =
      std::ranges::find(statuses, container.name, [](const pb::ContainerStatus& one) { return one.name(); });
  if (status != statuses.end()) {
    container.id = bare_id(status->container_id());
    container.previous_id = bare_id(status->last_state().terminated().container_id());
    container.restart_count = std::clamp(status->restart_count(), 0, 1'000'000'000);
    const auto& state = status->state();
    container.finished = state.has_terminated() && is_finished(container.type, state.terminated().exit_code());
  }
  out.containers.push_back(std::move(container));
}

}  // namespace

Result<Pod> parse_pod_proto(std::string_view bytes) {
  pb::Pod from;
  if (!parse(from, bytes)) return Error("a pod that is not valid protobuf");
  Pod pod;
  pod.uid = from.metadata().uid();
  pod.name = from.metadata().name();
  pod.namespace_name = from.metadata().namespace_();
  pod.labels = texts(from.metadata().labels());
  pod.annotations = texts(from.metadata().annotations());
  if (auto known = settle_identity(pod); !known) return known.error();
  pod.node_name = from.spec().node_name();
  const auto& references = from.metadata().owner_references();
  const auto controller =
      std::ranges::find_if(references, [](const auto& reference) { return reference.controller(); });
  if (controller != references.end()) add_owner(pod, {controller->kind(), controller->name()});
  const pb::PodStatus& status = from.status();
  pod.over = is_over(status.phase());
  for (const auto& one : from.spec().containers()) {
    add_container(one, status.container_statuses(), ContainerType::Regular, pod);
  }
  for (const auto& one : from.spec().init_containers()) {
    add_container(one, status.init_container_statuses(), ContainerType::Init, pod);
  }
  for (const auto& one : from.spec().ephemeral_containers()) {
    add_container(one.container(), status.ephemeral_container_statuses(), ContainerType::Ephemeral, pod);
  }
  return pod;
}

std::string uid_of_pod_proto(std::string_view bytes) {
  pb::Pod from;
  return parse(from, bytes) ? from.metadata().uid() : std::string();
}

}  // namespace sonde::kube
