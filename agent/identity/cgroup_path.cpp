// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/cgroup_path.h"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace sonde {
namespace {

constexpr std::size_t kIdDigits = 64;
constexpr std::size_t kUuidLength = 36;
constexpr std::size_t kStaticUidDigits = 32;

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool is_all_hex(std::string_view text) { return std::all_of(text.begin(), text.end(), is_hex); }

bool ends_component(std::string_view rest) { return rest.empty() || rest[0] == '.' || rest[0] == ':'; }

// Eight-four-four-four-twelve, all separators the same.
bool is_uuid(std::string_view text) {
  if (text.size() != kUuidLength || (text[8] != '-' && text[8] != '_')) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool separator = i == 8 || i == 13 || i == 18 || i == 23;
    if (separator ? text[i] != text[8] : !is_hex(text[i])) return false;
  }
  return true;
}

// The UID that begins here and ends with the name, before ".slice", or before ":".
std::string uid_at(std::string_view text) {
  if (text.size() >= kUuidLength && is_uuid(text.substr(0, kUuidLength)) && ends_component(text.substr(kUuidLength))) {
    std::string uid(text.substr(0, kUuidLength));
    std::replace(uid.begin(), uid.end(), '_', '-');
    return uid;
  }
  if (text.size() >= kStaticUidDigits && is_all_hex(text.substr(0, kStaticUidDigits)) &&
      ends_component(text.substr(kStaticUidDigits)))
    return std::string(text.substr(0, kStaticUidDigits));
  return {};
}

struct PodName {
  std::string uid;
  std::string_view before;  // "kubepods-burstable-" with systemd, empty with cgroupfs
};

// pod<uid>, kubepods-burstable-pod<uid>.slice, kubelet-kubepods-pod<uid>.slice, …pod<uid>.slice:cri-containerd:<id>
std::optional<PodName> pod_name(std::string_view name) {
  for (std::size_t at = name.find("pod"); at != std::string_view::npos; at = name.find("pod", at + 1)) {
    if (at != 0 && name[at - 1] != '-') continue;
    std::string uid = uid_at(name.substr(at + 3));
    if (!uid.empty()) return PodName{std::move(uid), name.substr(0, at)};
  }
  return std::nullopt;
}

std::string qos_of(std::string_view before, std::string_view parent) {
  for (const std::string_view qos : {"burstable", "besteffort"}) {
    if (parent == qos) return std::string(qos);
    if (before.size() > qos.size() && before.substr(before.size() - qos.size() - 1, qos.size()) == qos)
      return std::string(qos);
  }
  return "guaranteed";
}

struct ContainerName {
  std::string_view prefix;  // "cri-containerd-", "docker-", "…slice:cri-containerd:", or empty
  std::string_view id;
};

std::optional<ContainerName> container_name(std::string_view name) {
  constexpr std::string_view kScope = ".scope";
  if (name.ends_with(kScope)) name.remove_suffix(kScope.size());
  if (name.size() < kIdDigits) return std::nullopt;
  const std::string_view id = name.substr(name.size() - kIdDigits);
  const std::string_view prefix = name.substr(0, name.size() - kIdDigits);
  if (!is_all_hex(id) || (!prefix.empty() && is_hex(prefix.back()))) return std::nullopt;
  return ContainerName{prefix, id};
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

// conmon watches a container from a scope of its own, which carries the container's id.
bool is_helper(std::string_view prefix) { return prefix.ends_with("conmon-"); }

// Podman gives its own pods directories with ids of 64 digits too; their containers are below.
bool is_podman_pod(const ContainerName& name, std::string_view parent) {
  return name.prefix.ends_with("pod_") || (name.prefix.empty() && parent == "libpod_parent");
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

void take_container(const ContainerName& name, const Components& at, CgroupPath& out) {
  out.runtime = runtime_of(name.prefix, at.parent);
  out.container_id = std::string(name.id);
  out.container_path = std::string(at.path.substr(0, at.end));
  out.inside = false;
}

}  // namespace

bool is_container_directory(std::string_view name) { return container_name(name).has_value(); }

CgroupPath parse_cgroup_path(std::string_view path) {
  CgroupPath out;
  Components at{path};
  while (at.next()) {
    if (const auto pod = pod_name(at.name)) {
      // What was found above is the machine this pod runs on (a node of kind), not its container.
      out = CgroupPath{};
      out.pod_uid = pod->uid;
      out.qos = qos_of(pod->before, at.parent);
    } else if (!out.container_id.empty() || out.helper) {
      out.inside = !out.container_id.empty();
      continue;
    }
    const auto name = container_name(at.name);
    if (!name || is_podman_pod(*name, at.parent)) continue;
    if (is_helper(name->prefix)) {
      out.helper = true;
    } else {
      take_container(*name, at, out);
    }
  }
  return out;
}

}  // namespace sonde
