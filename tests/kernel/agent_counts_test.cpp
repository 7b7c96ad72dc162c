// SPDX-License-Identifier: Apache-2.0
// The whole agent: what a workload did is what leaves, to the byte, whatever the cleanup strategy, however short the
// container lived, and whoever shares its name afterwards.
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("AgentCountsTest.AContainer*", Trait::PodView);

std::string container_id(char digit) { return std::string(64, digit); }

class AgentCountsTest : public AgentTest {
 protected:
  AgentCountsTest() { only_ = "io"; }
};

class AgentCleanupTest : public AgentCountsTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(AgentCleanupTest, KnownReadsAreExact) {
  const Cgroup& box = cgroup("box");
  const Cgroup& other = cgroup("other");
  policy("mine", io_of(box.path(), std::string("collection: {cleanup: {strategy: ") + GetParam() + "}}"));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  for (int64_t round = 1; round <= 5; ++round) {
    box.run([] { read_bytes(100 * kBlock); });
    other.run([] { read_bytes(7 * kBlock); });
    EXPECT_TRUE(await([&] { return bytes_read(box) == round * 100 * kBlock; })) << round << ": " << bytes_read(box);
  }
  EXPECT_EQ(shown(box.path(), "sonde.file.operation.duration", {"sonde.file.operation=read"}).value, 500);
  EXPECT_EQ(shown(box.path(), "sonde.file.io", {"disk.io.direction=write"}).value, 0);
  EXPECT_EQ(shown(other.path(), "sonde.file.io").series, 0U) << "no policy asks for it";
  stop();
  EXPECT_EQ(fallen(), std::vector<std::string>());
  int64_t last = 0;
  for (const Written& point : written()) {
    EXPECT_NE(point.subject, other.path());
    if (point.subject == box.path() && point.attributes == "disk.io.direction=read") last = point.value;
  }
  EXPECT_EQ(last, 500 * kBlock);
}

INSTANTIATE_TEST_SUITE_P(Strategies, AgentCleanupTest, ::testing::Values("KeepRecent", "ClearAfterRead", "NoCleanup"),
                         [](const auto& strategy) { return std::string(strategy.param); });

TEST_F(AgentCountsTest, TheLastFlushHasWhatNoCollectionHadYet) {
  const Cgroup& box = cgroup("box");
  policy("mine", io_of(box.path()));
  ASSERT_NO_FATAL_FAILURE(start({{"interval", "1h"}}));
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  box.run([] { read_bytes(10 * kBlock); });
  stop();
  int64_t value = 0;
  for (const Written& point : written())
    if (point.subject == box.path() && point.attributes == "disk.io.direction=read") value = point.value;
  EXPECT_EQ(value, 10 * kBlock);
}

TEST_F(AgentCountsTest, AContainerThatLivesFiftyMillisecondsArrives) {
  const Cgroup& pod = cgroup("pod");
  policy("mine", io_of(pod.path() + "/**"));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return agent().status_json().size() > 2; }));
  {
    const Cgroup container(pod.path() + "/cri-containerd-" + container_id('b') + ".scope");
    container.run([] {
      read_bytes(30 * kBlock);
      usleep(50'000);
    });
  }
  const auto last_of_it = [&] {
    Written last;
    for (const Written& point : written())
      if (point.subject == container_id('b') && point.attributes == "disk.io.direction=read") last = point;
    return last;
  };
  EXPECT_TRUE(await([&] { return last_of_it().ended; })) << last_of_it().value;
  // Its series end; nothing of it is shown for ever.
  EXPECT_TRUE(await([&] { return shown(container_id('b'), "sonde.file.io").series == 0; }));
  stop();
  int64_t value = 0;
  for (const Written& point : written())
    if (point.subject == container_id('b') && point.attributes == "disk.io.direction=read" && !point.ended)
      value = point.value;
  EXPECT_EQ(value, 30 * kBlock);
}

TEST_F(AgentCountsTest, WhatCameWhileTheLoopStoodIsCountedAndNamed) {
  const Cgroup& pod = cgroup("pod");
  policy("mine", io_of(pod.path() + "/**"));
  ASSERT_NO_FATAL_FAILURE(load());
  const Cgroup lives(pod.path() + "/cri-containerd-" + container_id('c') + ".scope");
  lives.run([] { read_bytes(11 * kBlock); });
  {
    const Cgroup gone(pod.path() + "/cri-containerd-" + container_id('d') + ".scope");
    gone.run([] { read_bytes(12 * kBlock); });
  }
  const Cgroup unasked("/" + std::filesystem::path(pod.path()).filename().string() + "-unasked");
  unasked.run([] { read_bytes(13 * kBlock); });
  turn();
  EXPECT_TRUE(await([&] { return bytes_read(container_id('c')) == 11 * kBlock; })) << bytes_read(container_id('c'));
  stop();
  int64_t of_gone = 0;
  for (const Written& point : written()) {
    EXPECT_NE(point.subject, unasked.path());
    if (point.subject == container_id('d') && point.attributes == "disk.io.direction=read" && !point.ended)
      of_gone = point.value;
  }
  EXPECT_EQ(of_gone, 12 * kBlock);
}

