// SPDX-License-Identifier: Apache-2.0
// The engine's part in Source::Read: whose files are read when.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>

#include "agent/kernel/engine.h"

namespace sonde {

// Directories are opened by path and checked by id: a path used again is somebody else's.
bool Engine::opens(uint32_t slot, ReadTarget& target, Fd& directory) const {
  if (slot == SONDE_SLOT_NODE) {
    target.node = true;
    return true;
  }
  const sonde_slot_info* info = slots_->info(slot);
  if (!info || info->tgid || slots_->released(slot)) return false;
  if (strnlen(info->path, sizeof(info->path)) + 1 >= sizeof(info->path)) return false;  // cut off
  const char* path = info->path[0] == '/' ? info->path + 1 : info->path;
  directory = Fd(openat(cgroup_root_.get(), *path ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat status {};
  if (!directory || fstat(directory.get(), &status) || status.st_ino != info->cgroup_id) return false;
  target.directory = directory.get();
  return true;
}

// Before the slot has these flags: what it is newly asked for counts from now on.
void Engine::follow_reads(uint32_t slot, const ModuleFlags& flags) {
  const auto* before = slots_->config(slot);
  ReadTarget target;
  Fd directory;
  bool opened = false;
  for (std::size_t i = 0; i < reads_.size(); ++i) {
    if (!reads_[i]) continue;
    const uint8_t ours = reads_[i]->flags();
    if (const auto lost = static_cast<uint8_t>(before->flags[i] & ~flags[i] & ours)) reads_[i]->end(slot, lost);
    target.flags = static_cast<uint8_t>(flags[i] & ~before->flags[i] & ours);
    if (!target.flags) continue;
    if (!opened && !opens(slot, target, directory)) return;
    opened = true;
    reads_[i]->begin(slot, target);
  }
}

void Engine::read_one(uint32_t slot, std::vector<int>& good, std::vector<int>& bad) {
  const auto* config = slots_->config(slot);
  ReadTarget target;
  Fd directory;
  bool opened = false;
  for (std::size_t i = 0; i < reads_.size(); ++i) {
    if (!reads_[i]) continue;
    target.flags = config->flags[i] & reads_[i]->flags();
    if (!target.flags) continue;
    if (!opened && !opens(slot, target, directory)) return;
    opened = true;
    ++(reads_[i]->read(slot, target) ? good : bad)[i];
  }
}

// A subject that cannot be read says nothing about the module; when none can be, it has failed.
void Engine::read_all(const std::vector<uint32_t>& slots, CollectStats& stats) {
  std::vector<int> good(reads_.size()), bad(reads_.size());
  for (const uint32_t slot : slots) read_one(slot, good, bad);
  for (std::size_t i = 0; i < reads_.size(); ++i) {
    if (bad[i] && !good[i]) stats.failures.push_back({static_cast<uint16_t>(i), reads_[i]->error()});
  }
}

}  // namespace sonde
