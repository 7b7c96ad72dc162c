// SPDX-License-Identifier: Apache-2.0
// Ids of cgroup directories to their paths. The kernel side tells of a directory by id, name and the parent's id, since
// it has no room for a path (4,096 bytes); here names are joined to what is known of the parents. On the agent's loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace sonde {

class CgroupPaths {
 public:
  // `root`: directory of the v2 root, where unknown directories are looked up.
  explicit CgroupPaths(std::string root) : root_(std::move(root)) {}

  // The root itself has parent 0.
  void note(uint64_t id, uint64_t parent_id, std::string_view name);
  void forget(uint64_t id) { directories_.erase(id); }
  // Below the root; empty: one of its parents is not known.
  std::string path(uint64_t id) const;
  // The same for a new directory, whose parents may be inside a container and so unknown: they are looked up
  // below `below`, the nearest directory above that is known. What is gone before we look stays unknown: then
  // "/?/<name>", which is no path, but still tells a container; counted.
  std::string resolve(uint64_t id, uint64_t parent_id, std::string_view name, const std::string& below);

  // Nobody tells when a directory that is not measured goes. Once so many came, those that are not `alive` are dropped.
  void prune(const std::function<bool(uint64_t id)>& alive);

  uint64_t unresolved() const { return unresolved_; }
  std::size_t size() const { return directories_.size(); }

 private:
  struct Directory {
    uint64_t parent_id = 0;
    std::string name;
  };
  void look_for(uint64_t id, const std::string& below);

  const std::string root_;
  std::unordered_map<uint64_t, Directory> directories_;
  std::unordered_set<uint64_t> lost_;  // looked for in vain: not again
  std::size_t noted_ = 0;              // since the last prune
  uint64_t unresolved_ = 0;
};

}  // namespace sonde
