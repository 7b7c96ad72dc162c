// SPDX-License-Identifier: Apache-2.0
// A subject is what numbers are charged to: a container, or outside containers a leaf cgroup. Immutable: whoever learns
// more (a pod's name, a label) publishes a new Subject with the same key.
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
  Cgroup,        // a cgroup that is no container's
  Unattributed,  // what could not be charged to anyone: slot 0
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
  std::string cgroup_path;  // below the v2 root, "/" for the root itself
  uint64_t cgroup_id = 0;
  uint64_t started_ns = 0;  // CLOCK_BOOTTIME at creation; 0: before the agent and not known

  // From the path.
  std::string runtime;       // containerd, cri-o, docker, podman; empty if not told by the path
  std::string container_id;  // 64 hex digits
  std::string pod_uid;       // dashed form, or 32 hex digits of a static pod
  std::string qos;           // guaranteed, burstable, besteffort

  // From Kubernetes; empty while not known.
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

  // What stays the same while it is the same stream of numbers: two subjects with equal keys follow each other.
  std::string key() const;
};
using SubjectPtr = std::shared_ptr<const Subject>;

// Who has a slot. Several slots may lead to one subject: a container's nested cgroup, its processes.
struct SlotOwner {
  SubjectPtr subject;
  uint32_t tgid = 0;  // not 0: one process of it (process granularity)
  std::string comm;
  bool ended = false;  // cgroup removed or process gone: one last flush is due
};

// Published by the control half of the agent, read at collections and by the servers.
struct IdentitySnapshot {
  std::unordered_map<uint32_t, SlotOwner> slots;
  uint64_t made_ns = 0;  // CLOCK_BOOTTIME
};

}  // namespace sonde
