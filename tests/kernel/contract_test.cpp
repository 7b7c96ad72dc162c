// SPDX-License-Identifier: Apache-2.0
// What the contract offers to probes, with a module made for it: keyed histograms, subjects by cgroup.
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/trial/trial.h"
#include "tests/kernel/trial/trial_module.h"

namespace sonde::test {
namespace {

class ContractTest : public KernelTest {
 protected:
  EngineOptions options() const override {
    EngineOptions options;
    options.modules = trial_modules();
    options.slots = 64;
    options.rows = 64;
    return options;
  }
  uint32_t selected(const Cgroup& box, uint8_t flags) {
    auto slot = engine().slots().enter(box.id(), 0, box.path(), SONDE_KIND_CONTAINER);
    EXPECT_TRUE(slot);
    SlotSetting setting;
    setting.flags[0] = flags;
    engine().configure(*slot, setting);
    engine().sync_programs();
    return *slot;
  }
  uint64_t rows_lost() { return engine().losses()[0][SONDE_LOSS_NO_ROW]; }
  uint64_t durations(uint32_t slot, const std::string& name) {
    return totals_.histograms[slot]["trial.duration|" + name].count;
  }
};

class KeyedHistogramTest : public ContractTest, public ::testing::WithParamInterface<Cleanup> {};

TEST_P(KeyedHistogramTest, EachKeyHasItsOwn) {
  cleanup_ = GetParam();
  const uint32_t a = selected(cgroup("a"), TRIAL_FLAG_KEYED), b = selected(cgroup("b"), TRIAL_FLAG_KEYED);
  for (uint64_t round = 0; round < 3; ++round) {
    trial().run("trial_observe", {a, 0, 1000});
    trial().run("trial_observe", {a, 7, 2'000'000});
    trial().run("trial_observe", {b, 7, 3000});
    collect();
  }
  EXPECT_EQ(durations(a, "key 0"), 3U);
  EXPECT_EQ(durations(a, "key 7"), 3U);
  EXPECT_EQ(totals_.histograms[a]["trial.duration|key 7"].sum, 6'000'000U);
  EXPECT_EQ(durations(b, "key 7"), 3U);
  EXPECT_EQ(durations(b, "key 0"), 0U);
  EXPECT_EQ(rows_lost(), 0U);
}

TEST_P(KeyedHistogramTest, KeysBeyondTheCellsGoToOther) {
  cleanup_ = GetParam();
  const uint32_t slot = selected(cgroup("box"), TRIAL_FLAG_KEYED);
  for (uint64_t key = 0; key < SONDE_CELLS + 5; ++key) trial().run("trial_observe", {slot, key, 1000});
  trial().run("trial_observe", {slot, SONDE_CELLS - 1, 1000});
  collect();
  EXPECT_EQ(durations(slot, "key 0"), 1U);
  EXPECT_EQ(durations(slot, "key " + std::to_string(SONDE_CELLS - 1)), 2U);
  EXPECT_EQ(durations(slot, "other"), 5U);
}

INSTANTIATE_TEST_SUITE_P(Strategies, KeyedHistogramTest, ::testing::Values(Cleanup::Keep, Cleanup::Clear));

TEST_F(ContractTest, RowsOfAnEndedSubjectGoBackToThePool) {
  const Cgroup& box = cgroup("box");
  // 64 rows, of which 63 can be had: three rounds of 25 only work if each gives back what it took.
  for (int round = 0; round < 3; ++round) {
    const uint32_t slot = selected(box, TRIAL_FLAG_KEYED);
    for (uint64_t key = 0; key <= SONDE_CELLS; ++key) trial().run("trial_observe", {slot, key, 1000});
    engine().release(slot);
    usleep(static_cast<useconds_t>(kGraceNs / 1000) + 1000);
    engine().collect_released(totals_, 0);
    ASSERT_EQ(engine().take_freed_slots(), std::vector<uint32_t>{slot});
    engine().give_back(slot);
    engine().slots().drop(box.id());
  }
  EXPECT_EQ(rows_lost(), 0U);
  uint64_t counted = 0;
  for (auto& [slot, histograms] : totals_.histograms) {
    for (auto& [name, histogram] : histograms) counted += histogram.count;
  }
  EXPECT_EQ(counted, 3U * (SONDE_CELLS + 1));
}

TEST_F(ContractTest, AnEmptyPoolIsCountedAsLoss) {
  const uint32_t a = selected(cgroup("a"), TRIAL_FLAG_KEYED), b = selected(cgroup("b"), TRIAL_FLAG_KEYED),
                 c = selected(cgroup("c"), TRIAL_FLAG_KEYED);
  for (const uint32_t slot : {a, b, c}) {
    for (uint64_t key = 0; key <= SONDE_CELLS; ++key) trial().run("trial_observe", {slot, key, 1000});
  }
  EXPECT_EQ(rows_lost(), 3U * (SONDE_CELLS + 1) - 63U);
}

TEST_F(ContractTest, ASubjectIsFoundByItsCgroup) {
  const Cgroup &box = cgroup("box"), &other = cgroup("other"), &stranger = cgroup("stranger");
  const uint32_t slot = selected(box, TRIAL_FLAG), unasked = selected(other, TRIAL_FLAG_KEYED);
  trial().run("trial_count", {box.id(), 5});
  trial().run("trial_count", {other.id(), 7});
  trial().run("trial_count", {stranger.id(), 11});
  collect();
  EXPECT_EQ(totals_.values[slot]["trial.events"], 5);
  EXPECT_EQ(totals_.values.count(unasked), 0U);
  EXPECT_EQ(totals_.values.count(SONDE_SLOT_UNATTRIBUTED), 0U);
  SlotSetting everybody;
  everybody.flags[0] = TRIAL_FLAG;
  engine().configure(SONDE_SLOT_UNATTRIBUTED, everybody);
  trial().run("trial_count", {stranger.id(), 11});
  collect();
  EXPECT_EQ(totals_.values[SONDE_SLOT_UNATTRIBUTED]["trial.events"], 11);
}

}  // namespace
}  // namespace sonde::test
