// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/cgroup_programs.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <mntent.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string_view>

#include "agent/base/fd.h"

namespace sonde {
std::string mounted_cgroup_root() {
  const std::unique_ptr<FILE, int (*)(FILE*)> mounts(setmntent("/proc/self/mounts", "re"), endmntent);
  if (!mounts) return {};
  while (const mntent* mount = getmntent(mounts.get())) {
    if (std::string_view(mount->mnt_type) == "cgroup2") return mount->mnt_dir;
  }
  return {};
}

Result<std::vector<bpf_link*>> attach_to_root_cgroup(const bpf_program* program, const std::string& root) {
  const std::string path = root.empty() ? mounted_cgroup_root() : root;
  if (path.empty()) return Error("no cgroup v2 tree is mounted");
  const Fd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return Error::system("cannot open " + path, errno);
  bpf_link* link = bpf_program__attach_cgroup(program, directory.get());
  if (!link) return Error::system("the kernel refuses it at " + path, errno);
  return std::vector<bpf_link*>{link};
}

}  // namespace sonde