TEST_F(AgentCountsTest, APathUsedAgainIsANewStreamAndTheOldOneEnds) {
  const Cgroup& parent = cgroup("parent");
  const std::string path = parent.path() + "/again";
  policy("mine", io_of(parent.path() + "/**"));
  ASSERT_NO_FATAL_FAILURE(start());
  {
    const Cgroup first(path);
    first.run([] { read_bytes(20 * kBlock); });
    ASSERT_TRUE(await([&] { return bytes_read(path) == 20 * kBlock; })) << bytes_read(path);
  }
  ASSERT_TRUE(await([&] { return shown(path, "sonde.file.io").series == 0; }));
  const Cgroup second(path);
  second.run([] { read_bytes(3 * kBlock); });
  EXPECT_TRUE(await([&] { return bytes_read(path) == 3 * kBlock; })) << bytes_read(path);
  stop();
  std::vector<Written> reads;
  for (const Written& point : written())
    if (point.subject == path && point.attributes == "disk.io.direction=read") reads.push_back(point);
  const auto end = std::ranges::find_if(reads, &Written::ended);
  ASSERT_NE(end, reads.end());
  ASSERT_NE(end, reads.begin());
  ASSERT_NE(end + 1, reads.end());
  EXPECT_EQ((end - 1)->value, 20 * kBlock);
  EXPECT_EQ(reads.back().value, 3 * kBlock);
  EXPECT_GT(reads.back().start_ns, (end - 1)->time_ns);
  EXPECT_EQ(fallen(), std::vector<std::string>());
}

TEST_F(AgentCountsTest, ManyShortCgroupsKeepTheirCountsAndNames) {
  const Cgroup& parent = cgroup("parent");
  policy("mine", io_of(parent.path() + "/**"));
  ASSERT_NO_FATAL_FAILURE(start({{"max-subjects", "4096"}}));
  constexpr int kMany = 120;
  for (int i = 0; i < kMany; ++i) {
    const Cgroup one(parent.path() + "/" + std::to_string(i));
    one.run([i] { read_bytes(static_cast<uint64_t>((i + 1) * kBlock)); });
  }
  ASSERT_TRUE(await([&] {
    return shown(parent.path() + "/" + std::to_string(kMany - 1), "sonde.file.io").series == 0 &&
           status()["subjects"]["slots_used"] == status()["subjects"]["selected"];
  })) << status()["subjects"];
  stop();
  std::map<std::string, int64_t> last;
  for (const Written& point : written())
    if (point.attributes == "disk.io.direction=read" && !point.ended) last[point.subject] = point.value;
  for (int i = 0; i < kMany; ++i) EXPECT_EQ(last[parent.path() + "/" + std::to_string(i)], (i + 1) * kBlock) << i;
}

TEST_F(AgentCountsTest, ARestartBeginsAtZeroWithATrueStartTime) {
  const Cgroup& box = cgroup("box");
  policy("mine", io_of(box.path()));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  box.run([] { read_bytes(50 * kBlock); });
  ASSERT_TRUE(await([&] { return bytes_read(box) == 50 * kBlock; }));
  stop();
  box.run([] { read_bytes(1000 * kBlock); });  // seen by nobody
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  box.run([] { read_bytes(5 * kBlock); });
  EXPECT_TRUE(await([&] { return bytes_read(box) == 5 * kBlock; })) << bytes_read(box);
  stop();
  std::vector<Written> reads;
  for (const Written& point : written())
    if (point.subject == box.path() && point.attributes == "disk.io.direction=read") reads.push_back(point);
  ASSERT_GT(reads.size(), 2U);
  EXPECT_GT(reads.back().start_ns, reads.front().start_ns);
  for (const Written& point : reads) {
    EXPECT_LE(point.value, 50 * kBlock) << "a spike";
    EXPECT_LT(point.start_ns, point.time_ns);
  }
  EXPECT_EQ(reads.back().value, 5 * kBlock);
  EXPECT_EQ(fallen(), std::vector<std::string>());
}

}  // namespace
}  // namespace sonde::test
