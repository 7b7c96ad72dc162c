// SPDX-License-Identifier: Apache-2.0
// A policy that excludes everything, or one probe everywhere: what is left in the kernel, by the kernel's own lists.
#include <bpf/bpf.h>
#include <unistd.h>

#include <set>

#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/held_objects.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

// Nothing here depends on who runs the agent, and each test loads all probes.
SONDE_TRAITS("AgentExcludeTest.*", Trait::HostOnly);

std::size_t still_in_the_kernel(const std::set<uint32_t>& programs) {
  std::size_t n = 0;
  for (uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) n += programs.contains(id);
  return n;
}

class AgentExcludeTest : public AgentTest {
 protected:
  void SetUp() override {
    AgentTest::SetUp();
    may_leave_ = true;
  }
  std::set<std::string> attached_of(const std::string& probe) const {
    std::set<std::string> names;
    const nlohmann::json now = status();
    for (const auto& module : now["modules"]) {
      if (module["name"] != probe) continue;
      for (const auto& program : module["programs"]) {
        if (program["state"] == "attached") names.insert(program["name"]);
      }
    }
    return names;
  }
};

TEST_F(AgentExcludeTest, AnExcludeWithoutSelectorsLeavesNoProgram) {
  const Cgroup& box = cgroup("box");
  policy("mine", io_of(box.path()));
  ASSERT_NO_FATAL_FAILURE(start());
  box.run([] { read_bytes(4096); });
  ASSERT_TRUE(await([&] { return bytes_read(box) == 4096; }));
  const HeldObjects before = held_objects();
  ASSERT_GT(before.links, 3);
  ASSERT_GT(still_in_the_kernel(before.programs), 3U);
  policy("nothing", "mode: Exclude");
  EXPECT_TRUE(await_promised([] { return held_objects().links == 0; }, 2)) << held_objects().links;
  EXPECT_TRUE(await([&] { return left(); }));
  EXPECT_EQ(agent().excluded_by(), "nothing");
  stop();
  EXPECT_TRUE(await([&] { return still_in_the_kernel(before.programs) == 0; }));
  EXPECT_EQ(fallen(), std::vector<std::string>());
}

TEST_F(AgentExcludeTest, WhereEverythingIsExcludedNothingIsLoaded) {
  policy("mine", "preset: Standard");
  policy("nothing", "mode: Exclude");
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_TRUE(await([&] { return left(); }));
  EXPECT_EQ(held_objects().links, 0);
  EXPECT_TRUE(held_objects().programs.empty());
}

TEST_F(AgentExcludeTest, AnExcludeThatSelectsSomeLeavesTheOthers) {
  const Cgroup& box = cgroup("box");
  policy("mine", io_of(box.path()));
  policy("nothing", "mode: Exclude\n  cgroups: [/nobody]");
  ASSERT_NO_FATAL_FAILURE(start());
  box.run([] { read_bytes(4096); });
  EXPECT_TRUE(await([&] { return bytes_read(box) == 4096; }));
  EXPECT_FALSE(left());
}

TEST_F(AgentExcludeTest, OneProbeIsDetachedEverywhereAndTheOthersMeasure) {
  const Cgroup& box = cgroup("box");
  policy("mine", "cgroups: ['" + box.path() + "']\n  preset: None\n  probes: [{name: io}, {name: sched}]");
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return !attached_of("io").empty() && !attached_of("sched").empty(); })) << status();
  policy("nothing", "mode: Exclude\n  probes: [{name: io}]");
  EXPECT_TRUE(await_promised([&] { return attached_of("io").empty(); }, 2)) << status();
  EXPECT_FALSE(attached_of("sched").empty());
  remove_policy("nothing");
  EXPECT_TRUE(await([&] { return !attached_of("io").empty(); }));
}

}  // namespace
}  // namespace sonde::test
