// SPDX-License-Identifier: Apache-2.0
// What the contract offers to probes, with a module made for it: keyed histograms, subjects by cgroup.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/traits.h"
#include "tests/kernel/trial/trial.h"
#include "tests/kernel/trial/trial_module.h"

namespace sonde::test {
namespace {

// Looks for descriptors by their paths, which differ in the pod.
SONDE_TRAITS("ReadTest.FilesStayOpenWhileTheirSubjectIsAsked", Trait::HostOnly);

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
    sync_programs();
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
    release(slot);
    usleep(static_cast<useconds_t>(kGraceNs / 1000) + 1000);
    collect_released();
    ASSERT_EQ(drained(), std::vector<uint32_t>{slot});
    give_back(slot);
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
  constexpr uint64_t kEvents = 3 * (SONDE_CELLS + 1), kRows = 63;
  for (uint64_t round = 1; round <= 3; ++round) {
    for (const uint32_t slot : {a, b, c}) {
      for (uint64_t key = 0; key <= SONDE_CELLS; ++key) trial().run("trial_observe", {slot, key, 1000});
    }
    collect();
    // Who has a row goes on, to the event; the others are lost, to the event, each time.
    EXPECT_EQ(rows_lost(), round * (kEvents - kRows));
    uint64_t sum = 0;
    for (const uint32_t slot : {a, b, c}) {
      for (const auto& [name, histogram] : totals_.histograms[slot]) {
        EXPECT_EQ(histogram.count, round) << name;
        sum += histogram.count;
      }
    }
    EXPECT_EQ(sum, round * kRows);
  }
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

TEST_F(ContractTest, TheNodeIsCountedApart) {
  const uint32_t slot = selected(cgroup("box"), TRIAL_FLAG | TRIAL_FLAG_NODE);
  trial().run("trial_node", {3});  // asked of a container, but not of the node
  collect();
  EXPECT_EQ(totals_.values.count(SONDE_SLOT_NODE), 0U);
  SlotSetting node;
  node.flags[0] = TRIAL_FLAG_NODE;
  engine().configure(SONDE_SLOT_NODE, node);
  trial().run("trial_node", {5});
  collect();
  EXPECT_EQ(totals_.values[SONDE_SLOT_NODE]["trial.node"], 5);
  EXPECT_EQ(totals_.values.count(slot), 0U);
}

class ReadTest : public ContractTest {
 protected:
  void SetUp() override {
    trial().total = 0;
    trial().fail_reads = false;
    ContractTest::SetUp();
  }
  int64_t made_up(uint32_t slot) { return totals_.values[slot]["trial.total"]; }
};

TEST_F(ReadTest, FilesOfACgroupCountFromItsSelectionOn) {
  Cgroup &box = cgroup("box"), &other = cgroup("other");
  const auto spin = [] {
    for (uint64_t i = 0; i < 50'000'000; ++i) asm volatile("" ::"r"(i));
  };
  box.run(spin);  // before it is selected
  const uint32_t slot = selected(box, TRIAL_FLAG_READ);
  collect(true);
  EXPECT_EQ(totals_.values[slot]["trial.cpu.time"], 0);
  EXPECT_EQ(totals_.values[slot]["trial.processes"], 0);
  other.run(spin);
  const pid_t child = box.start([&] {
    spin();
    pause();
  });
  for (int i = 0; i < 2000 && totals_.values[slot]["trial.cpu.time"] < 10'000; ++i) {
    usleep(10'000);
    collect(true);
  }
  EXPECT_GE(totals_.values[slot]["trial.cpu.time"], 10'000);
  EXPECT_EQ(totals_.values[slot]["trial.processes"], 1);
  EXPECT_EQ(totals_.values.count(slot_of(other)), 0U);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST_F(ReadTest, AValueThatFellBeginsAnew) {
  trial().total = 1000;
  const uint32_t slot = selected(cgroup("box"), TRIAL_FLAG_READ);
  for (const uint64_t value : {1010U, 1010U, 4U, 9U}) {
    trial().total = value;
    collect();
  }
  EXPECT_EQ(made_up(slot), 10 + 5);
}

TEST_F(ReadTest, ACgroupBornUnderWatchCountsFromZero) {
  const Cgroup& parent = cgroup("parent");
  ASSERT_TRUE(engine().slots().enter(parent.id(), 0, parent.path(), SONDE_KIND_TREE));
  engine().set_provisional(ModuleFlags{TRIAL_FLAG_READ});
  trial().total = 42;
  const Cgroup child(parent.path() + "/child");
  engine().slots().tell_path(slot_of(child), child.path());  // the kernel side knows its name only
  collect();
  EXPECT_EQ(made_up(slot_of(child)), 42);
}

TEST_F(ReadTest, AnUnselectedCgroupIsReadALastTimeAndNotAgain) {
  trial().total = 100;
  const uint32_t slot = selected(cgroup("box"), TRIAL_FLAG_READ);
  trial().total = 107;
  release(slot);
  trial().total = 1'000'000;
  const int reads = trial().reads;
  collect();
  EXPECT_EQ(made_up(slot), 7);
  EXPECT_EQ(trial().reads, reads);
}

TEST_F(ReadTest, AFailureIsToldAndLosesNothing) {
  const uint32_t slot = selected(cgroup("box"), TRIAL_FLAG_READ);
  trial().total = 5;
  trial().fail_reads = true;
  const CollectStats failed = engine().collect(totals_, 0, true);
  ASSERT_EQ(failed.failures.size(), 1U);
  EXPECT_EQ(failed.failures[0].module, 0);
  EXPECT_EQ(failed.failures[0].why, "the test wants it to fail");
  trial().fail_reads = false;
  EXPECT_TRUE(engine().collect(totals_, 0, true).failures.empty());
  EXPECT_EQ(made_up(slot), 5);
}

// How many files below this directory the process has open.
int open_files_below(const std::string& directory) {
  int n = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    n += std::filesystem::read_symlink(entry.path(), gone).string().starts_with(directory + "/");
  }
  return n;
}

TEST_F(ReadTest, FilesStayOpenWhileTheirSubjectIsAsked) {
  Cgroup& box = cgroup("box");
  const uint32_t slot = selected(box, TRIAL_FLAG_READ);
  collect(true);
  EXPECT_EQ(open_files_below(box.directory()), 2);
  const pid_t child = box.start([] { pause(); });
  collect(true);
  EXPECT_EQ(open_files_below(box.directory()), 2) << "no more of them";
  EXPECT_EQ(totals_.values[slot]["trial.processes"], 1) << "read anew each time";
  engine().configure(slot, {});
  EXPECT_EQ(open_files_below(box.directory()), 0) << "not asked any more";
  SlotSetting again;
  again.flags[0] = TRIAL_FLAG_READ;
  engine().configure(slot, again);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const std::string directory = box.directory();
  EXPECT_EQ(open_files_below(directory), 2);
  box.remove();
  EXPECT_FALSE(std::filesystem::exists(directory)) << "what is open does not keep it";
  EXPECT_TRUE(engine().collect(totals_, 0, true).failures.empty()) << "that it is gone is nobody's failure";
  EXPECT_EQ(open_files_below(directory), 0);
}

}  // namespace
}  // namespace sonde::test
