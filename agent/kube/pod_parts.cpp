// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/pod_parts.h"

#include <optional>
#include <utility>

namespace sonde::kube {
namespace {

// A ReplicaSet of a Deployment is <deployment>-<hash>, and the pod carries the hash as a label: the Deployment's name
// follows without asking the API server. A Job of a CronJob is <cronjob>-<minutes since 1970>.
std::optional<Owner> grand_owner(const Owner& owner, const std::map<std::string, std::string>& labels) {
  const std::size_t dash = owner.name.rfind('-');
  if (dash == std::string::npos || dash == 0) return {};
  const std::string last = owner.name.substr(dash + 1);
  if (owner.kind == "ReplicaSet") {
    const auto hash = labels.find("pod-template-hash");
    if (hash != labels.end() && hash->second == last) return Owner{"Deployment", owner.name.substr(0, dash)};
  }
  if (owner.kind == "Job") {
    const bool digits = last.find_first_not_of("0123456789") == std::string::npos;
    if (digits && last.size() >= 8 && last.size() <= 11) return Owner{"CronJob", owner.name.substr(0, dash)};
  }
  return {};
}

}  // namespace

bool is_over(std::string_view phase) { return phase == "Succeeded" || phase == "Failed"; }

bool is_finished(ContainerType type, int exit_code) {
  return type == ContainerType::Ephemeral || (type == ContainerType::Init && exit_code == 0);
}

std::string bare_id(const std::string& id) {
  const std::size_t scheme = id.find("://");
  return scheme == std::string::npos ? id : id.substr(scheme + 3);
}

void add_owner(Pod& pod, Owner controller) {
  if (controller.kind.empty() || controller.kind == "Node") return;  // a static pod's mirror belongs to its node
  const auto above = grand_owner(controller, pod.labels);
  pod.owners.push_back(std::move(controller));
  if (above) pod.owners.push_back(*above);
}

Result<void> settle_identity(Pod& pod) {
  if (pod.uid.empty() || pod.name.empty() || pod.namespace_name.empty()) {
    return Error("a pod without uid, name or namespace");
  }
  const auto mirror = pod.annotations.find("kubernetes.io/config.mirror");
  if (mirror != pod.annotations.end() && !mirror->second.empty()) pod.uid = mirror->second;
  return {};
}

}  // namespace sonde::kube
