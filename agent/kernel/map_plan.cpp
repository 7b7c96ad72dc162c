// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/map_plan.h"

#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <memory>

#include "agent/kernel/libbpf_log.h"
#include "agent/kernel/module_object.h"
#include "sonde/abi.h"

namespace sonde {
namespace {

constexpr uint64_t kMapHead = 512;       // struct bpf_map and what a kind adds to it
constexpr uint64_t kElementHead = 48;    // struct htab_elem
constexpr uint64_t kBucketHead = 16;     // struct bucket
constexpr uint64_t kLocks = 8;           // HASHTAB_MAP_LOCK_COUNT, an int each per CPU
constexpr uint64_t kStorageHead = 72;    // struct bpf_local_storage_elem up to its data
constexpr uint64_t kStorageOwner = 192;  // struct bpf_local_storage of a task or socket, as allocated

constexpr uint64_t round_up(uint64_t bytes, uint64_t step) { return (bytes + step - 1) / step * step; }
uint64_t page() { return static_cast<uint64_t>(sysconf(_SC_PAGESIZE)); }

// kmalloc's size classes.
uint64_t allocated(uint64_t bytes) {
  if (bytes > 64 && bytes <= 96) return 96;
  if (bytes > 128 && bytes <= 192) return 192;
  return std::max<uint64_t>(std::bit_ceil(bytes), 8);
}

uint64_t hash_bytes(uint64_t flags, bool lru, uint64_t key, uint64_t value, uint64_t entries, uint64_t cpus) {
  const bool spare = !lru && !(flags & BPF_F_NO_PREALLOC);  // an element per CPU, for updates in place
  const uint64_t elements = entries + (spare ? cpus : 0);
  return kMapHead + kBucketHead * std::bit_ceil(entries) + 4 * kLocks * cpus + (spare ? 8 * cpus : 0) +
         elements * (kElementHead + round_up(key, 8) + round_up(value, 8));
}

std::string_view kind_of(uint32_t type) {
  switch (type) {
    case BPF_MAP_TYPE_ARRAY: return "array";
    case BPF_MAP_TYPE_PERCPU_ARRAY: return "per-CPU array";
    case BPF_MAP_TYPE_HASH: return "hash";
    case BPF_MAP_TYPE_LRU_HASH: return "LRU hash";
    case BPF_MAP_TYPE_PERCPU_HASH: return "per-CPU hash";
    case BPF_MAP_TYPE_QUEUE: return "queue";
    case BPF_MAP_TYPE_RINGBUF: return "ring";
    case BPF_MAP_TYPE_PERF_EVENT_ARRAY: return "perf events";
    case BPF_MAP_TYPE_TASK_STORAGE: return "task storage";
    case BPF_MAP_TYPE_SK_STORAGE: return "socket storage";
    default: return "";
  }
}

Result<MapPlan> plan_of(const std::string& module, const bpf_map* map, const PlanSizes& sizes) {
  const uint32_t type = bpf_map__type(map);
  MapPlan plan{module,
               bpf_map__name(map),
               kind_of(type),
               bpf_map__key_size(map),
               bpf_map__value_size(map),
               bpf_map__max_entries(map),
               false,
               false,
               0};
  if (plan.kind.empty()) return Error("the size of map " + plan.map + " is unknown: unsupported map type");
  plan.per_cpu = type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH;
  // Some events per CPU, sized for those of this machine.
  if (type == BPF_MAP_TYPE_PERF_EVENT_ARRAY) {
    plan.entries = plan.entries / static_cast<uint64_t>(std::max(libbpf_num_possible_cpus(), 1)) * sizes.cpus;
  }
  plan.bytes = map_bytes(type, bpf_map__map_flags(map), plan.key_bytes, plan.value_bytes, plan.entries, sizes.cpus);
  if (type == BPF_MAP_TYPE_TASK_STORAGE || type == BPF_MAP_TYPE_SK_STORAGE) {
    plan.assumed = true;
    plan.entries = type == BPF_MAP_TYPE_TASK_STORAGE ? sizes.threads : sizes.sockets;
    plan.bytes += plan.entries * (kStorageOwner + allocated(kStorageHead + plan.value_bytes));
  }
  return plan;
}

// `shared`: the core's own; a module only has declarations of them.
Result<void> plan_object(const std::string& module, bpf_object* object, bool shared, const PlanSizes& sizes,
                         std::vector<MapPlan>& out) {
  const bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (!shared && std::string_view(bpf_map__name(map)).starts_with("sonde_")) continue;
    auto plan = plan_of(module, map, sizes);
    if (!plan) return plan.error();
    out.push_back(std::move(*plan));
  }
  return {};
}

using ObjectPtr = std::unique_ptr<bpf_object, decltype(&bpf_object__close)>;

ObjectPtr open_object(std::span<const unsigned char> bytes, std::string_view name) {
  LIBBPF_OPTS(bpf_object_open_opts, options);
  const std::string text(name);
  options.object_name = text.c_str();
  return {bpf_object__open_mem(bytes.data(), bytes.size(), &options), bpf_object__close};
}

uint32_t histograms(std::span<const ModuleEntry> modules, Level level, uint32_t keys, bool node) {
  uint32_t rows = 0;
  for (const ModuleEntry& entry : modules) {
    const ModuleInfo& info = entry.module->info();
    for (const SeriesSpec& series : info.series) {
      if (!is_histogram(series.source) || series.level > level || info.metrics[series.metric].node != node) continue;
      rows += is_keyed(series.source) ? keys : 1;
    }
  }
  return rows;
}

}  // namespace

