// SPDX-License-Identifier: Apache-2.0
// sonde.block.queue.depth: what disks work at now. Where there is null_blk a known number of requests is held by a slow disk.
#include <signal.h>
#include <sys/wait.h>

#include <filesystem>
#include <set>

#include "tests/kernel/support/block_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("BlockQueueTest.*", Trait::Equipment);

class BlockQueueTest : public BlockTest {
 protected:
  void ask(uint8_t flags = BLOCK_FLAG_DEPTH) {
    SlotSetting node;
    node.flags[module_id("block")] = flags;
    engine().configure(SONDE_SLOT_NODE, node);
  }
  // By disk; empty before anybody asks.
  std::map<std::string, int64_t> depths() {
    static const std::string kName = "sonde.block.queue.depth|";
    totals_.values[SONDE_SLOT_NODE].clear();
    collect(true);
    std::map<std::string, int64_t> by_disk;
    for (const auto& [name, value] : totals_.values[SONDE_SLOT_NODE]) {
      if (name.starts_with(kName)) by_disk[name.substr(kName.size())] = value;
    }
    return by_disk;
  }
};

TEST_F(BlockQueueTest, DisksThatWorkThemselvesHaveOneAndNoOthers) {
  EXPECT_TRUE(depths().empty()) << "nobody asks";
  Cgroup& box = cgroup("box");
  select(box, {{"block", BLOCK_FLAG_DEPTH | BLOCK_FLAG_BYTES}});
  EXPECT_TRUE(depths().empty()) << "it is not a container's";
  EXPECT_EQ(everything(box), 0U);
  ask();
  std::set<std::string> truth, found;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/block")) {
    const std::string name = entry.path().filename();
    const bool stacked = std::filesystem::exists(entry.path() / "loop") ||
                         std::filesystem::exists(entry.path() / "dm") || std::filesystem::exists(entry.path() / "md") ||
                         name.starts_with("loop");
    if (!stacked && std::filesystem::exists(entry.path() / "mq")) truth.insert(name);
  }
  for (const auto& [name, depth] : depths()) {
    found.insert(name);
    EXPECT_GE(depth, 0) << name;
  }
  EXPECT_EQ(found, truth);
  ask(0);
  EXPECT_TRUE(depths().empty()) << "nobody asks any more";
}

TEST_F(BlockQueueTest, ABusyDiskIsSeenToBeBusy) {
  const std::string disk = disk_of_files();
  if (disk.empty()) GTEST_SKIP() << "no disk: TMPDIR is in memory";
  const DiskFile file(std::size_t{8} << 20);
  ask();
  Cgroup& box = cgroup("reader");
  const pid_t reader = box.start([&file] {
    for (;;) submit_direct(file.path(), false, 64, std::size_t{1} << 16, std::size_t{1} << 17);
  });
  EXPECT_TRUE(eventually([&] { return depths()[disk] > 0; })) << disk;
  kill(reader, SIGKILL);
  EXPECT_EQ(waitpid(reader, nullptr, 0), reader);
}

TEST_F(BlockQueueTest, RequestsThatADiskHoldsAreItsDepth) {
  const NullDisk slow({{"irqmode", "2"}, {"completion_nsec", "4000000000"}}), idle;
  if (!slow) GTEST_SKIP() << "this kernel has no null_blk with configfs";
  ask();
  EXPECT_EQ(depths()[slow.name()], 0);
  Cgroup& box = cgroup("holder");
  const auto hold = [&](bool write, int count) {
    return box.start([&slow, write, count] { submit_direct(slow.path(), write, count, kDiskBlock, 4 * kDiskBlock); });
  };
  const pid_t reader = hold(false, 5), writer = hold(true, 3);
  int64_t most = 0;
  EXPECT_TRUE(eventually([&] {
    const auto now = depths();
    EXPECT_EQ(now.at(idle.name()), 0) << "the other one has nothing to do";
    most = std::max(most, now.at(slow.name()));
    return most == 8;
  })) << most;
  for (const pid_t pid : {reader, writer}) {
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(depths()[slow.name()], 0);
  EXPECT_EQ(most, 8) << "never more than there are";
}

// A disk that is pulled out has nothing in its queue, and its name may come again.
TEST_F(BlockQueueTest, ADiskThatIsGoneHoldsNothing) {
  ask();
  std::string name;
  {
    const NullDisk disk;
    if (!disk) GTEST_SKIP() << "this kernel has no null_blk with configfs";
    name = disk.name();
    EXPECT_TRUE(depths().contains(name)) << "found though it came after the agent";
  }
  EXPECT_EQ(depths()[name], 0);
  EXPECT_FALSE(std::filesystem::exists("/sys/block/" + name)) << "its file is not held";
}

}  // namespace
}  // namespace sonde::test
