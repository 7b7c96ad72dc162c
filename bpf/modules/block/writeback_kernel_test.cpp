// SPDX-License-Identifier: Apache-2.0
// Who is charged for requests that somebody else makes: the flusher's threads, a thread pool, a parent's controller.
#include <sys/wait.h>

#include <fstream>

#include "tests/kernel/support/block_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("BlockWritebackTest.*", Trait::Equipment);

constexpr uint64_t kBytes = uint64_t{8} << 20;

class BlockWritebackTest : public BlockTest {
 protected:
  void SetUp() override {
    BlockTest::SetUp();
    if (!IsSkipped() && disk_of_files().empty()) GTEST_SKIP() << "no disk: TMPDIR is in memory";
  }
};

// Makes a file, leaves `kBytes` of dirty pages and ends.
void dirty(const std::string& path) {
  const std::string block(std::size_t{1} << 20, 'd');
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  MUST(file >= 0);
  for (uint64_t done = 0; done < kBytes; done += block.size()) {
    MUST(write(file, block.data(), block.size()) == static_cast<ssize_t>(block.size()));
  }
}

void flush_file_system_of(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(syncfs(file.get()), 0);
}

TEST_F(BlockWritebackTest, WhatAKernelThreadWritesLaterIsChargedToWhoDirtiedIt) {
  if (!bios_name_cgroups()) GTEST_SKIP() << "the io controller is on cgroup v1: the gap that status names";
  const NewFile file, others;
  Cgroup& box = cgroup("dirtied");
  Cgroup& idle = cgroup("idle");
  Cgroup& unselected = cgroup("unselected");
  select(box, {{"block", kBlockStandard}});
  select(idle, {{"block", kBlockStandard}});
  select(unselected, {});
  const pid_t sleeper = idle.start([] { pause(); });
  box.run([&file] { dirty(file.path()); });
  unselected.run([&others] { dirty(others.path()); });
  collect();
  EXPECT_EQ(bytes(box, "write"), 0U) << "it is on the disk already: this shows nothing";
  flush_file_system_of(file.path());  // by us, who are in none of them; the writing is the flusher thread's
  collect();
  EXPECT_EQ(bytes(box, "write"), kBytes);
  EXPECT_GE(operations(box, "write"), 1U);
  EXPECT_LE(operations(box, "write"), kBytes / kDiskBlock);
  EXPECT_EQ(everything(idle), 0U);
  EXPECT_EQ(everything(unselected), 0U);
  kill(sleeper, SIGKILL);
  EXPECT_EQ(waitpid(sleeper, nullptr, 0), sleeper);
}

// As long as the controller is on v1, nobody's container is charged for it, and the report says so.
TEST_F(BlockWritebackTest, WithTheControllerOnV1TheGapIsNamed) {
  if (bios_name_cgroups()) GTEST_SKIP() << "the io controller is on cgroup v2";
  const NewFile file;
  Cgroup& box = cgroup("dirtied");
  select(box, {{"block", kBlockStandard}});
  box.run([&file] { dirty(file.path()); });
  flush_file_system_of(file.path());
  collect();
  EXPECT_EQ(bytes(box, "write"), 0U);
  const ModuleReport report = engine().modules()[module_id("block")];
  EXPECT_EQ(report.health, ModuleHealth::Ok);
  ASSERT_FALSE(report.reasons.empty());
  EXPECT_NE(report.reasons.front().find("writeback"), std::string::npos) << report.reasons.front();
}

// The controller stops at the parent, so bios name the parent: who makes the request is asked instead.
TEST_F(BlockWritebackTest, BelowTheLastControllerTheOneWhoAsksIsCharged) {
  const DiskFile file(std::size_t{4} << 20);
  Cgroup& parent = cgroup("parent");
  Cgroup& inner = cgroup("parent/inner");
  Cgroup& sibling = cgroup("parent/sibling");
  select(parent, {{"block", kBlockStandard}});
  select(inner, {{"block", kBlockStandard}});
  select(sibling, {});
  const auto work = [&file] { read_direct(file.path(), 100, kDiskBlock, 2 * kDiskBlock); };
  inner.run(work);
  sibling.run(work);
  parent.run(work);
  collect();
  expect_seen(operations(inner, "read"), 100);
  EXPECT_EQ(bytes(inner, "read"), operations(inner, "read") * kDiskBlock);
  expect_seen(operations(parent, "read"), 100);
  EXPECT_EQ(everything(sibling), 0U);
  inner.remove();
  sibling.remove();
}

}  // namespace
}  // namespace sonde::test
