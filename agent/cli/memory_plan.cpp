// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/memory_plan.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "agent/base/json.h"
#include "agent/cli/terminal.h"
#include "agent/policy/policy.h"
#include "sonde/abi.h"

namespace sonde::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, 5> kGroups{"arrays", "hashes", "per CPU", "storage*", "other"};

std::size_t group_of(const MapPlan& map) {
  if (map.per_cpu) return 2;
  if (map.kind == "array") return 0;
  if (map.kind == "hash" || map.kind == "LRU hash") return 1;
  return map.assumed ? 3 : 4;
}

std::string mib(uint64_t bytes) { return fmt::format("{:.2f} MiB", static_cast<double>(bytes) / (1 << 20)); }
std::string cell(uint64_t bytes) { return bytes ? bytes_text(static_cast<double>(bytes)) : "-"; }

// In the order of the maps: the core first.
std::vector<std::string> modules_of(const MemoryPlan& plan) {
  std::vector<std::string> names;
  for (const MapPlan& map : plan.maps) {
    if (names.empty() || names.back() != map.module) names.push_back(map.module);
  }
  return names;
}

std::vector<LevelPlan> levels_of(const MemoryPlan& plan) {
  std::vector<LevelPlan> levels;
  for (const Level level : {Level::Minimal, Level::Standard, Level::Detailed, Level::OptIn}) {
    const uint64_t each = histograms_of_container(modules(), level, kKeysPerHistogram);
    LevelPlan one{level, each * plan.containers + histograms_of_node(modules(), level, kKeysPerHistogram) + 1, 0};
    const uint64_t pool = std::max<uint64_t>(one.histograms, plan.limits.histogram_rows);
    one.bytes = plan.bytes() - histogram_pool_bytes(plan.limits.histogram_rows) + histogram_pool_bytes(pool);
    levels.push_back(one);
  }
  return levels;
}

std::string modules_table(const MemoryPlan& plan) {
  std::vector<Table::Column> columns{{"MODULE", false}};
  for (const char* group : kGroups) columns.push_back({group, true});
  columns.push_back({"TOTAL", true});
  Table table(columns);
  std::array<uint64_t, kGroups.size()> all{};
  const auto add = [&](const std::string& name, const std::array<uint64_t, kGroups.size()>& bytes, Colour colour) {
    std::vector<std::string> cells{name};
    uint64_t total = 0;
    for (const uint64_t one : bytes) {
      cells.push_back(cell(one));
      total += one;
    }
    cells.push_back(cell(total));
    table.add(cells, colour);
  };
  for (const std::string& module : modules_of(plan)) {
    std::array<uint64_t, kGroups.size()> bytes{};
    for (const MapPlan& map : plan.maps) {
      if (map.module != module) continue;
      bytes[group_of(map)] += map.bytes;
      all[group_of(map)] += map.bytes;
    }
    add(module, bytes, Colour::None);
  }
  add("all", all, Colour::Bold);
  return table.text();
}

std::string levels_table(const MemoryPlan& plan) {
  Table table({{"ALL CONTAINERS AT", false},
               {"HISTOGRAMS", true},
               {"IN POOL", false},
               {"MEMORY WITH ALL IN POOL", true},
               {"FITS", false}});
  for (const LevelPlan& level : plan.levels) {
    const bool fits = level.bytes <= kKernelMemoryLimit;
    table.add(
        {std::string(word_of(level.level)), std::to_string(level.histograms),
         level.histograms <= plan.limits.histogram_rows ? "all" : "the first", mib(level.bytes), fits ? "yes" : "no"},
        fits ? Colour::None : Colour::Yellow);
  }
  return table.text();
}

}  // namespace

Result<MemoryPlan> make_memory_plan(const KernelLimits& limits, uint32_t containers, uint32_t cpus) {
  MemoryPlan plan{containers, cpus, limits, false, {}, {}};
  const uint32_t slots = containers + SONDE_FIRST_FREE_SLOT;
  const uint32_t histograms = histograms_of_container(modules(), Level::Standard, kKeysPerHistogram) * containers +
                              histograms_of_node(modules(), Level::Standard, kKeysPerHistogram) + 1;
  plan.raised = slots > limits.slots || histograms > limits.histogram_rows;
  plan.limits.slots = std::max(limits.slots, slots);
  plan.limits.histogram_rows = std::max(limits.histogram_rows, histograms);
  auto maps = plan_maps({.core = {plan.limits.slots, plan.limits.histogram_rows, plan.limits.processes},
                         .cpus = cpus,
                         .threads = containers * kThreadsPerContainer,
                         .sockets = containers * kSocketsPerContainer});
  if (!maps) return maps.error();
  plan.maps = std::move(*maps);
  plan.levels = levels_of(plan);
  return plan;
}

