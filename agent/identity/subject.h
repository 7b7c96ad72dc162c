// SPDX-License-Identifier: Apache-2.0
// A subject is what counts are attributed to: a container, or outside containers a leaf cgroup. Immutable: when more
// becomes known (a pod's name, a label), a new Subject with the same key is published.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace sonde {

enum class SubjectKind : uint8_t {
  Container,     // the cgroup of a container
  Cgroup,        // a cgroup outside containers
  Unattributed,  // what could not be attributed: slot 0
};

// Sidecar: an init container with restartPolicy Always, which runs as long as the pod does.
enum class ContainerType : uint8_t { Unknown, Regular, Init, Ephemeral, Sandbox, Sidecar };

struct Owner {
  std::string kind;  // Deployment, StatefulSet, DaemonSet, Job, CronJob
  std::string name;
  friend bool operator==(const Owner&, const Owner&) = default;
};

struct Subject {
  SubjectKind kind = SubjectKind::Cgroup;
  std::string cgroup_path;  // relative to the v2 root, "/" for the root itself
  uint64_t cgroup_id = 0;
  uint64_t started_ns = 0;  // CLOCK_BOOTTIME at creation; 0: older than the agent and unknown

  // From the path.
  std::string runtime;       // containerd, cri-o, docker, podman; empty if the path does not show it
  std::string container_id;  // 64 hex digits
  std::string pod_uid;       // with dashes, or 32 hex digits for a static pod
  std::string qos;           // guaranteed, burstable, besteffort

  // From Kubernetes; empty while unknown.
  std::string namespace_name;
  std::string pod_name;
  std::string container_name;
  std::string node_name;
  std::string image;
  ContainerType type = ContainerType::Unknown;
  int restart_count = 0;
  std::vector<Owner> owners;  // nearest first
  std::map<std::string, std::string> pod_labels;
  std::map<std::string, std::string> pod_annotations;
  std::map<std::string, std::string> namespace_labels;

  // Identifies the subject across updates: a subject with an equal key continues the previous one.
  std::string key() const;
};
using SubjectPtr = std::shared_ptr<const Subject>;

// The holder of a slot. Several slots may belong to one subject: a container's nested cgroups, its processes.
struct SlotOwner {
  SubjectPtr subject;
  uint32_t tgid = 0;  // not 0: a single process (process granularity)
  std::string comm;
  bool ended = false;  // cgroup removed or process gone: a last flush is due
};

// Published by the control half of the agent, read at collections and by the servers.
struct IdentitySnapshot {
  std::unordered_map<uint32_t, SlotOwner> slots;
  uint64_t made_ns = 0;  // CLOCK_BOOTTIME
};

}  // namespace sonde
