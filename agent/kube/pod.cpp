// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/pod.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "agent/base/json.h"
#include "agent/kube/pod_parts.h"

namespace sonde::kube {
namespace {

using Json = nlohmann::json;

const Json* field(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

std::string text(const Json& object, const char* name) {
  const Json* value = field(object, name);
  return value && value->is_string() ? value->get<std::string>() : std::string();
}

int small_number(const Json& object, const char* name) {
  const Json* value = field(object, name);
  if (!value || !value->is_number_integer()) return 0;
  return static_cast<int>(std::clamp<int64_t>(value->get<int64_t>(), 0, 1'000'000'000));
}

std::map<std::string, std::string> texts(const Json& object, const char* name) {
  std::map<std::string, std::string> out;
  const Json* values = field(object, name);
  if (!values || !values->is_object()) return out;
  for (const auto& [key, value] : values->items()) {
    if (out.size() >= kMostLabels) break;
    if (!value.is_string() || value.get_ref<const std::string&>().size() > kMostAnnotationBytes) continue;
    out.emplace(key, value.get<std::string>());
  }
  return out;
}

std::string previous_id(const Json& status) {
  const Json* last = field(status, "lastState");
  const Json* terminated = last ? field(*last, "terminated") : nullptr;
  return terminated ? bare_id(text(*terminated, "containerID")) : std::string();
}

bool has_finished(ContainerType type, const Json& status) {
  const Json* state = field(status, "state");
  const Json* terminated = state ? field(*state, "terminated") : nullptr;
  return terminated && terminated->is_object() && is_finished(type, small_number(*terminated, "exitCode"));
}

const Json* status_of(const Json& pod, const char* list, const std::string& name) {
  const Json* status = field(pod, "status");
  const Json* statuses = status ? field(*status, list) : nullptr;
  if (!statuses || !statuses->is_array()) return nullptr;
  for (const Json& one : *statuses) {
    if (text(one, "name") == name) return &one;
  }
  return nullptr;
}

void add_containers(const Json& pod, const char* list, const char* statuses, ContainerType type, Pod& out) {
  const Json* spec = field(pod, "spec");
  const Json* containers = spec ? field(*spec, list) : nullptr;
  if (!containers || !containers->is_array()) return;
  for (const Json& one : *containers) {
    if (out.containers.size() >= kMostContainers) return;
    PodContainer container;
    container.name = text(one, "name");
    container.image = text(one, "image");
    const bool stays = type == ContainerType::Init && text(one, "restartPolicy") == "Always";
    container.type = stays ? ContainerType::Sidecar : type;
    if (const Json* status = status_of(pod, statuses, container.name)) {
      container.id = bare_id(text(*status, "containerID"));
      container.previous_id = previous_id(*status);
      container.restart_count = small_number(*status, "restartCount");
      container.finished = has_finished(container.type, *status);
    }
    out.containers.push_back(std::move(container));
  }
}

void add_owners(const Json& metadata, Pod& out) {
  const Json* references = field(metadata, "ownerReferences");
  if (!references || !references->is_array()) return;
  for (const Json& reference : *references) {
    const Json* controller = field(reference, "controller");
    if (!controller || !controller->is_boolean() || !controller->get<bool>()) continue;
    return add_owner(out, {text(reference, "kind"), text(reference, "name")});
  }
}

// nlohmann's own messages speak of lexers and tokens.
Result<Json> parse(std::string_view text) {
  Json json = parse_json<Json>(text);
  if (json.is_discarded()) return Error("the answer is not JSON");
  return json;
}

}  // namespace

Result<Pod> pod_of(const Json& json) {
  const Json* metadata = field(json, "metadata");
  if (!metadata || !metadata->is_object()) return Error("a pod without metadata");
  Pod pod;
  pod.uid = text(*metadata, "uid");
  pod.name = text(*metadata, "name");
  pod.namespace_name = text(*metadata, "namespace");
  pod.labels = texts(*metadata, "labels");
  pod.annotations = texts(*metadata, "annotations");
  if (auto known = settle_identity(pod); !known) return known.error();
  if (const Json* status = field(json, "status")) pod.over = is_over(text(*status, "phase"));
  if (const Json* spec = field(json, "spec")) pod.node_name = text(*spec, "nodeName");
  add_owners(*metadata, pod);
  add_containers(json, "containers", "containerStatuses", ContainerType::Regular, pod);
  add_containers(json, "initContainers", "initContainerStatuses", ContainerType::Init, pod);
  add_containers(json, "ephemeralContainers", "ephemeralContainerStatuses", ContainerType::Ephemeral, pod);
  return pod;
}

Result<PodList> parse_pod_list(std::string_view json_text) {
  const auto json = parse(json_text);
  if (!json) return json.error();
  const Json* items = field(*json, "items");
  if (text(*json, "kind") != "PodList" || !items) return Error("the answer is not a list of pods");
  PodList list;
  if (const Json* metadata = field(*json, "metadata")) list.resource_version = text(*metadata, "resourceVersion");
  if (items->is_null()) return list;  // Go's empty list
  if (!items->is_array()) return Error("the answer is not a list of pods");
  for (const Json& item : *items) {
    auto pod = list.pods.size() < kMostPods ? pod_of(item) : Result<Pod>(Error("too many"));
    if (pod) {
      list.pods.push_back(std::move(*pod));
    } else {
      ++list.skipped;
    }
  }
  return list;
}

}  // namespace sonde::kube
