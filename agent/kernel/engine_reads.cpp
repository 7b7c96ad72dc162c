// SPDX-License-Identifier: Apache-2.0
// The engine's part in Source::Read: whose files are read when.
#include "agent/kernel/engine.h"

namespace sonde {

// Who has no directory that could be known again has no reader.
std::unique_ptr<KeptFiles::Reader> Engine::reader(uint32_t slot) {
  if (slot == SONDE_SLOT_NODE) return std::make_unique<KeptFiles::Reader>(files_, slot, "", 0);
  const sonde_slot_info* info = slots_->info(slot);
  if (!info || info->tgid || unlinked(slot)) return nullptr;
  const std::string& path = slots_->path(slot);
  return path.empty() ? nullptr : std::make_unique<KeptFiles::Reader>(files_, slot, path, info->cgroup_id);
}

// Before the slot has these flags: what it is newly asked for counts from now on.
void Engine::follow_reads(uint32_t slot, const ModuleFlags& flags) {
  const auto* before = slots_->config(slot);
  std::unique_ptr<KeptFiles::Reader> files;
  bool asked = false;
  for (std::size_t i = 0; i < reads_.size(); ++i) {
    if (!reads_[i]) continue;
    const uint8_t ours = reads_[i]->flags();
    asked = asked || (flags[i] & ours);
    if (const auto lost = static_cast<uint8_t>(before->flags[i] & ~flags[i] & ours)) reads_[i]->end(slot, lost);
    const auto fresh = static_cast<uint8_t>(flags[i] & ~before->flags[i] & ours);
    if (!fresh) continue;
    if (!files) files = reader(slot);
    if (!files || files->gone()) return;
    reads_[i]->begin(slot, {slot == SONDE_SLOT_NODE, fresh, files.get()});
  }
  if (!asked) files_.forget(slot);
}

void Engine::read_one(uint32_t slot, std::vector<int>& good, std::vector<int>& bad) {
  const auto* config = slots_->config(slot);
  std::unique_ptr<KeptFiles::Reader> files;
  for (std::size_t i = 0; i < reads_.size(); ++i) {
    if (!reads_[i]) continue;
    const auto flags = static_cast<uint8_t>(config->flags[i] & reads_[i]->flags());
    if (!flags) continue;
    if (!files) files = reader(slot);
    if (!files) return;
    const bool read = reads_[i]->read(slot, {slot == SONDE_SLOT_NODE, flags, files.get()});
    if (files->gone()) return;
    ++(read ? good : bad)[i];
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
