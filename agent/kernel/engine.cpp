// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/engine.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "agent/base/check.h"
#include "agent/base/clock.h"
#include "agent/kernel/cgroup_programs.h"
#include "agent/kernel/features.h"
#include "agent/kernel/libbpf_log.h"
#include "agent/module/threads.h"

namespace sonde {
namespace {

constexpr uint32_t kRowsPerSlot = 6;
constexpr std::size_t kCoreLosses = SONDE_MAX_MODULES - 1;
// Kernel memory of a map as reported by the kernel (fs/proc/fd.c, bpf_map_show_fdinfo).
uint64_t memlock_of(int fd) {
  std::ifstream file("/proc/self/fdinfo/" + std::to_string(fd));
  std::string key;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("memlock:")) return std::stoull(line.substr(8));
  }
  return 0;
}

uint64_t count_entries(int fd) {
  unsigned char key[64];
  unsigned char next[64];
  uint64_t n = 0;
  for (int end = bpf_map_get_next_key(fd, nullptr, next); !end; end = bpf_map_get_next_key(fd, key, next)) {
    std::copy(std::begin(next), std::end(next), std::begin(key));
    ++n;
  }
  return n;
}

void add_map_stats(const std::string& module, bpf_object* object, bool shared, std::vector<MapReport>& out) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    const std::string name = bpf_map__name(map);
    if (!shared && name.starts_with("sonde_")) continue;
    const int fd = bpf_map__fd(map);
    if (fd < 0) continue;
    const bool hash = bpf_map__type(map) == BPF_MAP_TYPE_HASH;
    out.push_back({module, name, bpf_map__max_entries(map), hash ? count_entries(fd) : 0, memlock_of(fd), 0});
  }
}

bool asks_gauge(const ModuleInfo& info, uint8_t flags) {
  return std::ranges::any_of(
      info.series, [&](const SeriesSpec& series) { return series.source == Source::Gauge && (series.flag & flags); });
}

void note(CollectStats& stats, std::size_t module, const std::string& why) {
  const auto id = static_cast<uint16_t>(module);
  if (std::ranges::find(stats.failures, id, &CollectFailure::module) != stats.failures.end()) return;
  stats.failures.push_back({id, why});
}

std::vector<uint32_t> listed_pids(const std::string& directory) {
  std::vector<uint32_t> pids;
  std::ifstream file(directory + "/cgroup.procs");
  for (uint32_t pid = 0; file >> pid;) pids.push_back(pid);
  return pids;
}

