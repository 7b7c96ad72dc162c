// SPDX-License-Identifier: Apache-2.0
// The engine's part in attaching: what is asked for, and whether it still is where it was put.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>
#include <utility>

#include "agent/base/clock.h"
#include "agent/base/mutex.h"
#include "agent/kernel/engine.h"

namespace sonde {

ModuleFlags Engine::asked_flags() const {
  ModuleFlags asked{};
  const auto add = [&](const uint8_t* flags) {
    for (std::size_t i = 0; i < asked.size(); ++i) asked[i] |= flags[i];
  };
  add(slots_->globals().provisional);
  add(slots_->config(SONDE_SLOT_UNATTRIBUTED)->flags);
  add(slots_->config(SONDE_SLOT_NODE)->flags);
  for (const uint32_t slot : slots_->taken()) add(slots_->config(slot)->flags);
  return asked;
}

// A refusal is told once, and tried again at the next call.
void Engine::attach_core(const ModuleFlags& asked) {
  const auto taken = slots_->taken();
  const bool processes = std::ranges::any_of(taken, [&](uint32_t slot) { return slots_->config(slot)->per_process; });
  bool context = false;
  for (std::size_t i = 0; i < modules_.size(); ++i) {
    context = context || (modules_[i] && modules_[i]->needs_context(asked[i]));
  }
  const std::string before = std::exchange(core_failure_, "");
  if (auto done = core_->attach_processes(processes); !done) core_failure_ = done.error().message();
  if (auto done = core_->attach_context(context); !done) core_failure_ = done.error().message();
  if (!core_failure_.empty() && core_failure_ != before) spdlog::error("{}", core_failure_);
}

void Engine::sync_programs() {
  const MutexLock lock(mutex_);
  slots_->dissolve();
  const ModuleFlags asked = asked_flags();
  // Before the modules' own programs: a start time saved nowhere is an operation lost.
  attach_core(asked);
  const uint64_t now = boottime_ns();
  for (std::size_t i = 0; i < modules_.size(); ++i) {
    if (modules_[i]) modules_[i]->attach(asked[i], gained_[i] != 0, now);
  }
  gained_ = {};
  reserve_rows(slots_->taken());
}

void Engine::detach_all() {
  const MutexLock lock(mutex_);
  const uint64_t now = boottime_ns();
  for (const auto& module : modules_) {
    if (module) module->attach(0, false, now);
  }
  core_->detach_all();
  core_failure_.clear();
}

void Engine::watch_programs(uint64_t now) {
  const MutexLock lock(mutex_);
  if (!core_failure_.empty()) attach_core(asked_flags());
  for (const auto& module : modules_) {
    if (module) module->watch(now, core_failure_);
  }
}

ModuleReport Engine::core_report() const {
  const MutexLock lock(mutex_);
  ModuleReport report;
  report.name = "core";
  if (!core_failure_.empty()) {
    report.health = ModuleHealth::Degraded;
    report.reasons.push_back(core_failure_);
  }
  return report;
}

}  // namespace sonde
