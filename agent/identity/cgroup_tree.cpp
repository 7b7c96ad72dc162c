// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/cgroup_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "agent/base/fd.h"
#include "agent/base/file.h"
#include "agent/base/text.h"
#include "agent/identity/cgroup_path.h"
#include "agent/identity/cgroup_root.h"

namespace sonde {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

constexpr std::size_t kMaxProcsFile = 16 << 20;  // some two million pids

std::string join_path(const std::string& parent, std::string_view name) {
  return parent == "/" ? "/" + std::string(name) : parent + "/" + std::string(name);
}

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool is_directory(DIR* directory, const dirent* entry) {
  if (entry->d_type != DT_UNKNOWN) return entry->d_type == DT_DIR;
  struct stat st {};
  return ::fstatat(::dirfd(directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

// Calls `visit` with the name of each directory in it.
template <typename Visit>
void each_child(DIR* directory, const Visit& visit) {
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == ".." || !is_directory(directory, entry)) continue;
    visit(entry->d_name);
  }
}

// One byte is enough to know; cgroup.procs of a threaded cgroup cannot be read, cgroup.threads can.
bool has_processes(int directory) {
  for (const char* name : {"cgroup.procs", "cgroup.threads"}) {
    const Fd file(::openat(directory, name, O_RDONLY | O_CLOEXEC));
    char byte = 0;
    const ssize_t got = file ? ::read(file.get(), &byte, 1) : 0;
    if (got > 0) return true;
    if (got == 0 || errno != EOPNOTSUPP) return false;
  }
  return false;
}

class Walk {
 public:
  Walk(const std::string& root, const TreeLimits& limits) : root_(root), limits_(limits) {}

  Result<CgroupTree> run() {
    const Result<uint64_t> id = cgroup_id(root_);
    if (!id) return id.error();
    if (const int error = visit({*id, 0, "/", false, false, false, false}, 0); error != 0)
      return Error::system("cannot read the cgroup tree at " + root_, error);
    // A queue by index: parents before children, no recursion, and depth bounded all the same.
    for (std::size_t i = 0; i < pending_.size(); ++i) {
      const Pending next = std::move(pending_[i]);
      const int error = visit(next.directory, next.depth);
      if (error == EACCES || error == EPERM) {
        ++tree_.unreadable;
      } else if (error != 0) {
        ++tree_.vanished;
      }
    }
    return std::move(tree_);
  }

 private:
  struct Pending {
    CgroupDirectory directory;
    std::size_t depth = 0;
  };

  // Puts the directory into the result and its children into the queue; 0, or errno if it cannot be opened.
  int visit(CgroupDirectory entry, std::size_t depth) {
    const Directory directory(::opendir((root_ + entry.path).c_str()));
    if (!directory) return errno;
    entry.has_procs = has_processes(::dirfd(directory.get()));
    entry.is_leaf = true;
    each_child(directory.get(), [&](const char* name) {
      entry.is_leaf = false;
      add_child(::dirfd(directory.get()), name, entry, depth + 1);
    });
    tree_.directories.push_back(std::move(entry));
    return 0;
  }

  void add_child(int directory, const char* name, const CgroupDirectory& parent, std::size_t depth) {
    if (depth > limits_.depth || pending_.size() + 1 >= limits_.directories) {
      ++tree_.over_limits;
      return;
    }
    const Result<uint64_t> id = cgroup_id_at(directory, name);
    if (!id) {
      ++tree_.vanished;
      return;
    }
    CgroupDirectory child;
    child.id = *id;
    child.parent_id = parent.id;
    child.path = join_path(parent.path, name);
    const DirectoryName says = read_directory_name(name, name_of(parent.path));
    child.inside = (parent.is_container || parent.inside) && !says.pod;
    child.is_container = !child.inside && says.container;
    pending_.push_back({std::move(child), depth});
  }

  const std::string root_;
  const TreeLimits limits_;
  std::vector<Pending> pending_;
  CgroupTree tree_;
};

void add_pids(const std::string& directory, std::size_t limit, CgroupPids& out) {
  const Result<std::string> text = read_small_file(directory + "/cgroup.procs", kMaxProcsFile);
  if (!text) return;  // gone, or threaded: its processes are in the cgroup.procs of the domain above it
  for (const std::string_view line : split(*text, '\n')) {
    if (line.empty()) continue;
    const Result<int64_t> pid = parse_integer(line, 0, INT32_MAX);
    if (!pid) continue;
    if (*pid == 0) {
      ++out.hidden;
    } else if (out.pids.size() < limit) {
      out.pids.push_back(static_cast<uint32_t>(*pid));
    } else {
      out.cut = true;
    }
  }
}

}  // namespace

Result<CgroupTree> walk_cgroups(const std::string& root, const TreeLimits& limits) { return Walk(root, limits).run(); }

Result<CgroupPids> cgroup_pids(const std::string& root, const std::string& path, std::size_t limit, bool below) {
  CgroupPids out;
  std::vector<std::string> pending{root + path};
  for (std::size_t i = 0; i < pending.size() && i < TreeLimits{}.directories; ++i) {
    const std::string current = pending[i];
    const Directory directory(::opendir(current.c_str()));
    if (!directory) {
      if (i == 0) return Error::system("cannot read cgroup " + path, errno);
      continue;
    }
    add_pids(current, limit, out);
    if (below) each_child(directory.get(), [&](const char* name) { pending.push_back(join_path(current, name)); });
  }
  std::sort(out.pids.begin(), out.pids.end());
  out.pids.erase(std::unique(out.pids.begin(), out.pids.end()), out.pids.end());
  return out;
}

bool find_cgroup(const std::string& root, const std::string& from, uint64_t id, std::size_t limit,
                 const std::function<void(uint64_t id, uint64_t parent_id, const std::string& name)>& visit) {
  const Result<uint64_t> top = cgroup_id(root + from);
  if (!top) return false;
  std::vector<std::pair<std::string, uint64_t>> pending{{from, *top}};
  bool found = false;
  for (std::size_t i = 0; i < pending.size() && !found; ++i) {
    const std::string path = std::move(pending[i].first);
    const uint64_t parent_id = pending[i].second;
    const Directory directory(::opendir((root + path).c_str()));
    if (!directory) continue;  // gone meanwhile
    each_child(directory.get(), [&](const char* name) {
      const Result<uint64_t> child = cgroup_id_at(::dirfd(directory.get()), name);
      if (!child || pending.size() >= limit) return;
      visit(*child, parent_id, name);
      found = found || *child == id;
      pending.emplace_back(join_path(path, name), *child);
    });
  }
  return found;
}

}  // namespace sonde
