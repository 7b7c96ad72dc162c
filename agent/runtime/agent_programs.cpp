// SPDX-License-Identifier: Apache-2.0
// The agent's part in what is in the kernel: how the engine is made, and whether its programs are still where it put them.
#include <string>
#include <utility>
#include <vector>

#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/runtime/agent.h"

namespace sonde {
namespace {

constexpr uint64_t kWatchEvery = kSecond;

}  // namespace

EngineOptions Agent::engine_options() const {
  EngineOptions options;
  options.slots = config_.limits.slots;
  options.rows = config_.limits.histogram_rows;
  options.processes = config_.limits.processes;
  options.alternative = options_.alternative;
  options.break_program = options_.break_program;
  options.disabled_modules = options_.disabled_modules;
  options.fault = options_.fault;
  options.cgroup_root = cgroup_root_;
  options.proc_root = config_.proc_root;
  options.members = [this](const std::string& path) {
    auto members = members_->pids(path);
    return members ? std::move(members->pids) : std::vector<uint32_t>();
  };
  return options;
}

// Others can detach what was attached, and what the kernel refused it may take later.
void Agent::watch_programs(uint64_t now) {
  if (now < next_watch_ns_) return;
  next_watch_ns_ = now + kWatchEvery;
  engine_->watch_programs(now);
}

}  // namespace sonde
