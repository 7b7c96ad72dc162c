// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/cgroup_root.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/base/fd.h"
#include "agent/base/file.h"
#include "agent/base/text.h"

namespace sonde {
namespace {

constexpr const char* kWhatToDo =
    "Sonde needs cgroup v2: boot with systemd.unified_cgroup_hierarchy=1 (or cgroup_no_v1=all), or mount it next to "
    "v1 with `mount -t cgroup2 none /sys/fs/cgroup/unified`";

bool on_cgroup2(const std::string& path) {
  struct statfs fs {};
  return ::statfs(path.c_str(), &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

// \040 and the like, as the kernel writes them into mountinfo.
std::string unescape(std::string_view text) {
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) && octal(text[i + 3])) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// The root of all cgroups is the only one without cgroup.type.
bool is_partial(const std::string& root) {
  struct stat st {};
  return ::stat((root + "/cgroup.type").c_str(), &st) == 0;
}

bool has_v1(const std::vector<CgroupMount>& mounts) {
  return std::any_of(mounts.begin(), mounts.end(), [](const CgroupMount& m) { return !m.v2 && !m.named; });
}

struct Search {
  const CgroupRootOptions& options;
  std::vector<CgroupMount> mounts;

  bool is_v2(const std::string& path) const { return options.is_cgroup2 ? options.is_cgroup2(path) : on_cgroup2(path); }

  CgroupRoot found(const std::string& path, bool hybrid) const { return {path, hybrid, is_partial(path)}; }

  // The directory, or its "unified" as systemd's hybrid layout has it.
  bool try_directory(const std::string& path, CgroupRoot& out) const {
    if (is_v2(path)) {
      out = found(path, has_v1(mounts));
      return true;
    }
    if (!is_v2(path + "/unified")) return false;
    out = found(path + "/unified", true);
    return true;
  }

  // Of the mounts that show the whole hierarchy the usual places first, then the shortest path.
  bool try_mounts(CgroupRoot& out) const {
    std::vector<const CgroupMount*> v2;
    for (const CgroupMount& mount : mounts)
      if (mount.v2 && is_v2(mount.path)) v2.push_back(&mount);
    if (v2.empty()) return false;
    const auto rank = [](const CgroupMount* mount) {
      const int place = mount->path == "/sys/fs/cgroup" ? 0 : mount->path == "/sys/fs/cgroup/unified" ? 1 : 2;
      return std::make_pair(mount->root == "/" ? 0 : 1, place);
    };
    const auto* best = *std::min_element(v2.begin(), v2.end(), [&](const CgroupMount* a, const CgroupMount* b) {
      return std::make_pair(rank(a), a->path.size()) < std::make_pair(rank(b), b->path.size());
    });
    out = found(best->path, has_v1(mounts));
    return true;
  }
};

Error not_found(const std::vector<CgroupMount>& mounts) {
  if (has_v1(mounts)) return Error(std::string("this machine has only cgroup v1. ") + kWhatToDo);
  return Error(std::string("no cgroup v2 hierarchy is mounted here. ") + kWhatToDo +
               "; in a container, mount the host's /sys/fs/cgroup and set its path");
}

}  // namespace

std::vector<CgroupMount> parse_mountinfo(std::string_view text) {
  std::vector<CgroupMount> mounts;
  for (const std::string_view line : split(text, '\n')) {
    const std::vector<std::string_view> fields = split(line, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 10 || fields.end() - dash < 4 || dash - fields.begin() < 6) continue;
    const std::string_view type = dash[1];
    if (type != "cgroup" && type != "cgroup2") continue;
    CgroupMount mount;
    mount.root = unescape(fields[3]);
    mount.path = unescape(fields[4]);
    mount.v2 = type == "cgroup2";
    const auto options = split(dash[3], ',');
    mount.named = !mount.v2 && std::any_of(options.begin(), options.end(),
                                           [](std::string_view option) { return option.starts_with("name="); });
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<CgroupRoot> find_cgroup_root(const CgroupRootOptions& options) {
  const Result<std::string> text = read_small_file(options.mountinfo);
  const Search search{options, text ? parse_mountinfo(*text) : std::vector<CgroupMount>{}};
  CgroupRoot root;
  if (!options.configured.empty()) {
    if (search.try_directory(options.configured, root)) return root;
    return Error(options.configured + " is not a cgroup v2 directory (nor is " + options.configured +
                 "/unified): set the directory where cgroup2 is mounted");
  }
  // In a pod our own mounts show the pod's part; through the host's pid 1 one sees the whole.
  if (options.proc_root != "/proc" && search.try_directory(options.proc_root + "/1/root/sys/fs/cgroup", root))
    return root;
  if (search.try_mounts(root)) return root;
  if (search.try_directory("/sys/fs/cgroup", root)) return root;
  return not_found(search.mounts);
}

Result<uint64_t> cgroup_id_at(int directory, const char* name) {
  // file_handle ends in an array without length: room for it behind.
  alignas(file_handle) unsigned char room[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  auto* handle = reinterpret_cast<file_handle*>(room);
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  uint64_t id = 0;
  const int flags = name[0] == '\0' ? AT_EMPTY_PATH : 0;
  if (::name_to_handle_at(directory, name, handle, &mount_id, flags) == 0 && handle->handle_bytes == sizeof(id)) {
    std::memcpy(&id, room + sizeof(file_handle), sizeof(id));
    return id;
  }
  struct stat st {};
  if (::fstatat(directory, name, &st, flags | AT_SYMLINK_NOFOLLOW) != 0)
    return Error::system(std::string("cannot read the id of cgroup ") + name, errno);
  return static_cast<uint64_t>(st.st_ino);
}

Result<uint64_t> cgroup_id(const std::string& path) { return cgroup_id_at(AT_FDCWD, path.c_str()); }

}  // namespace sonde