// Before 5.11 maps counted against RLIMIT_MEMLOCK; raising it is harmless where they do not.
void raise_memlock() {
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::start(const EngineOptions& options) {
  raise_memlock();
  std::unique_ptr<Engine> engine(new Engine());
  const MutexLock lock(engine->mutex_);
  const auto types = kernel_types();  // modules ask for them one after the other; not kept beyond that
  auto features = probe_features();
  if (!features) return features.error();
  if (!options.without_functions.empty()) {
    features->has_function = [has = features->has_function, without = options.without_functions](
                                 std::string_view name) { return !without.contains(name) && has(name); };
  }
  engine->features_ = *features;
  set_machine_proc(options.proc_root);
  if (options.without) options.without(engine->features_);
  const uint32_t rows = options.rows ? options.rows : options.slots * kRowsPerSlot;
  auto core = Core::load({options.slots, rows, options.processes});
  if (!core) return core.error();
  engine->core_ = std::move(*core);
  engine->slots_ = std::make_unique<Slots>(*engine->core_);
  auto spans = SpanRing::open(*engine->core_);
  if (!spans) return spans.error();
  engine->spans_ = std::move(*spans);
  engine->moved_ns_.resize(options.slots);
  engine->lives_ = SlotLives(options.slots);
  engine->older_.resize(options.slots);
  engine->fault_ = options.fault;
  engine->doorbell_ = ring_buffer__new(
      engine->slots_->doorbell_fd(), [](void*, void*, std::size_t) { return 0; }, nullptr, nullptr);
  const LoadOptions load{options.alternative, options.break_program, options.cgroup_root};
  uint16_t id = 0;
  engine->entries_ = options.modules;
  for (const ModuleEntry& entry : options.modules) {
    const bool off = options.disabled_modules.contains(std::string(entry.module->info().name));
    engine->modules_.push_back(
        off ? nullptr : std::make_unique<ModuleObject>(entry, id, *engine->core_, engine->features_, load));
    engine->reads_.push_back(off ? nullptr : std::make_unique<Reads>(*entry.module, id));
    ++id;
  }
  const std::string root = options.cgroup_root.empty() ? mounted_cgroup_root() : options.cgroup_root;
  engine->cgroup_root_ = Fd(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  engine->machine_ = {root, options.proc_root, options.members};
  if (!engine->machine_.members) {
    engine->machine_.members = [root](const std::string& path) { return listed_pids(root + path); };
  }
  engine->files_.set_root(engine->cgroup_root_.get());
  if (auto attached = engine->core_->attach_lifecycle(); !attached) return attached.error();
  return engine;
}

Engine::~Engine() { ring_buffer__free(doorbell_); }

void Engine::configure(uint32_t slot, const SlotSetting& setting) {
  const MutexLock lock(mutex_);
  const auto* before = slots_->config(slot);
  for (std::size_t i = 0; i < gained_.size(); ++i) {
    if (setting.flags[i] && !before->flags[i]) older_[slot] |= 1U << i;
    gained_[i] = static_cast<uint8_t>(gained_[i] | (setting.flags[i] & ~before->flags[i]));
  }
  for (std::size_t i = 0; i < modules_.size(); ++i) {  // before the flags are in force
    if (modules_[i] && modules_[i]->loaded()) modules_[i]->rows().reserve(slot, setting.flags[i]);
  }
  follow_reads(slot, setting.flags);
  slots_->configure(slot, setting);
}

void Engine::set_provisional(const ModuleFlags& flags) {
  const MutexLock lock(mutex_);
  slots_->set_provisional(flags);
}

// Of slots that the kernel side gave out, and of those for which the pool had no row before.
void Engine::reserve_rows(const std::vector<uint32_t>& slots) {
  for (const uint32_t slot : slots) {
    if (unlinked(slot)) continue;
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      if (modules_[i] && modules_[i]->loaded()) modules_[i]->rows().reserve(slot, slots_->config(slot)->flags[i]);
    }
  }
}

bpf_object* Engine::module_object(std::string_view name) const {
  const MutexLock lock(mutex_);
  const int index = find_module(name);
  const bool there = index >= 0 && modules_[static_cast<std::size_t>(index)];
  return there ? modules_[static_cast<std::size_t>(index)]->object() : nullptr;
}

CollectStats Engine::collect(SampleSink& sink, uint32_t clear, bool refresh_gauges) {
  const MutexLock lock(mutex_);
  const uint64_t begin = boottime_ns();
  CollectStats stats;
  if (refresh_gauges) refresh_modules(stats);
  flush_modules(stats);
  auto slots = slots_->taken();
  slots.push_back(SONDE_SLOT_UNATTRIBUTED);
  slots.push_back(SONDE_SLOT_NODE);
  reserve_rows(slots);
  read_all(slots, stats);
  for (const uint32_t slot : slots) {
    if (lives_.stage(slot) == SlotStage::Waiting) continue;
    stats.series_moved += drain(slot, sink, clear, begin);
    ++stats.slots_read;
    if (!refresh_gauges) continue;
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      if (!modules_[i] || !slots_->config(slot)->flags[i]) continue;
      if (modules_[i]->loaded()) modules_[i]->rows().read_gauges(slot, sink);
      reads_[i]->drain_states(slot, sink);
    }
  }
  slots_->dissolve();
  stats.duration_ns = boottime_ns() - begin;
  return stats;
}

CollectStats Engine::collect_released(SampleSink& sink, uint32_t clear) {
  const MutexLock lock(mutex_);
  const uint64_t begin = boottime_ns();
  CollectStats stats;
  for (const uint32_t slot : lives_.in(SlotStage::Released)) {
    stats.series_moved += drain(slot, sink, clear, begin);
    ++stats.slots_read;
  }
  slots_->dissolve();
  stats.duration_ns = boottime_ns() - begin;
  return stats;
}

uint64_t Engine::drain(uint32_t slot, SampleSink& sink, uint32_t clear, uint64_t now) {
  SONDE_CHECK(slot < moved_ns_.size());
  uint64_t moved = 0;
  for (std::size_t i = 0; i < modules_.size(); ++i) {
    if (modules_[i] && modules_[i]->loaded()) moved += modules_[i]->rows().drain(slot, sink, (clear >> i) & 1);
    if (reads_[i]) moved += reads_[i]->drain(slot, sink);
  }
  if (moved) moved_ns_[slot] = now;
  return moved;
}

void Engine::refresh_modules(CollectStats& stats) {
  const ModuleFlags asked = asked_flags();
  for (std::size_t i = 0; i < modules_.size(); ++i) {
    const auto& module = modules_[i];
    if (!module || !module->loaded() || !asks_gauge(module->module().info(), asked[i])) continue;
    auto done = module->module().refresh(module->object());
    if (done) done = settle(i);
    if (!done) note(stats, i, done.error().message());
  }
}

Result<void> Engine::settle(std::size_t module) {
  std::vector<StateSubject> subjects;
  for (const uint32_t slot : slots_->taken()) {
    const sonde_slot_info* info = slots_->info(slot);
    const uint8_t flags = slots_->config(slot)->flags[module];
    const std::string& path = slots_->path(slot);
    if (!flags || !info || info->tgid || path.empty() || unlinked(slot)) continue;
    subjects.push_back({slot, flags, (older_[slot] >> module & 1) != 0, path});
  }
  return modules_[module]->module().settle(modules_[module]->object(), subjects, machine_);
}

