// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/members.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/base/file.h"
#include "agent/base/text.h"

namespace sonde {
namespace {

constexpr uint64_t kFresh = kSecond;  // one pass over /proc serves all who ask within
constexpr std::size_t kMostProcsFile = 8 << 20;

bool has_line(const std::string& text, const std::string& wanted) {
  const auto lines = split(text, '\n');
  return std::ranges::find(lines, std::string_view(wanted)) != lines.end();
}

// "/a/own" and "/../b" make "/a/b".
std::string resolved(const std::string& base, const std::string& shown) {
  std::string path = std::filesystem::path(base + shown).lexically_normal().string();
  if (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

}  // namespace

Members::Members(MembersOptions options) : options_(std::move(options)), proc_(options_.proc_root) {}

Result<CgroupPids> Members::pids(const std::string& path, std::size_t limit, bool below) const {
  Result<CgroupPids> listed = cgroup_pids(options_.cgroup_root, path, limit, below);
  if (!listed || options_.proc_root == "/proc") return listed;
  // Those of our own namespace are shown, but by its numbers.
  if (listed->hidden == 0 && (listed->pids.empty() || options_.machine_pids)) return listed;
  CgroupPids out;
  const MutexLock lock(mutex_);
  if (const uint64_t now = boottime_ns(); scanned_ns_ == 0 || now > scanned_ns_ + kFresh) {
    scan();
    scanned_ns_ = now;
  }
  const auto take = [&](const std::vector<uint32_t>& some) {
    out.pids.insert(out.pids.end(), some.begin(), some.end());
  };
  if (const auto found = by_path_.find(path); found != by_path_.end()) take(found->second);
  const std::string prefix = path == "/" ? path : path + "/";
  for (auto next = by_path_.upper_bound(prefix); below && next != by_path_.end() && next->first.starts_with(prefix);
       ++next) {
    take(next->second);
  }
  std::ranges::sort(out.pids);
  out.cut = out.pids.size() > limit;
  if (out.cut) out.pids.resize(limit);
  return out;
}

void Members::scan() const {
  by_path_.clear();
  const auto processes = proc_.processes();
  if (!processes) return;
  const std::string base = find_base();
  for (const Proc::Process& process : *processes) {
    if (process.kernel_thread) continue;
    if (const auto shown = proc_.cgroup(process.pid)) by_path_[resolved(base, *shown)].push_back(process.pid);
  }
}

// /proc shows cgroups as seen from our own cgroup namespace, whose root is ours: others begin with "/..". Where that root
// is in the whole tree, the directory tells that has us in it.
std::string Members::find_base() const {
  const auto text = read_small_file(options_.own_cgroup);
  const auto shown = text ? parse_proc_cgroup(*text) : Result<std::string>(text.error());
  const auto tree = walk_cgroups(options_.cgroup_root);
  if (!shown || !tree) return "";
  const std::string own = std::to_string(options_.own_pid != 0 ? options_.own_pid : static_cast<uint32_t>(getpid()));
  const std::string end = *shown == "/" ? "" : *shown;
  for (const CgroupDirectory& directory : tree->directories) {
    if (!directory.has_procs || directory.path == "/" || !directory.path.ends_with(end)) continue;
    const auto procs = read_small_file(options_.cgroup_root + directory.path + "/cgroup.procs", kMostProcsFile);
    if (procs && has_line(*procs, own)) return directory.path.substr(0, directory.path.size() - end.size());
  }
  return "";
}

}  // namespace sonde
