// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/sandboxed.h"

#include <spdlog/fmt/fmt.h>

#include <array>

#include "agent/base/duration.h"
#include "agent/base/file.h"
#include "agent/base/text.h"

namespace sonde {
namespace {

constexpr uint64_t kSettled = 10 * kSecond;    // a runtime's helpers have made room for the program by then
constexpr uint64_t kSandboxLookEvery = 60 * kSecond;  // in a pod one look passes over all of /proc
constexpr int kLooksAtOnce = 64;
constexpr std::size_t kProcesses = 16;  // of one container
constexpr std::size_t kMostNamed = 3;
constexpr std::size_t kCommandLine = 1 << 20;

constexpr std::array<std::string_view, 5> kMachines = {"cloud-hypervisor", "firecracker", "stratovirt", "virtiofsd",
                                                       "containerd-shim-kata-v2"};

}  // namespace

std::string_view sandbox_of(std::string_view program) {
  const std::string_view name = program.substr(program.rfind('/') + 1);
  if (name == "runsc" || name.starts_with("runsc-")) return "gVisor";
  if (name.starts_with("qemu-system-")) return "a virtual machine";
  for (const std::string_view machine : kMachines) {
    if (name == machine) return "a virtual machine";
  }
  return {};
}

void Sandboxed::look(const IdentitySnapshot& identity, uint64_t now_ns) {
  ++pass_;
  int looks = 0;
  for (const auto& [slot, owner] : identity.slots) {
    const Subject& subject = *owner.subject;
    if (subject.kind != SubjectKind::Container || owner.tgid || owner.ended) continue;
    if (const auto known = seen_.find(subject.cgroup_id); known != seen_.end()) {
      known->second.pass = pass_;
    } else if (now_ns >= next_look_ns_ && looks < kLooksAtOnce && now_ns > subject.started_ns + kSettled) {
      ++looks;
      seen_.emplace(subject.cgroup_id, Seen{look_at(subject.cgroup_path), subject.cgroup_path, pass_});
    }
  }
  if (looks) next_look_ns_ = now_ns + kSandboxLookEvery;
  std::erase_if(seen_, [&](const auto& entry) { return entry.second.pass != pass_; });
}

std::string_view Sandboxed::look_at(const std::string& cgroup_path) const {
  const auto pids = members_.pids(cgroup_path, kProcesses);
  if (!pids) return {};
  for (const uint32_t pid : pids->pids) {
    const auto line = read_small_file(proc_root_ + "/" + std::to_string(pid) + "/cmdline", kCommandLine);
    if (!line) continue;
    if (const auto kind = sandbox_of(std::string_view(*line).substr(0, line->find('\0'))); !kind.empty()) return kind;
  }
  return {};
}

std::vector<std::string> Sandboxed::warnings() const {
  std::map<std::string_view, std::vector<std::string>> by_kind;
  for (const auto& [id, seen] : seen_) {
    if (!seen.kind.empty()) by_kind[seen.kind].push_back(seen.path);
  }
  std::vector<std::string> sentences;
  for (auto& [kind, paths] : by_kind) {
    const std::size_t all = paths.size();
    if (all > kMostNamed) paths.resize(kMostNamed);
    sentences.push_back(
        fmt::format("{} run{} in {} ({}{}): system calls inside are handled by the sandbox, so only the sandbox's "
                    "own work on this machine is counted",
                    all == 1 ? "1 container" : fmt::format("{} containers", all), all == 1 ? "s" : "", kind,
                    join(paths, ", "), all > kMostNamed ? ", ..." : ""));
  }
  return sentences;
}

}  // namespace sonde
