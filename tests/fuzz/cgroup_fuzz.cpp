// SPDX-License-Identifier: Apache-2.0
// Paths of cgroups, mountinfo, and what /proc says about a process: any other process chooses parts of them.
// Layers: identity
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "agent/identity/cgroup_path.h"
#include "agent/identity/cgroup_root.h"
#include "agent/identity/identity.h"
#include "agent/identity/proc.h"

namespace {

void require(bool condition) {
  if (!condition) abort();
}

void path(std::string_view text) {
  using namespace sonde;
  const CgroupPath got = parse_cgroup_path(text);
  require(got.container_id.empty() || got.container_id.size() == 64);
  require(got.container_id.empty() == got.container_path.empty());
  require(text.starts_with(got.container_path));
  require(got.pod_uid.empty() == got.qos.empty());
  require(got.pod_uid.empty() || got.pod_uid.size() == 36 || got.pod_uid.size() == 32);
  if (got.container_id.empty()) return;
  // The container's own path says the same, less what is deeper.
  CgroupPath own = parse_cgroup_path(got.container_path);
  require(!own.inside);
  own.inside = got.inside;
  require(own == got);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace sonde;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  path(text);
  require(!subject_of(std::string(text), 1, 2).key().empty());
  for (const CgroupMount& mount : parse_mountinfo(text)) require(mount.path.size() <= size);
  if (const auto process = parse_proc_stat(text)) require(process->pid > 0);
  if (const auto cgroup = parse_proc_cgroup(text)) require(cgroup->starts_with('/'));
  return 0;
}
