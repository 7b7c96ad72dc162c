// SPDX-License-Identifier: Apache-2.0
// Cgroups and slots: who gets one, when, and what becomes of it.
#include <unistd.h>

#include "agent/base/clock.h"
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("SlotsTest.*", Trait::Preemption);

const std::string kId(64, 'a');

class SlotsTest : public KernelTest {
 protected:
  // Slots are the core's business; loading the modules as well takes ten times as long where everything is emulated.
  EngineOptions options() const override {
    EngineOptions core_only;
    for (const ModuleEntry& entry : modules()) core_only.disabled_modules.emplace(entry.module->info().name);
    return core_only;
  }

  // Enters the cgroup as one whose children are subjects of their own.
  uint32_t watch(const Cgroup& parent) {
    auto slot = engine().slots().enter(parent.id(), 0, parent.path(), SONDE_KIND_TREE);
    EXPECT_TRUE(slot);
    return *slot;
  }
};

TEST_F(SlotsTest, ANewDirectoryBelowAWatchedOneHasASlotAtOnce) {
  const Cgroup& parent = cgroup("parent");
  watch(parent);
  engine().set_provisional(ModuleFlags{1});
  const uint64_t before = engine().slots().lifecycle();
  const Cgroup child(parent.path() + "/child");
  const uint32_t slot = slot_of(child);
  ASSERT_GE(slot, uint32_t{SONDE_FIRST_FREE_SLOT});
  const auto* info = engine().slots().info(slot);
  ASSERT_NE(info, nullptr);
  EXPECT_STREQ(info->name, "child");
  EXPECT_EQ(info->cgroup_id, child.id());
  EXPECT_EQ(info->parent_id, parent.id());
  EXPECT_EQ(info->kind, uint32_t{SONDE_KIND_TREE});
  EXPECT_EQ(engine().slots().config(slot)->flags[0], 1);
  EXPECT_GT(engine().slots().lifecycle(), before);
}

TEST_F(SlotsTest, ADirectoryNobodyWatchesHasNone) {
  const Cgroup& stranger = cgroup("stranger");
  EXPECT_EQ(slot_of(stranger), 0U);
}

TEST_F(SlotsTest, DirectoriesInsideAContainerShareItsSlot) {
  const Cgroup& parent = cgroup("pod");
  watch(parent);
  const Cgroup container(parent.path() + "/cri-containerd-" + kId + ".scope");
  const Cgroup inside(container.path() + "/init.scope");
  const Cgroup deeper(inside.path() + "/deeper");
  EXPECT_EQ(engine().slots().info(slot_of(container))->kind, uint32_t{SONDE_KIND_CONTAINER});
  EXPECT_EQ(slot_of(inside), slot_of(container));
  EXPECT_EQ(slot_of(deeper), slot_of(container));
}

TEST_F(SlotsTest, APodOfPodmanIsNoContainer) {
  const Cgroup& parent = cgroup("machine");
  watch(parent);
  const Cgroup pod(parent.path() + "/machine-libpod_pod_" + kId + ".slice");
  const Cgroup container(pod.path() + "/libpod-" + kId + ".scope");
  EXPECT_EQ(engine().slots().info(slot_of(pod))->kind, uint32_t{SONDE_KIND_TREE});
  EXPECT_NE(slot_of(container), slot_of(pod));
  EXPECT_EQ(engine().slots().info(slot_of(container))->kind, uint32_t{SONDE_KIND_CONTAINER});
}

TEST_F(SlotsTest, ANameOf255BytesIsWhole) {
  const Cgroup& parent = cgroup("parent");
  watch(parent);
  const std::string name = std::string(191, 'x') + kId;
  const Cgroup container(parent.path() + "/" + name);
  ASSERT_NE(engine().slots().info(slot_of(container)), nullptr);
  EXPECT_EQ(engine().slots().info(slot_of(container))->name, name);
  EXPECT_EQ(engine().slots().info(slot_of(container))->kind, uint32_t{SONDE_KIND_CONTAINER});
}

// kind of each name; below a container too, where only a pod begins anew.
TEST_F(SlotsTest, KindsByName) {
  const std::string uid = "8dbc5577-d0e2-4706-8787-57d52c03ddf3", uid_ = "8dbc5577_d0e2_4706_8787_57d52c03ddf3";
  const std::string flat(32, '7');
  struct Row {
    std::string name;
    uint32_t kind, inside;
  };
  const Row rows[] = {
      {"0" + kId, SONDE_KIND_TREE, SONDE_KIND_INSIDE},
      {kId.substr(1), SONDE_KIND_TREE, SONDE_KIND_INSIDE},
      {kId + ".service", SONDE_KIND_TREE, SONDE_KIND_INSIDE},
      {"crio-conmon-" + kId + ".scope", SONDE_KIND_TREE, SONDE_KIND_INSIDE},
      {"pod_" + kId, SONDE_KIND_TREE, SONDE_KIND_INSIDE},
      {"docker-" + kId + ".scope", SONDE_KIND_CONTAINER, SONDE_KIND_INSIDE},
      {"system.slice:docker:" + kId, SONDE_KIND_CONTAINER, SONDE_KIND_INSIDE},
      {"pod" + uid, SONDE_KIND_TREE, SONDE_KIND_TREE},
      {"pod" + flat, SONDE_KIND_TREE, SONDE_KIND_TREE},
      {"kubepods-burstable-pod" + uid_ + ".slice", SONDE_KIND_TREE, SONDE_KIND_TREE},
      {"kubepods-pod" + flat + ".slice:cri-containerd:" + kId, SONDE_KIND_CONTAINER, SONDE_KIND_CONTAINER},
      {"mypod" + uid, SONDE_KIND_TREE, SONDE_KIND_INSIDE},
      {"pod" + uid + "0", SONDE_KIND_TREE, SONDE_KIND_INSIDE},
  };
  const Cgroup& parent = cgroup("parent");
  watch(parent);
  const Cgroup container(parent.path() + "/" + std::string(64, 'c'));
  const auto kind_of = [&](const Cgroup& made) {
    sonde_subject entry{};
    EXPECT_TRUE(engine().slots().find(made.id(), entry));
    EXPECT_EQ(entry.slot == slot_of(container), entry.kind == SONDE_KIND_INSIDE) << made.path();
    return entry.kind;
  };
  for (const Row& row : rows) {
    const Cgroup outside(parent.path() + "/" + row.name), inside(container.path() + "/" + row.name);
    EXPECT_EQ(kind_of(outside), row.kind) << row.name;
    EXPECT_EQ(kind_of(inside), row.inside) << row.name;
  }
  const Cgroup podman(parent.path() + "/libpod_parent"), pod(podman.path() + "/" + kId);
  EXPECT_EQ(kind_of(pod), uint32_t{SONDE_KIND_TREE});
  const Cgroup almost(parent.path() + "/libpod_parents"), no_pod(almost.path() + "/" + kId);
  EXPECT_EQ(kind_of(no_pod), uint32_t{SONDE_KIND_CONTAINER});
}

