// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/core.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "agent/kernel/libbpf_log.h"
#include "agent/kernel/module_types.h"
#include "sonde/abi.h"
#include "sonde/spans.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include "core.skel.h"
#pragma GCC diagnostic pop

namespace sonde {
namespace {

Result<void> attach(bpf_program* program, bpf_link*& link, const char* hook) {
  if (link) return {};
  LogCapture log;
  link = bpf_program__attach(program);
  if (link) return {};
  return Error::system(std::string("cannot attach to ") + hook, errno);
}

void detach(bpf_link*& link) {
  if (link) bpf_link__destroy(link);
  link = nullptr;
}

}  // namespace

std::span<const unsigned char> core_object_bytes() {
  std::size_t size = 0;
  const void* bytes = core_bpf__elf_bytes(&size);
  return {static_cast<const unsigned char*>(bytes), size};
}

void size_core_maps(bpf_object* object, const CoreSizes& sizes) {
  const std::pair<const char*, uint32_t> entries[] = {
      {"sonde_subjects", sizes.slots * 4},  // nested and ignored directories have entries too
      {"sonde_slot_config", sizes.slots},  {"sonde_slot_info", sizes.slots},
      {"sonde_free_slots", sizes.slots},   {"sonde_free_rows", sizes.rows},
      {"sonde_span_config", sizes.slots},  {"sonde_span_budgets", sizes.slots},
      {"sonde_histograms", sizes.rows},    {"sonde_processes", std::min(sizes.processes, process_slots(sizes.slots))}};
  for (const auto& [name, count] : entries) {
    if (bpf_map* map = bpf_object__find_map_by_name(object, name)) bpf_map__set_max_entries(map, count);
  }
}

Result<std::unique_ptr<Core>> Core::load(const CoreSizes& sizes) {
  std::unique_ptr<Core> core(new Core());
  core->sizes_ = sizes;
  if (auto loaded = core->open_and_load(); !loaded) return loaded.error();
  struct {
    Mapped& target;
    const char* map;
    std::size_t value;
    uint32_t entries;
  } const mappings[] = {
      {core->globals, "sonde_globals", sizeof(sonde_globals), 1},
      {core->slot_config, "sonde_slot_config", sizeof(sonde_slot_config), sizes.slots},
      {core->slot_info, "sonde_slot_info", sizeof(sonde_slot_info), sizes.slots},
      {core->histograms, "sonde_histograms", sizeof(sonde_histogram), sizes.rows},
      {core->span_config, "sonde_span_config", sizeof(sonde_span_config), sizes.slots},
      {core->span_budgets, "sonde_span_budgets", sizeof(sonde_span_budget), sizes.slots},
      {core->losses, "sonde_losses", sizeof(uint64_t) * SONDE_LOSSES, SONDE_MAX_MODULES},
  };
  for (const auto& mapping : mappings) {
    auto mapped = Mapped::map(core->map_fd(mapping.map), mapping.value, mapping.entries);
    if (!mapped) return mapped.error().with(mapping.map);
    mapping.target = std::move(*mapped);
  }
  core->last_histograms = zeroed<sonde_histogram>(sizes.rows);
  core->globals.at<sonde_globals>(0)->process_slots = static_cast<int32_t>(process_slots(sizes.slots));
  core->globals.at<sonde_globals>(0)->generation = 1;  // 0 in a task's storage means "never resolved"
  if (auto filled = core->fill_free_lists(); !filled) return filled.error();
  return core;
}

Result<void> Core::open_and_load() {
  LogCapture log;
  skeleton_ = core_bpf__open();
  if (!skeleton_) return Error::system("cannot open the core BPF object (" + log.reason() + ")", errno);
  size_core_maps(skeleton_->obj, sizes_);
  pass_over_module_types(skeleton_->obj);
  if (const int error = core_bpf__load(skeleton_)) {
    return Error::system("the kernel refused the core BPF object (" + log.reason() + ")", -error);
  }
  return {};
}

Result<void> Core::fill_free_lists() {
  const int slots = map_fd("sonde_free_slots");
  for (uint32_t slot = SONDE_FIRST_FREE_SLOT; slot < sizes_.slots; ++slot) {
    if (bpf_map_update_elem(slots, nullptr, &slot, 0))
      return Error::system("cannot fill the free list of slots", errno);
  }
  const int rows = map_fd("sonde_free_rows");
  for (uint32_t row = SONDE_NO_ROW + 1; row < sizes_.rows; ++row) {
    if (bpf_map_update_elem(rows, nullptr, &row, 0)) return Error::system("cannot fill the free list of rows", errno);
  }
  return {};
}

std::size_t Core::attached() const {
  return static_cast<std::size_t>(std::ranges::count_if(links(), [](const bpf_link* link) { return link != nullptr; }));
}

void Core::detach_all() {
  for (bpf_link** link : {&mkdir_, &rmdir_, &move_, &context_, &process_exec_, &process_exit_}) detach(*link);
}

Core::~Core() {
  detach_all();
  core_bpf__destroy(skeleton_);
}

bpf_object* Core::object() const { return skeleton_->obj; }

int Core::map_fd(std::string_view name) const {
  return bpf_object__find_map_fd_by_name(skeleton_->obj, std::string(name).c_str());
}

Result<void> Core::attach_lifecycle() {
  auto& programs = skeleton_->progs;
  if (auto done = attach(programs.core_cgroup_attach_task, move_, "tp_btf/cgroup_attach_task"); !done) return done;
  if (auto done = attach(programs.core_cgroup_rmdir, rmdir_, "tp_btf/cgroup_rmdir"); !done) return done;
  return attach(programs.core_cgroup_mkdir, mkdir_, "tp_btf/cgroup_mkdir");
}

Result<void> Core::attach_context(bool wanted) {
  if (wanted) return attach(skeleton_->progs.core_sched_switch, context_, "tp_btf/sched_switch");
  detach(context_);
  return {};
}

Result<void> Core::attach_processes(bool wanted) {
  auto& programs = skeleton_->progs;
  if (wanted) {
    if (auto done = attach(programs.core_process_exec, process_exec_, "tp_btf/sched_process_exec"); !done) return done;
    return attach(programs.core_process_exit, process_exit_, "tp_btf/sched_process_exit");
  }
  detach(process_exec_);
  detach(process_exit_);
  return {};
}

}  // namespace sonde
