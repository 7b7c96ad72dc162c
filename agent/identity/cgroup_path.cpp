// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/cgroup_path.h"

#include <algorithm>
#include <cstddef>

#include "bpf/include/sonde/cgroup_name.h"

namespace sonde {
namespace {

std::string qos_of(std::string_view before, std::string_view parent) {
  for (const std::string_view qos : {"burstable", "besteffort"}) {
    if (parent == qos) return std::string(qos);
    if (before.size() > qos.size() && before.substr(before.size() - qos.size() - 1, qos.size()) == qos)
      return std::string(qos);
  }
  return "guaranteed";
}

std::string runtime_of(std::string_view prefix, std::string_view parent) {
  if (prefix.find("cri-containerd") != std::string_view::npos || prefix.find("containerd-") != std::string_view::npos ||
      prefix.starts_with("nerdctl-"))
    return "containerd";
  if (prefix.find("crio") != std::string_view::npos) return "cri-o";
  if (prefix.find("docker") != std::string_view::npos) return "docker";
  if (prefix.find("libpod") != std::string_view::npos) return "podman";
  if (prefix.empty() && parent == "docker") return "docker";
  return {};
}

// Walks over the components of a path; `end` is the offset behind the component in the path.
struct Components {
  std::string_view path;
  std::size_t end = 0;
  std::string_view name;
  std::string_view parent;

  bool next() {
    for (;;) {
      const std::size_t begin = path.find_first_not_of('/', end);
      if (begin == std::string_view::npos) return false;
      end = std::min(path.find('/', begin), path.size());
      const std::string_view found = path.substr(begin, end - begin);
      if (found == "." || found == "..") continue;
      parent = name;
      name = found;
      return true;
    }
  }
};

std::string dashed(std::string_view uid) {
  std::string out(uid);
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

}  // namespace

DirectoryName read_directory_name(std::string_view name, std::string_view parent) {
  DirectoryName out;
  if (name.size() >= SONDE_NAME_SIZE) return out;  // the kernel has none so long
  char text[SONDE_NAME_SIZE] = {};
  name.copy(text, name.size());
  const uint32_t says = sonde_name_says(text, static_cast<uint32_t>(name.size()), parent == SONDE_PODMAN_PARENT);
  out.helper = says & SONDE_NAME_HELPER;
  out.container = says & SONDE_NAME_CONTAINER;
  out.pod = says & SONDE_NAME_POD;
  if (out.container) {
    out.prefix = name.substr(0, SONDE_NAME_ID_AT(says));
    out.id = name.substr(SONDE_NAME_ID_AT(says), SONDE_ID_DIGITS);
  }
  if (out.pod) {
    const uint32_t at = SONDE_NAME_UID_AT(says);
    out.before = name.substr(0, at - 3);  // less "pod"
    out.uid = name.substr(at, SONDE_NAME_UID_END(says) - at);
  }
  return out;
}

CgroupPath parse_cgroup_path(std::string_view path) {
  CgroupPath out;
  Components at{path};
  while (at.next()) {
    const DirectoryName name = read_directory_name(at.name, at.parent);
    if (name.pod) {
      // What was found above is the machine this pod runs on (a node of kind), not its container.
      out = CgroupPath{};
      out.pod_uid = dashed(name.uid);
      out.qos = qos_of(name.before, at.parent);
    } else if (!out.container_id.empty() || out.helper) {
      out.inside = !out.container_id.empty();
      continue;
    }
    out.helper = name.helper;
    if (!name.container) continue;
    out.runtime = runtime_of(name.prefix, at.parent);
    out.container_id = std::string(name.id);
    out.container_path = std::string(at.path.substr(0, at.end));
    out.inside = false;
  }
  return out;
}

}  // namespace sonde
