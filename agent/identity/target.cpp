// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/target.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "agent/base/text.h"
#include "agent/identity/cgroup_tree.h"

namespace sonde {
namespace {

constexpr std::size_t kCommLength = 15;  // TASK_COMM_LEN less the final zero
constexpr std::size_t kListed = 10;      // in an error

using ByPid = std::unordered_map<uint32_t, const Proc::Process*>;

ByPid by_pid(const std::vector<Proc::Process>& processes) {
  ByPid map;
  for (const Proc::Process& process : processes) map[process.pid] = &process;
  return map;
}

// The process and all below it. Pids do not rise along the tree (they wrap), so parents are followed, not order.
std::vector<uint32_t> tree_of(const std::vector<Proc::Process>& processes, uint32_t root) {
  std::unordered_map<uint32_t, std::vector<uint32_t>> children;
  for (const Proc::Process& process : processes) children[process.parent].push_back(process.pid);
  std::set<uint32_t> found{root};
  std::vector<uint32_t> pending{root};
  while (!pending.empty()) {
    const uint32_t pid = pending.back();
    pending.pop_back();
    for (const uint32_t child : children[pid])
      if (found.insert(child).second) pending.push_back(child);
  }
  return {found.begin(), found.end()};
}

std::string list_processes(const Proc& proc, const std::vector<uint32_t>& pids) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < pids.size() && i < kListed; ++i) {
    const Result<std::string> cgroup = proc.cgroup(pids[i]);
    parts.push_back(cgroup ? fmt::format("{} (in {})", pids[i], *cgroup) : fmt::format("{}", pids[i]));
  }
  if (pids.size() > kListed) parts.push_back(fmt::format("and {} more", pids.size() - kListed));
  return join(parts);
}

// Is every process of the cgroup (and below) one of ours? Children of ours that were born since we looked show as
// strangers, so those are asked for their parent.
bool all_ours(const Proc& proc, const CgroupPids& found, const std::set<uint32_t>& ours) {
  if (found.hidden != 0 || found.cut) return false;
  return std::all_of(found.pids.begin(), found.pids.end(), [&](uint32_t pid) {
    if (ours.contains(pid)) return true;
    const Result<Proc::Process> process = proc.process(pid);
    return !process || ours.contains(process->parent);
  });
}

}  // namespace

Result<uint32_t> find_process(const Proc& proc, std::string_view comm) {
  if (comm.empty()) return Error("--target-comm needs the name of a process as shown by `ps -o comm`");
  const Result<std::vector<Proc::Process>> processes = proc.processes();
  if (!processes) return processes.error();
  const std::string_view wanted = comm.substr(0, kCommLength);
  const ByPid all = by_pid(*processes);
  std::vector<uint32_t> found;
  for (const Proc::Process& process : *processes) {
    if (process.comm != wanted || process.kernel_thread) continue;
    const auto parent = all.find(process.parent);
    if (parent != all.end() && parent->second->comm == wanted) continue;  // a worker of one that counts
    found.push_back(process.pid);
  }
  if (found.size() == 1) return found.front();
  if (found.empty())
    return Error(
        fmt::format("no process is named '{}'; `ps -eo pid,comm` shows the names (at most 15 characters)", comm));
  return Error(fmt::format("'{}' matches {} processes: {}; choose one with --target-pid", comm, found.size(),
                           list_processes(proc, found)));
}

Result<Target> resolve_target(const Proc& proc, const std::string& cgroup_root, uint32_t pid) {
  Result<Proc::Process> root = proc.process(pid);
  if (!root) return root.error().with("cannot measure the target");
  if (root->kernel_thread)
    return Error(fmt::format("process {} ({}) is a kernel thread and cannot be a target", pid, root->comm));
  const Result<std::vector<Proc::Process>> processes = proc.processes();
  if (!processes) return processes.error();

  Target target;
  target.root = std::move(*root);
  target.pids = tree_of(*processes, pid);
  const std::set<uint32_t> ours(target.pids.begin(), target.pids.end());
  std::set<std::string> paths;
  for (const uint32_t member : target.pids) {
    Result<std::string> path = proc.cgroup(member);
    if (path) {
      paths.insert(std::move(*path));
    } else if (member == pid) {
      return path.error().with(fmt::format("cannot measure process {}", pid));
    }  // a child that ended meanwhile
  }
  for (const std::string& path : paths) {
    const Result<CgroupPids> members = cgroup_pids(cgroup_root, path);
    if (!members)
      return members.error().with(
          fmt::format("process {} is in {}, which is not below {}: its cgroup must be visible to the agent", pid, path,
                      cgroup_root));
    const bool whole = path != "/" && all_ours(proc, *members, ours);
    target.cgroups.push_back({path, whole});
    if (!whole) target.per_process = true;
  }
  if (target.per_process && !proc.has_machine_pids()) {
    target.per_process = false;
    for (TargetCgroup& cgroup : target.cgroups) cgroup.whole = true;
    target.note =
        "the target shares its cgroup with other processes, and the agent does not see the host's PIDs (no hostPID, "
        "no host /proc): the whole cgroup is measured";
  }
  return target;
}

Result<std::optional<Target>> named_target(const Proc& proc, const std::string& cgroup_root, uint32_t pid,
                                           const std::string& comm) {
  if (!comm.empty()) {
    auto found = find_process(proc, comm);
    if (!found) return found.error();
    pid = *found;
  }
  if (pid == 0) return std::optional<Target>();
  auto resolved = resolve_target(proc, cgroup_root, pid);
  if (!resolved) return resolved.error();
  return std::optional<Target>(std::move(*resolved));
}

std::string describe(const Target& target) {
  std::string text = fmt::format("process {} ({})", target.root.pid, target.root.comm);
  if (target.pids.size() > 1) text += fmt::format(" and {} below it", target.pids.size() - 1);
  std::vector<std::string> parts;
  for (const TargetCgroup& cgroup : target.cgroups)
    parts.push_back(cgroup.path + (cgroup.whole ? "" : " (shared: by process)"));
  return text + " in " + join(parts);
}

}  // namespace sonde
