// SPDX-License-Identifier: Apache-2.0
// The core object: owner of the shared maps (bpf/include/sonde/maps.h) and of the programs that keep "who is running"
// and "which cgroup has which slot" true.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "agent/base/result.h"
#include "agent/kernel/zeroed.h"
#include "agent/module/mapped.h"
#include "sonde/abi.h"

struct bpf_link;
struct bpf_object;
struct core_bpf;

namespace sonde {

struct CoreSizes {
  uint32_t slots;
  uint32_t rows;
  uint32_t processes;
};

// Slots that processes may have: the rest is left for cgroups, however many processes there are.
inline uint32_t process_slots(uint32_t slots) { return slots / 2; }

// The object as compiled, and its shared maps sized; a module's object declares maps of the same names.
std::span<const unsigned char> core_object_bytes();
void size_core_maps(bpf_object* object, const CoreSizes& sizes);

class Core {
 public:
  static Result<std::unique_ptr<Core>> load(const CoreSizes& sizes);
  ~Core();

  const CoreSizes& sizes() const { return sizes_; }
  bpf_object* object() const;
  int map_fd(std::string_view name) const;  // -1: no such map

  // Life of cgroups: mkdir, rmdir, moves. Attached as long as the agent runs.
  Result<void> attach_lifecycle();
  // Wanted while a module measures system calls.
  Result<void> attach_context(bool wanted);
  // Names and ends of processes. Wanted while a policy asks for processes.
  Result<void> attach_processes(bool wanted);

  void detach_all();
  std::size_t attached() const;  // how many of its programs

  Mapped globals, slot_config, slot_info, span_config, span_budgets, histograms, losses;
  // Values of the histograms when they were last read: by row, of which each has one owner among all modules.
  Zeroed<sonde_histogram> last_histograms;

 private:
  Core() = default;
  std::array<bpf_link*, 6> links() const { return {mkdir_, rmdir_, move_, context_, process_exec_, process_exit_}; }
  Result<void> open_and_load();
  Result<void> fill_free_lists();

  CoreSizes sizes_{};
  core_bpf* skeleton_ = nullptr;
  bpf_link* mkdir_ = nullptr;
  bpf_link* rmdir_ = nullptr;
  bpf_link* move_ = nullptr;
  bpf_link* context_ = nullptr;
  bpf_link* process_exec_ = nullptr;
  bpf_link* process_exit_ = nullptr;
};

}  // namespace sonde