Result<void> check_fits(const KernelLimits& limits, uint32_t cpus, uint64_t machine_bytes) {
  const KernelLimits usual;
  if (limits.slots <= usual.slots && limits.histogram_rows <= usual.histogram_rows &&
      limits.processes <= usual.processes) {
    return {};
  }
  const CoreSizes core{limits.slots, limits.histogram_rows, limits.processes};
  auto maps = plan_maps({.core = core, .cpus = cpus, .threads = 0, .sockets = 0});
  if (!maps) return maps.error();
  const uint64_t bytes = total_bytes(*maps);
  if (bytes <= machine_bytes / 4) return {};
  return Error(fmt::format(
      "limits.subjects {}, limits.histograms {} and limits.processes {} need {} of kernel memory, more than a "
      "quarter of this machine's {}: lower them (`sonde doctor --plan` shows the breakdown)",
      limits.slots, limits.histogram_rows, limits.processes, bytes_text(static_cast<double>(bytes)),
      bytes_text(static_cast<double>(machine_bytes))));
}

std::string plan_text(const MemoryPlan& plan) {
  std::string text =
      fmt::format("Kernel memory of all maps: {} containers, {} CPUs, {} slots, {} histograms, {} processes\n\n",
                  plan.containers, plan.cpus, plan.limits.slots, plan.limits.histogram_rows, plan.limits.processes);
  text += modules_table(plan);
  text += fmt::format("* estimate, only limited by the kernel: {} threads and {} sockets per container\n\n",
                      kThreadsPerContainer, kSocketsPerContainer);
  text += levels_table(plan);
  text += fmt::format(
      "a histogram with attributes counts as {}; samples of histograms that do not fit in the pool are counted as "
      "lost\n\n",
      kKeysPerHistogram);
  if (plan.raised) {
    text += "the configured limits.subjects or limits.histograms are lower than these containers need at Standard\n";
  }
  const std::string sum = fmt::format("{} of {}: {}", mib(plan.bytes()), mib(kKernelMemoryLimit),
                                      plan.fits() ? "it fits"
                                                  : "it does not fit; lower limits.subjects, limits.histograms "
                                                    "or limits.processes, or switch probes off");
  return text + paint(plan.fits() ? Colour::Green : Colour::Red, sum) + "\n";
}

std::string plan_json(const MemoryPlan& plan) {
  Json maps = Json::array();
  Json by_module = Json::object();
  Json by_kind = Json::object();
  for (const MapPlan& map : plan.maps) {
    const std::string kind(map.kind);
    maps.push_back({{"module", map.module},
                    {"map", map.map},
                    {"kind", kind},
                    {"key_bytes", map.key_bytes},
                    {"value_bytes", map.value_bytes},
                    {"entries", map.entries},
                    {"per_cpu", map.per_cpu},
                    {"assumed", map.assumed},
                    {"bytes", map.bytes}});
    by_module[map.module] = by_module.value(map.module, uint64_t{0}) + map.bytes;
    by_kind[kind] = by_kind.value(kind, uint64_t{0}) + map.bytes;
  }
  Json levels = Json::array();
  for (const LevelPlan& level : plan.levels) {
    levels.push_back({{"level", word_of(level.level)},
                      {"histograms", level.histograms},
                      {"bytes", level.bytes},
                      {"fits", level.bytes <= kKernelMemoryLimit}});
  }
  const Json json{{"containers", plan.containers},
                  {"cpus", plan.cpus},
                  {"limits",
                   {{"subjects", plan.limits.slots},
                    {"histograms", plan.limits.histogram_rows},
                    {"processes", plan.limits.processes},
                    {"raised", plan.raised}}},
                  {"assumed",
                   {{"threads_per_container", kThreadsPerContainer},
                    {"sockets_per_container", kSocketsPerContainer},
                    {"keys_per_histogram", kKeysPerHistogram}}},
                  {"bytes", plan.bytes()},
                  {"limit_bytes", kKernelMemoryLimit},
                  {"fits", plan.fits()},
                  {"by_module", by_module},
                  {"by_kind", by_kind},
                  {"levels", levels},
                  {"maps", maps}};
  return json_text(json, 2) + "\n";
}

}  // namespace sonde::cli
