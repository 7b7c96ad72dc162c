// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/cgroup_paths.h"

#include <vector>

#include "agent/identity/cgroup_tree.h"

namespace sonde {
namespace {

constexpr std::size_t kDeepest = 4096;     // parents of one directory; a path has no more
constexpr std::size_t kLookAt = 100'000;   // directories of one search
constexpr std::size_t kPruneAfter = 4096;  // new ones
constexpr std::size_t kLostAtMost = 4096;

}  // namespace

void CgroupPaths::note(uint64_t id, uint64_t parent_id, std::string_view name) {
  auto [found, added] = directories_.try_emplace(id);
  if (!added && found->second.parent_id == parent_id && found->second.name == name) return;
  noted_ += added;
  found->second = {parent_id, std::string(name)};
}

std::string CgroupPaths::path(uint64_t id) const {
  std::vector<const std::string*> names;  // innermost first
  std::size_t length = 0;
  for (;;) {
    const auto found = directories_.find(id);
    if (found == directories_.end() || names.size() > kDeepest) return {};
    if (found->second.parent_id == 0) break;
    names.push_back(&found->second.name);
    length += names.back()->size() + 1;
    id = found->second.parent_id;
  }
  if (names.empty()) return "/";
  std::string path;
  path.reserve(length);
  for (auto name = names.rbegin(); name != names.rend(); ++name) path.append("/").append(**name);
  return path;
}

std::string CgroupPaths::resolve(uint64_t id, uint64_t parent_id, std::string_view name, const std::string& below) {
  if (!name.empty()) note(id, parent_id, name);
  std::string known = path(id);
  if (!known.empty()) return known;
  look_for(name.empty() ? id : parent_id, below);
  known = path(id);
  if (!known.empty()) return known;
  ++unresolved_;
  return "/?/" + std::string(name);
}

void CgroupPaths::look_for(uint64_t id, const std::string& below) {
  if (lost_.contains(id)) return;
  const auto seen = [this](uint64_t child, uint64_t parent, const std::string& name) { note(child, parent, name); };
  if (find_cgroup(root_, below, id, kLookAt, seen)) return;
  if (lost_.size() >= kLostAtMost) lost_.clear();
  lost_.insert(id);
}

void CgroupPaths::prune(const std::function<bool(uint64_t id)>& alive) {
  if (noted_ < kPruneAfter) return;
  noted_ = 0;
  std::erase_if(directories_, [&](const auto& entry) { return entry.second.parent_id != 0 && !alive(entry.first); });
}

}  // namespace sonde
