// SPDX-License-Identifier: Apache-2.0
// What `sonde doctor --plan` computes is what this kernel says that the maps take once they are loaded.
#include <bpf/libbpf.h>

#include <map>

#include "agent/kernel/map_plan.h"
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

// Nothing here depends on who runs it.
SONDE_TRAITS("MapPlan.*", Trait::HostOnly);

// Heads of maps differ from kernel to kernel by some hundred bytes, locks of hash tables by 32 bytes per CPU.
constexpr double kTolerance = 0.02;
constexpr double kHead = 4096;

TEST(MapPlan, IsWhatTheKernelSays) {
  const CoreSizes sizes{.slots = 1024, .rows = 8192, .processes = 2048};
  EngineOptions options;
  options.slots = sizes.slots;
  options.rows = sizes.rows;
  options.processes = sizes.processes;
  auto engine = Engine::start(options);
  ASSERT_TRUE(engine) << engine.error().message();
  // No thread and no socket: the kernel's figure has the head of a storage only.
  auto plan = plan_maps({.core = sizes, .cpus = static_cast<uint32_t>(libbpf_num_possible_cpus())});
  ASSERT_TRUE(plan) << plan.error().message();

  std::map<std::pair<std::string, std::string>, uint64_t> planned;
  for (const MapPlan& map : *plan) planned[{map.module, map.map}] = map.bytes;
  const auto loaded = (*engine)->map_stats();
  // Before 6.4 a kernel says how large keys and values are together, and nothing of a ring.
  bool exact = true;
  for (const MapReport& map : loaded) exact = exact && !(map.map == "sonde_doorbell" && map.bytes < 4096);
  uint64_t said = 0, computed = 0;
  for (const MapReport& map : loaded) {
    const auto found = planned.find({map.module, map.map});
    ASSERT_NE(found, planned.end()) << map.module << "/" << map.map << " is not in the plan";
    const auto bytes = static_cast<double>(map.bytes);
    const auto wanted = static_cast<double>(found->second);
    if (exact) {
      EXPECT_NEAR(wanted, bytes, bytes * kTolerance + kHead) << map.module << "/" << map.map;
    } else {
      // Such a kernel takes every value for a multiple of eight bytes.
      EXPECT_GE(2 * wanted + kHead, bytes) << map.module << "/" << map.map;
    }
    said += map.bytes;
    computed += found->second;
  }
  EXPECT_GT(loaded.size(), 20U) << "the core and the modules that this kernel takes";
  if (exact) {
    EXPECT_NEAR(static_cast<double>(computed), static_cast<double>(said), static_cast<double>(said) * kTolerance);
  }
}

}  // namespace
}  // namespace sonde::test
