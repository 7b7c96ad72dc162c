// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/obstacle.h"

#include <unistd.h>

#include "agent/base/capabilities.h"
#include "agent/identity/cgroup_root.h"
#include "agent/kernel/engine.h"
#include "agent/runtime/boot_guard.h"

namespace sonde {
namespace {

constexpr const char* kBtf = "/sys/kernel/btf/vmlinux";

// The core alone: with it everything else can at least be tried.
EngineOptions core_only(const Config& config, const std::string& cgroup_root) {
  EngineOptions options;
  options.modules = {};
  options.slots = config.limits.slots;
  options.rows = config.limits.histogram_rows;
  options.processes = config.limits.processes;
  options.cgroup_root = cgroup_root;
  return options;
}

}  // namespace

Obstacle exclusion(const std::string& policy) {
  return {"Excluded", "the policy " + policy + " excludes everything on this node: no program is loaded"};
}

std::string core_remedy(bool may_load, std::string_view finding) {
  if (!may_load || finding.find("Operation not permitted") == std::string_view::npos) {
    return "without it no probe works; fix the problems listed above";
  }
  return "the capabilities are present, so something else denies bpf(): in a container its seccomp profile, which "
         "must allow bpf and perf_event_open (seccompProfile: {type: Unconfined}), or its user namespace (hostUsers: "
         "true)";
}

std::optional<Obstacle> find_obstacle(const Config& config) {
  const auto root = find_cgroup_root({.configured = config.cgroup_root, .proc_root = config.proc_root});
  if (!root) return Obstacle{"NoCgroupV2", root.error().message()};
  if (access(kBtf, R_OK) != 0) {
    return Obstacle{"NoBtf",
                    std::string(kBtf) + " is missing or unreadable: use a kernel built with CONFIG_DEBUG_INFO_BTF=y"};
  }
  if (!may_load_programs()) {
    return Obstacle{"MissingCapability",
                    "the agent loads BPF programs: run it as root, or with the capabilities BPF and PERFMON"};
  }
  if (auto rebooted = BootGuard({.directory = config.state_directory}).obstacle()) return rebooted;
  const auto engine = Engine::start(core_only(config, root->path));
  if (engine) return {};
  const std::string why = engine.error().message();
  return Obstacle{"BpfRefused", why + "; " + core_remedy(true, why)};
}

bool is_kept_running(const Config& config, const GetEnv& env) {
  const std::string& server = config.kubernetes.api_server;
  return (server != "auto" && server != "none") || !env("KUBERNETES_SERVICE_HOST").value_or("").empty();
}

}  // namespace sonde