uint64_t map_bytes(uint32_t type, uint32_t flags, uint64_t key, uint64_t value, uint64_t entries, uint64_t cpus) {
  const uint64_t element = round_up(value, 8);
  switch (type) {
    case BPF_MAP_TYPE_ARRAY:
      if (flags & BPF_F_MMAPABLE) return page() + round_up(entries * element, page());
      return kMapHead + entries * element;
    case BPF_MAP_TYPE_PERCPU_ARRAY: return kMapHead + entries * (8 + element * cpus);
    case BPF_MAP_TYPE_PERF_EVENT_ARRAY: return kMapHead + entries * 8;
    case BPF_MAP_TYPE_HASH: return hash_bytes(flags, false, key, value, entries, cpus);
    case BPF_MAP_TYPE_LRU_HASH: return hash_bytes(flags, true, key, value, entries, cpus);
    case BPF_MAP_TYPE_PERCPU_HASH:
      return hash_bytes(flags, false, key, 8, entries, cpus) + (entries + cpus) * element * cpus;
    case BPF_MAP_TYPE_QUEUE: return kMapHead + (entries + 1) * value;
    case BPF_MAP_TYPE_RINGBUF: {
      const uint64_t pages = entries / page();  // mapped twice, behind three pages of its own
      return kMapHead + (3 + pages) * page() + (3 + 2 * pages) * 8;
    }
    case BPF_MAP_TYPE_TASK_STORAGE:
    case BPF_MAP_TYPE_SK_STORAGE: return kMapHead + kBucketHead * std::max<uint64_t>(std::bit_ceil(cpus), 2);
    default: return 0;
  }
}

Result<std::vector<MapPlan>> plan_maps(const PlanSizes& sizes, std::span<const ModuleEntry> modules) {
  LogCapture log;
  std::vector<MapPlan> maps;
  const auto core = open_object(core_object_bytes(), "core_bpf");  // as the skeleton names it
  if (!core) return Error::system("cannot open the core BPF object", errno);
  size_core_maps(core.get(), sizes.core);
  if (auto done = plan_object("core", core.get(), true, sizes, maps); !done) return done.error();
  Features features;  // what a kernel can do changes programs, not sizes
  features.has_function = features.has_tracepoint = [](std::string_view) { return false; };
  for (const ModuleEntry& entry : modules) {
    const ModuleInfo& info = entry.module->info();
    const std::string name(info.name);
    const auto object = open_object(entry.object, name);
    if (!object) return Error::system("cannot open the BPF object of " + name, errno);
    size_core_maps(object.get(), sizes.core);
    size_rows(object.get(), info, sizes.core.slots);
    if (auto done = entry.module->prepare(object.get(), features, kEveryAlternative); !done)
      return done.error().with(name);
    if (auto done = plan_object(name, object.get(), false, sizes, maps); !done) return done.error();
  }
  return maps;
}

uint64_t total_bytes(std::span<const MapPlan> maps) {
  uint64_t bytes = 0;
  for (const MapPlan& map : maps) bytes += map.bytes;
  return bytes;
}

uint64_t histogram_pool_bytes(uint64_t histograms) {
  return map_bytes(BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, sizeof(uint32_t), sizeof(sonde_histogram), histograms, 1) +
         map_bytes(BPF_MAP_TYPE_QUEUE, 0, 0, sizeof(uint32_t), histograms, 1);
}

uint32_t histograms_of_container(std::span<const ModuleEntry> modules, Level level, uint32_t keys) {
  return histograms(modules, level, keys, false);
}

uint32_t histograms_of_node(std::span<const ModuleEntry> modules, Level level, uint32_t keys) {
  return histograms(modules, level, keys, true);
}

}  // namespace sonde
