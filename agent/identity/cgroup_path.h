// SPDX-License-Identifier: Apache-2.0
// What a cgroup is, from its path alone: systemd and cgroupfs drivers; containerd, CRI-O, Docker, Podman; all three QoS
// classes; pod UIDs with dashes, underscores or as the 32 hex digits of a static pod; nested trees. Pure.
#pragma once

#include <string>
#include <string_view>

namespace sonde {

struct CgroupPath {
  std::string runtime;         // containerd, cri-o, docker, podman; empty if the path does not tell
  std::string container_id;    // 64 hex digits; empty if this is no container
  std::string pod_uid;         // dashed form, or 32 hex digits; empty outside pods
  std::string qos;             // guaranteed, burstable, besteffort; empty outside pods
  std::string container_path;  // of the container's own directory: the path, or a prefix of it; empty if no container
  bool inside = false;         // deeper than the container's own directory
  bool helper = false;         // a runtime's helper process (conmon), not the container

  friend bool operator==(const CgroupPath&, const CgroupPath&) = default;
};

// `path` is below the v2 root; a missing first '/', doubled '/', "." and ".." are passed over. Of nested containers the
// outermost below the innermost pod counts: a container started inside a container is part of it, a node of kind is not
// the pod that runs on it.
CgroupPath parse_cgroup_path(std::string_view path);

// What the name of a directory says of it, by the definition that the kernel side has too:
// bpf/include/sonde/cgroup_name.h.
struct DirectoryName {
  bool container = false;
  bool pod = false;     // it begins a pod: what is above it (a node that is a container itself) is not whose it is
  bool helper = false;  // of a runtime's own process
  std::string_view prefix, id;   // of a container: "cri-containerd-" and the 64 digits
  std::string_view before, uid;  // of a pod: "kubepods-burstable-" and its uid as written
};
// `parent` is the name of the directory that it is in. The answer points into `name`.
DirectoryName read_directory_name(std::string_view name, std::string_view parent);

}  // namespace sonde