TEST_F(SlotsTest, ARemovedDirectoryKeepsItsSlotUntilItIsReleased) {
  const Cgroup& parent = cgroup("parent");
  watch(parent);
  auto child = std::make_unique<Cgroup>(parent.path() + "/child");
  const uint64_t id = child->id();
  const uint32_t slot = slot_of(*child);
  child.reset();
  ASSERT_NE(engine().slots().info(slot), nullptr);
  EXPECT_NE(engine().slots().info(slot)->removed_ns, 0U);
  EXPECT_EQ(engine().slots().info(slot)->cgroup_id, id);

  const uint64_t released = monotonic_ns();
  release(slot);
  collect();
  std::vector<uint32_t> freed = drained();
  EXPECT_TRUE(freed.empty() || monotonic_ns() - released >= 300'000'000) << "the grace period is not over";
  for (int i = 0; i < 1000 && freed.empty(); ++i) {
    usleep(10'000);
    collect();
    freed = drained();
  }
  EXPECT_GE(monotonic_ns() - released, 300'000'000U);
  EXPECT_EQ(freed, std::vector<uint32_t>{slot});
  give_back(slot);
  EXPECT_EQ(engine().slots().info(slot), nullptr);
}

TEST_F(SlotsTest, APathUsedAgainIsAnotherSubject) {
  const Cgroup& parent = cgroup("parent");
  watch(parent);
  auto first = std::make_unique<Cgroup>(parent.path() + "/again");
  const uint32_t first_slot = slot_of(*first);
  first.reset();
  const Cgroup second(parent.path() + "/again");
  EXPECT_NE(slot_of(second), first_slot);
}

class FewSlotsTest : public SlotsTest {
 protected:
  EngineOptions options() const override {
    EngineOptions few = SlotsTest::options();
    few.slots = 9;
    return few;
  }
};

TEST_F(FewSlotsTest, WithoutAFreeSlotTheLossIsCountedAndTheSubjectIsUnattributed) {
  const Cgroup& parent = cgroup("parent");
  watch(parent);
  std::vector<std::unique_ptr<Cgroup>> children;
  for (int i = 0; i < 10; ++i) children.push_back(std::make_unique<Cgroup>(parent.path() + "/" + std::to_string(i)));
  // 9 slots: three are fixed, the parent has one, five children have one.
  EXPECT_EQ(engine().losses()[SONDE_MAX_MODULES - 1][SONDE_LOSS_NO_SLOT], 5U);
  EXPECT_NE(slot_of(*children[4]), 0U);
  EXPECT_EQ(slot_of(*children[5]), uint32_t{SONDE_SLOT_UNATTRIBUTED});
}

TEST_F(FewSlotsTest, ASlotThatNoCgroupCouldBeGivenStaysFree) {
  const Cgroup& parent = cgroup("parent");
  watch(parent);
  const Cgroup container(parent.path() + "/cri-containerd-" + kId + ".scope");
  const auto lost = [&] { return engine().losses()[SONDE_MAX_MODULES - 1][SONDE_LOSS_NO_SLOT]; };
  std::vector<std::unique_ptr<Cgroup>> inside;  // these fill the table of cgroups, four times as long as that of slots
  for (int i = 0; i < 40; ++i) inside.push_back(std::make_unique<Cgroup>(container.path() + "/" + std::to_string(i)));
  const uint64_t lost_inside = lost();
  EXPECT_GT(lost_inside, 0U);
  const std::size_t taken = engine().slots().taken().size();
  for (int i = 0; i < 10; ++i) {  // more often than there are slots
    const Cgroup late(parent.path() + "/late");
    EXPECT_EQ(slot_of(late), uint32_t{SONDE_SLOT_UNATTRIBUTED});
    EXPECT_EQ(engine().slots().taken().size(), taken);
  }
  EXPECT_EQ(lost(), lost_inside + 10);
  inside.clear();
  const Cgroup after(parent.path() + "/after");
  EXPECT_GE(slot_of(after), uint32_t{SONDE_FIRST_FREE_SLOT});
}

}  // namespace
}  // namespace sonde::test