void Engine::flush_modules(CollectStats& stats) {
  for (std::size_t i = 0; i < modules_.size(); ++i) {
    const auto& module = modules_[i];
    if (!module || !module->attached()) continue;
    const std::string fault = fault_ ? fault_(module->report().name) : std::string();
    if (!fault.empty()) note(stats, i, fault);
    module->follow_cpus();
    if (auto done = module->module().flush(module->object()); !done) note(stats, i, done.error().message());
  }
}

void Engine::empty_rows(uint32_t slot) {
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < modules_.size(); ++i) {
    if (modules_[i] && modules_[i]->loaded()) modules_[i]->rows().forget(slot);
    if (reads_[i]) reads_[i]->forget(slot);
  }
  files_.forget(slot);
  moved_ns_[slot] = 0;
  older_[slot] = 0;
}

uint64_t Engine::last_moved_ns(uint32_t slot) const {
  const MutexLock lock(mutex_);
  return moved_ns_[slot];
}

int Engine::wake_fd() const { return doorbell_ ? ring_buffer__epoll_fd(doorbell_) : -1; }

void Engine::hush() {
  if (doorbell_) ring_buffer__consume(doorbell_);
}

bool Engine::release(uint32_t slot) {
  const MutexLock lock(mutex_);
  if (!slots_->info(slot)) return false;
  // A last look at its files: a directory that was only deselected, or is not gone yet, still has them.
  std::vector<int> good(reads_.size()), bad(reads_.size());
  read_one(slot, good, bad);
  return slots_->release(slot);
}

void Engine::give_back(uint32_t slot) {
  const MutexLock lock(mutex_);
  slots_->give_back(slot);
}

std::vector<ModuleReport> Engine::modules() const {
  const MutexLock lock(mutex_);
  std::vector<ModuleReport> states;
  std::size_t i = 0;
  for (const auto& module : modules_) {
    const auto name = std::string(entries_[i++].module->info().name);
    states.push_back(module ? module->report() : ModuleReport{name, ModuleHealth::Disabled, "", {}, {}});
  }
  return states;
}

std::array<std::array<uint64_t, SONDE_LOSSES>, SONDE_MAX_MODULES> Engine::losses() const {
  std::array<std::array<uint64_t, SONDE_LOSSES>, SONDE_MAX_MODULES> losses{};
  for (uint32_t module = 0; module < SONDE_MAX_MODULES; ++module) {
    const auto* row = core_->losses.at<uint64_t>(module);
    for (std::size_t reason = 0; reason < SONDE_LOSSES; ++reason) {
      losses[module][reason] = __atomic_load_n(&row[reason], __ATOMIC_RELAXED);
    }
  }
  static_assert(kCoreLosses == 15, "cmake/SondeBpf.cmake gives the core this number");
  return losses;
}

std::vector<ProgramRuns> Engine::program_stats() const {
  const MutexLock lock(mutex_);
  std::vector<ProgramRuns> stats;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, core_->object()) {
    bpf_prog_info info{};
    __u32 size = sizeof(info);
    if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size)) continue;
    stats.push_back({"core", bpf_program__name(program), info.run_cnt, info.run_time_ns, info.recursion_misses,
                     info.verified_insns});
  }
  for (const auto& module : modules_) {
    if (module && module->loaded()) module->add_program_stats(stats);
  }
  return stats;
}

std::vector<MapReport> Engine::map_stats() const {
  const MutexLock lock(mutex_);
  std::vector<MapReport> stats;
  add_map_stats("core", core_->object(), true, stats);
  // Arrays have all their entries always: what is in use of them is known here.
  auto slots = slots_->taken();
  const uint64_t used = slots.size();
  slots.insert(slots.end(), {SONDE_SLOT_UNATTRIBUTED, SONDE_SLOT_NODE});
  uint64_t histograms = 0;
  for (const auto& module : modules_) {
    if (!module || !module->loaded()) continue;
    for (const uint32_t slot : slots) histograms += module->rows().histograms_of(slot);
  }
  for (MapReport& map : stats) {
    if (map.map == "sonde_slot_info") map.entries = used;
    if (map.map == "sonde_histograms") map.entries = histograms;
    if (map.map == "sonde_subjects") map.update_failures = slots_->update_failures();
  }
  for (const auto& module : modules_) {
    if (module && module->loaded()) add_map_stats(module->report().name, module->object(), false, stats);
  }
  return stats;
}

std::size_t Engine::core_programs() const {
  const MutexLock lock(mutex_);
  return core_->attached();
}

uint64_t Engine::slots_used() const {
  const MutexLock lock(mutex_);
  return slots_->taken().size();
}

Result<Fd> Engine::measure_run_time() const {
  Fd fd(bpf_enable_stats(BPF_STATS_RUN_TIME));
  if (!fd) return Error::system("cannot measure the run time of BPF programs", errno);
  return fd;
}

}  // namespace sonde
