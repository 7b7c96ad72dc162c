// SPDX-License-Identifier: Apache-2.0
// A full node, 750 containers on 128 possible CPUs, costs at most 64 MiB of kernel memory with the limits as they are by
// default: computed from the maps of the objects themselves.
#include "agent/cli/memory_plan.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "agent/base/json.h"

namespace sonde::cli {
namespace {

constexpr uint32_t kContainers = 750;
constexpr uint32_t kCpus = 128;

MemoryPlan plan_for(uint32_t containers, uint32_t cpus, const KernelLimits& limits = {}) {
  auto plan = make_memory_plan(limits, containers, cpus);
  EXPECT_TRUE(plan) << (plan ? "" : plan.error().message());
  return plan ? std::move(*plan) : MemoryPlan{};
}

TEST(MemoryPlan, AFullNodeFitsByDefault) {
  const MemoryPlan plan = plan_for(kContainers, kCpus);
  EXPECT_LE(plan.bytes(), kKernelMemoryLimit) << plan_text(plan);
  EXPECT_FALSE(plan.raised) << "the default limits hold all that preset Standard asks of " << kContainers
                            << " containers";
  EXPECT_TRUE(plan.fits());
}

TEST(MemoryPlan, ListsEveryModuleAndLevel) {
  const MemoryPlan plan = plan_for(kContainers, kCpus);
  std::set<std::string> planned;
  for (const MapPlan& map : plan.maps) {
    planned.insert(map.module);
    EXPECT_GT(map.bytes, 0U) << map.map;
  }
  EXPECT_TRUE(planned.contains("core"));
  for (const ModuleEntry& entry : modules()) {
    const ModuleInfo& info = entry.module->info();
    EXPECT_EQ(planned.contains(std::string(info.name)), !info.programs.empty()) << info.name << ": files need no maps";
  }
  ASSERT_EQ(plan.levels.size(), 4U);
  for (std::size_t i = 0; i < plan.levels.size(); ++i) {
    EXPECT_EQ(plan.levels[i].level, static_cast<Level>(i + 1));
    EXPECT_GE(plan.levels[i].bytes, plan.bytes()) << "the pool is there in any case";
    if (i) {
      EXPECT_GT(plan.levels[i].histograms, plan.levels[i - 1].histograms);
    }
    EXPECT_LE(plan.levels[i].bytes, kKernelMemoryLimit) << plan_text(plan);
  }
  const std::string text = plan_text(plan);
  for (const char* word : {"core", "network", "storage*", "Minimal", "Detailed", "estimate", "it fits"}) {
    EXPECT_NE(text.find(word), std::string::npos) << word;
  }
}

TEST(MemoryPlan, GrowsWithWhatIsAsked) {
  const MemoryPlan small = plan_for(kContainers, 2);
  const MemoryPlan wide = plan_for(kContainers, kCpus);
  const MemoryPlan many = plan_for(100'000, kCpus);
  EXPECT_GT(wide.bytes(), small.bytes());
  EXPECT_LT(wide.bytes() - small.bytes(), 8U << 20) << "next to nothing is kept per CPU";
  EXPECT_TRUE(many.raised);
  EXPECT_GT(many.limits.slots, 100'000U);
  EXPECT_FALSE(many.fits());
  EXPECT_NE(plan_text(many).find("it does not fit"), std::string::npos);
}

TEST(MemoryPlan, LimitsThatTakeAQuarterOfTheMachineAreRefused) {
  constexpr uint64_t kGiB = 1ULL << 30;
  EXPECT_TRUE(check_fits({}, kCpus, kGiB));
  EXPECT_TRUE(check_fits({.slots = 16'384, .histogram_rows = 65'536, .processes = 2048}, kCpus, 4 * kGiB));
  const KernelLimits large{.slots = 1'000'000, .histogram_rows = 4'000'000, .processes = 2048};
  const auto refused = check_fits(large, kCpus, 4 * kGiB);
  ASSERT_FALSE(refused);
  const std::string& said = refused.error().message();
  EXPECT_EQ(said.find("limits.subjects 1000000, limits.histograms 4000000 and limits.processes 2048 need "), 0U)
      << said;
  EXPECT_NE(said.find("a quarter of this machine's 4.0 GiB"), std::string::npos) << said;
  EXPECT_TRUE(check_fits(large, kCpus, 1024 * kGiB));
}

TEST(MemoryPlan, JsonSaysTheSame) {
  const MemoryPlan plan = plan_for(kContainers, kCpus);
  const auto json = parse_json<nlohmann::json>(plan_json(plan));
  EXPECT_EQ(json["bytes"], plan.bytes());
  EXPECT_EQ(json["limit_bytes"], kKernelMemoryLimit);
  EXPECT_EQ(json["fits"], true);
  EXPECT_EQ(json["maps"].size(), plan.maps.size());
  uint64_t by_module = 0;
  for (const auto& [name, bytes] : json["by_module"].items()) by_module += bytes.get<uint64_t>();
  uint64_t by_kind = 0;
  for (const auto& [name, bytes] : json["by_kind"].items()) by_kind += bytes.get<uint64_t>();
  EXPECT_EQ(by_module, plan.bytes());
  EXPECT_EQ(by_kind, plan.bytes());
}

}  // namespace
}  // namespace sonde::cli
