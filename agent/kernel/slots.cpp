// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/slots.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent/base/clock.h"

namespace sonde {

Result<uint32_t> Slots::enter(uint64_t cgroup_id, uint64_t parent_id, const std::string& path, sonde_kind kind,
                              uint32_t shared_slot) {
  const int subjects = core_.map_fd("sonde_subjects");
  sonde_subject entry{};
  const bool known = find(cgroup_id, entry);
  if (known && entry.slot >= SONDE_FIRST_FREE_SLOT) {  // the kernel side was faster
    if (entry.kind != SONDE_KIND_INSIDE) tell_path(entry.slot, path);
    return entry.slot;
  }
  entry.kind = kind;
  entry.slot = shared_slot;
  if (kind != SONDE_KIND_INSIDE) {
    if (bpf_map_lookup_and_delete_elem(core_.map_fd("sonde_free_slots"), nullptr, &entry.slot)) {
      return Error("no free slot for " + path + ": raise limits.subjects (now " + std::to_string(capacity()) + ")");
    }
    std::memset(core_.slot_config.at<sonde_slot_config>(entry.slot), 0, sizeof(sonde_slot_config));
    auto* info = core_.slot_info.at<sonde_slot_info>(entry.slot);
    std::memset(info, 0, sizeof(*info));
    info->parent_id = parent_id;
    info->kind = kind;
    tell_path(entry.slot, path);
    path.copy(info->name, sizeof(info->name) - 1, path.rfind('/') + 1);
    __atomic_store_n(&info->cgroup_id, cgroup_id, __ATOMIC_RELEASE);
  }
  // Meanwhile the kernel side may have entered or removed it: its word stands.
  if (bpf_map_update_elem(subjects, &cgroup_id, &entry, known ? BPF_EXIST : BPF_NOEXIST)) {
    const int error = errno;
    if (kind != SONDE_KIND_INSIDE) give_back(entry.slot);
    if (find(cgroup_id, entry) && entry.slot >= SONDE_FIRST_FREE_SLOT) return entry.slot;
    ++update_failures_;
    return Error::system("cannot enter cgroup " + path + " (raise limits.subjects)", error);
  }
  raise_generation();
  return entry.slot;
}

Result<void> Slots::ignore(uint64_t cgroup_id, sonde_kind kind) {
  const sonde_subject entry{SONDE_SLOT_IGNORED, static_cast<uint32_t>(kind)};
  if (bpf_map_update_elem(core_.map_fd("sonde_subjects"), &cgroup_id, &entry, BPF_NOEXIST) && errno != EEXIST) {
    const int error = errno;
    ++update_failures_;
    return Error::system("cannot enter a cgroup (raise limits.subjects)", error);
  }
  raise_generation();
  return {};
}

void Slots::drop(uint64_t cgroup_id) { bpf_map_delete_elem(core_.map_fd("sonde_subjects"), &cgroup_id); }

void Slots::mark_removed(uint32_t slot, uint64_t now_ns) {
  auto* info = core_.slot_info.at<sonde_slot_info>(slot);
  if (!info->removed_ns) info->removed_ns = now_ns;
}

bool Slots::find(uint64_t cgroup_id, sonde_subject& entry) const {
  return bpf_map_lookup_elem(core_.map_fd("sonde_subjects"), &cgroup_id, &entry) == 0;
}

uint64_t Slots::lifecycle() const {
  return __atomic_load_n(&core_.globals.at<sonde_globals>(0)->lifecycle, __ATOMIC_ACQUIRE);
}

int Slots::doorbell_fd() const { return core_.map_fd("sonde_doorbell"); }

const sonde_slot_info* Slots::info(uint32_t slot) const {
  const auto* info = core_.slot_info.at<sonde_slot_info>(slot);
  return __atomic_load_n(&info->cgroup_id, __ATOMIC_ACQUIRE) ? info : nullptr;
}

const sonde_slot_config* Slots::config(uint32_t slot) const { return core_.slot_config.at<sonde_slot_config>(slot); }

std::vector<uint32_t> Slots::taken() const {
  std::vector<uint32_t> slots;
  for (uint32_t slot = SONDE_FIRST_FREE_SLOT; slot < capacity(); ++slot) {
    if (info(slot)) slots.push_back(slot);
  }
  return slots;
}

void Slots::configure(uint32_t slot, const SlotSetting& setting) {
  const uint32_t now = sonde_coarse_time(monotonic_ns());
  const auto write = [&](uint32_t target, bool per_process) {
    auto* config = core_.slot_config.at<sonde_slot_config>(target);
    // Before the flags: what counts from selection on must not count from an earlier one.
    if (!std::ranges::equal(setting.flags, config->flags)) __atomic_store_n(&config->since, now, __ATOMIC_RELEASE);
    std::copy(setting.flags.begin(), setting.flags.end(), config->flags);
    std::copy(setting.sample.begin(), setting.sample.end(), config->sample);
    config->per_process = per_process;
    *core_.span_config.at<sonde_span_config>(target) = setting.spans;
  };
  const bool had_processes = config(slot)->per_process;
  write(slot, setting.per_process);
  const auto* owner = info(slot);
  if (owner && !owner->tgid && (setting.per_process || had_processes)) {
    for (const uint32_t other : taken()) {
      const auto* process = info(other);
      if (process && process->tgid && process->cgroup_id == owner->cgroup_id) write(other, false);
    }
  }
  raise_generation();
}

void Slots::set_provisional(const ModuleFlags& flags) {
  std::copy(flags.begin(), flags.end(), core_.globals.at<sonde_globals>(0)->provisional);
}

void Slots::raise_generation() {
  auto* generation = &core_.globals.at<sonde_globals>(0)->generation;
  // 0 means "never resolved", so a wrap skips it.
  if (__atomic_add_fetch(generation, 1, __ATOMIC_SEQ_CST) == 0) __atomic_add_fetch(generation, 1, __ATOMIC_SEQ_CST);
}

bool Slots::release(uint32_t slot) {
  const auto* owner = info(slot);
  if (!owner) return false;
  if (owner->tgid) {
    release_process(slot, *owner);
  } else {
    release_cgroup(slot, *owner);
    unlink_processes(slot, owner->cgroup_id);
  }
  raise_generation();
  return true;
}

void Slots::release_process(uint32_t slot, const sonde_slot_info& owner) {
  sonde_subject container{};
  if (unlinked_[slot]) return;
  const int processes = core_.map_fd("sonde_processes");
  if (find(owner.cgroup_id, container)) {
    const sonde_process_key key{owner.tgid, container.slot};
    if (bpf_map_delete_elem(processes, &key) == 0) return;
  }
  // It came while its container was released.
  sonde_process_key key{};
  sonde_process_key next{};
  uint32_t value = 0;
  for (int end = bpf_map_get_next_key(processes, nullptr, &next); !end;
       end = bpf_map_get_next_key(processes, &key, &next)) {
    key = next;
    if (bpf_map_lookup_elem(processes, &key, &value) || value != slot) continue;
    bpf_map_delete_elem(processes, &key);
    return;
  }
}

// The table of processes is keyed by the container's slot, which the next holder must find empty.
void Slots::unlink_processes(uint32_t slot, uint64_t cgroup_id) {
  sonde_process_key first{};
  if (bpf_map_get_next_key(core_.map_fd("sonde_processes"), nullptr, &first)) return;  // there are none
  for (const uint32_t other : taken()) {
    const auto* process = info(other);
    if (!process || !process->tgid || process->cgroup_id != cgroup_id || unlinked_[other]) continue;
    const sonde_process_key key{process->tgid, slot};
    bpf_map_delete_elem(core_.map_fd("sonde_processes"), &key);
    unlinked_[other] = true;
  }
}

void Slots::release_cgroup(uint32_t slot, const sonde_slot_info& owner) {
  const int subjects = core_.map_fd("sonde_subjects");
  if (owner.removed_ns) {  // directories inside it went first
    const uint64_t id = owner.cgroup_id;
    bpf_map_delete_elem(subjects, &id);
    return;
  }
  // It lives on, unselected, and so do directories inside a container, which share the slot.
  sonde_subject entry{};
  if (find(owner.cgroup_id, entry) && entry.slot == slot) {
    entry.slot = SONDE_SLOT_IGNORED;
    const uint64_t id = owner.cgroup_id;
    bpf_map_update_elem(subjects, &id, &entry, BPF_EXIST);
  }
  if (owner.kind != SONDE_KIND_TREE) dissolving_.insert(slot);
}

void Slots::dissolve() {
  if (dissolving_.empty()) return;
  const int subjects = core_.map_fd("sonde_subjects");
  std::vector<std::pair<uint64_t, sonde_subject>> entries;
  uint64_t key = 0;
  uint64_t next = 0;
  sonde_subject entry{};
  // A key that is deleted meanwhile sends the walk back to the beginning, so it is bounded.
  uint64_t left = uint64_t{capacity()} * 16;
  for (int end = bpf_map_get_next_key(subjects, nullptr, &next); !end && left > 0;
       end = bpf_map_get_next_key(subjects, &key, &next), --left) {
    key = next;
    if (find(key, entry) && dissolving_.contains(entry.slot)) entries.emplace_back(key, entry);
  }
  for (auto& [id, found] : entries) {
    found.slot = SONDE_SLOT_IGNORED;
    bpf_map_update_elem(subjects, &id, &found, BPF_EXIST);
  }
  dissolving_.clear();
  raise_generation();
}

void Slots::give_back(uint32_t slot) {
  *core_.span_config.at<sonde_span_config>(slot) = {};
  *core_.span_budgets.at<sonde_span_budget>(slot) = {};
  std::memset(core_.slot_config.at<sonde_slot_config>(slot), 0, sizeof(sonde_slot_config));
  auto* info = core_.slot_info.at<sonde_slot_info>(slot);
  const bool of_process = info->tgid != 0;
  __atomic_store_n(&info->cgroup_id, 0, __ATOMIC_RELEASE);
  std::memset(info, 0, sizeof(*info));
  paths_[slot].clear();
  unlinked_[slot] = false;
  bpf_map_update_elem(core_.map_fd("sonde_free_slots"), nullptr, &slot, BPF_ANY);
  if (of_process) __atomic_add_fetch(&core_.globals.at<sonde_globals>(0)->process_slots, 1, __ATOMIC_SEQ_CST);
}

}  // namespace sonde
