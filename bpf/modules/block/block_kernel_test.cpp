// SPDX-License-Identifier: Apache-2.0
// Known I/O on a file system's disk, exact counts: here, and in the virtual machines on virtio. What needs a device of its
// own is in devices_kernel_test.cpp, writeback in writeback_kernel_test.cpp.
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "tests/kernel/support/block_test.h"
#include "tests/kernel/support/span_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("BlockFileTest.*", Trait::Equipment);

class BlockFileTest : public BlockTest {
 protected:
  void SetUp() override {
    BlockTest::SetUp();
    if (!IsSkipped() && disk_of_files().empty()) GTEST_SKIP() << "no disk: TMPDIR is in memory";
  }
};

constexpr uint64_t kReads = 300;
constexpr uint64_t kWrites = 200;
constexpr std::size_t kFileSize = std::size_t{4} << 20;

TEST_F(BlockFileTest, DirectReadsAndWritesCountOnceAndThoseOfOthersNowhere) {
  const DiskFile file(kFileSize);
  const auto work = [&file] {
    read_direct(file.path(), kReads, kDiskBlock, 2 * kDiskBlock);
    write_direct(file.path(), kWrites, kDiskBlock, 3 * kDiskBlock);
  };
  for (const Cleanup cleanup : {Cleanup::Keep, Cleanup::Clear}) {
    cleanup_ = cleanup;
    const std::string tag = cleanup == Cleanup::Keep ? "keep" : "clear";
    Cgroup& box = cgroup("box-" + tag);
    Cgroup& other = cgroup("other-" + tag);
    select(box, {{"block", kBlockStandard}});
    select(other, {});
    for (uint64_t round = 1; round <= 2; ++round) {
      box.run(work);
      other.run(work);
      collect();
      expect_seen(operations(box, "read"), kReads * round);
      expect_seen(operations(box, "write"), kWrites * round);
      EXPECT_EQ(bytes(box, "read"), operations(box, "read") * kDiskBlock);
      EXPECT_EQ(bytes(box, "write"), operations(box, "write") * kDiskBlock);
      EXPECT_EQ(everything(other), 0U);
      EXPECT_EQ(losses("block"), 0U);
    }
  }
}

TEST_F(BlockFileTest, SpansTakeAsLongAsTheHistogramSays) {
  const DiskFile file(kFileSize);
  Spans spans(engine().module_object("block"));
  Cgroup& box = cgroup("box");
  Cgroup& unasked = cgroup("unasked");
  select(box, {{"block", kBlockStandard}});
  select(unasked, {{"block", kBlockStandard}});
  spans.ask(slot_of(box), {{SONDE_SPAN_BLOCK_IO, 1}});
  const auto work = [&file] { read_direct(file.path(), 50, kDiskBlock, 2 * kDiskBlock); };
  unasked.run(work);
  EXPECT_EQ(spans.take().size(), 0U);
  box.run(work);
  collect();
  const auto sent = spans.take();
  EXPECT_EQ(sent.size(), operations(box, "read"));
  uint64_t sum = 0;
  for (const sonde_span& span : sent) {
    EXPECT_EQ(span.operation, static_cast<uint32_t>(SONDE_SPAN_BLOCK_IO));
    EXPECT_EQ(span.slot, slot_of(box));
    EXPECT_EQ(span.bytes, kDiskBlock);
    EXPECT_EQ(span.direction, SONDE_SPAN_READS);
    EXPECT_EQ(span.error, 0);
    sum += duration_of(span);
  }
  EXPECT_EQ(sum, histogram(box, "sonde.block.operation.duration", {"read"}).sum);
}

// Two are measured; only the second one does anything.
TEST_F(BlockFileTest, TheOneWhoAskedIsCharged) {
  const DiskFile file(kFileSize);
  Cgroup& idle = cgroup("idle");
  Cgroup& culprit = cgroup("culprit");
  select(idle, {{"block", kBlockStandard}});
  select(culprit, {{"block", kBlockStandard}});
  const pid_t sleeper = idle.start([] { pause(); });
  culprit.run([&file] { read_direct(file.path(), kReads, kDiskBlock, 2 * kDiskBlock); });
  collect();
  expect_seen(operations(culprit, "read"), kReads);
  EXPECT_EQ(everything(idle), 0U);
  kill(sleeper, SIGKILL);
  EXPECT_EQ(waitpid(sleeper, nullptr, 0), sleeper);
}

TEST_F(BlockFileTest, BytesOfMergedRequestsCountOnce) {
  const DiskFile file(kFileSize);
  Cgroup& box = cgroup("merged");
  select(box, {{"block", kBlockStandard}});
  box.run([&file] {
    for (int i = 0; i < 4; ++i) {
      submit_direct(file.path(), false, 64, kDiskBlock, kDiskBlock);
      submit_direct(file.path(), true, 64, kDiskBlock, kDiskBlock);
    }
  });
  collect();
  expect_seen(bytes(box, "read"), 4 * 64 * kDiskBlock, 64 * kDiskBlock);
  expect_seen(bytes(box, "write"), 4 * 64 * kDiskBlock, 64 * kDiskBlock);
  EXPECT_GE(operations(box, "read"), 1U);
  EXPECT_LE(operations(box, "read"), 4 * 64U);
  EXPECT_EQ(losses("block"), 0U);
}

TEST_F(BlockFileTest, WhatIsNotAskedIsNotCounted) {
  const DiskFile file(kFileSize);
  Cgroup& box = cgroup("bytes");
  select(box, {{"block", BLOCK_FLAG_BYTES}});
  box.run([&file] { read_direct(file.path(), kReads, kDiskBlock, 2 * kDiskBlock); });
  collect();
  expect_seen(everything(box), kReads * kDiskBlock, kDiskBlock);
}

TEST_F(BlockFileTest, EachRequestHasBothPhases) {
  const DiskFile file(kFileSize);
  Cgroup& box = cgroup("phases");
  Cgroup& plain = cgroup("plain");
  select(box, {{"block", BLOCK_FLAG_DURATION | BLOCK_FLAG_PHASES}});
  select(plain, {{"block", BLOCK_FLAG_DURATION}});
  const auto work = [&file] {
    read_direct(file.path(), kReads, kDiskBlock, 2 * kDiskBlock);
    write_direct(file.path(), kWrites, kDiskBlock, 3 * kDiskBlock);
  };
  box.run(work);
  plain.run(work);
  collect();
  const std::string metric = "sonde.block.operation.duration", disk = disk_of_files();
  for (const char* phase : {"queue", "device"}) {
    expect_seen(histogram(box, metric, {"read", phase, disk}).count, kReads);
    expect_seen(histogram(box, metric, {"write", phase, disk}).count, kWrites);
    EXPECT_EQ(histogram(plain, metric, {"read", phase, disk}).count, 0U);
  }
  EXPECT_EQ(operations(box, "read"), 0U) << "by phase or in all, not both";
  expect_seen(operations(plain, "read"), kReads);
  EXPECT_EQ(losses("block"), 0U);
}

TEST_F(BlockFileTest, AnFsyncWritesForItsCaller) {
  Cgroup& box = cgroup("fsync");
  Cgroup& other = cgroup("other");
  select(box, {{"block", kBlockStandard}});
  select(other, {{"block", kBlockStandard}});
  constexpr uint64_t kFiles = 20;
  const std::string block(std::size_t{1} << 18, 'x');
  for (uint64_t i = 0; i < kFiles; ++i) {
    const NewFile file;
    box.run([&file, &block] {
      const int fd = open(file.path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
      MUST(fd >= 0 && write(fd, block.data(), block.size()) == static_cast<ssize_t>(block.size()) && fsync(fd) == 0);
    });
  }
  collect();
  EXPECT_GE(bytes(box, "write") + unseen() * block.size(), kFiles * block.size());
  EXPECT_LE(bytes(box, "write"), kFiles * (block.size() + (64 << 10)))
      << "more than what its file system writes about it";
  EXPECT_EQ(everything(other), 0U);
}

TEST_F(BlockFileTest, ReadAheadCountsForTheReader) {
  Cgroup& box = cgroup("ahead");
  select(box, {{"block", kBlockStandard}});
  const DiskFile file(kFileSize);
  box.run([&file] {
    const int fd = open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
    MUST(fd >= 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    std::string block(std::size_t{1} << 16, 0);
    while (read(fd, block.data(), block.size()) > 0) {
    }
  });
  collect();
  expect_seen(bytes(box, "read"), kFileSize, largest_request(disk_of_files()));
}

// A loop device over a file, removed with the object.
class LoopDisk {
 public:
  LoopDisk(const std::string& file, bool direct) {
    const Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    const int number = control ? ioctl(control.get(), LOOP_CTL_GET_FREE) : -1;
    if (number < 0) return;
    path_ = "/dev/loop" + std::to_string(number);
    device_ = Fd(open(path_.c_str(), O_RDWR | O_CLOEXEC));
    const Fd backing(open(file.c_str(), O_RDWR | O_CLOEXEC));
    loop_config config{};
    config.fd = static_cast<uint32_t>(backing.get());
    config.block_size = kDiskBlock;
    config.info.lo_flags = direct ? LO_FLAGS_DIRECT_IO : 0;
    if (!device_ || ioctl(device_.get(), LOOP_CONFIGURE, &config)) path_.clear();
  }
  ~LoopDisk() {
    if (!path_.empty()) ioctl(device_.get(), LOOP_CLR_FD);
  }
  LoopDisk(const LoopDisk&) = delete;
  LoopDisk& operator=(const LoopDisk&) = delete;
  const std::string& path() const { return path_; }

 private:
  Fd device_;
  std::string path_;
};

TEST_F(BlockFileTest, ALoopDeviceDoesNotCountBesideItsDisk) {
  const DiskFile file(kFileSize);
  const LoopDisk loop(file.path(), true);
  if (loop.path().empty()) GTEST_SKIP() << "no loop devices";
  Cgroup& box = cgroup("loop");
  select(box, {{"block", kBlockStandard}});
  box.run([&loop] { read_direct(loop.path(), kReads, kDiskBlock, 2 * kDiskBlock); });
  collect();
  // The disk is read by a thread of the kernel's, for the cgroup if bios name it.
  const bool named = bios_name_cgroups();
  expect_seen(operations(box, "read"), named ? kReads : 0);
  EXPECT_EQ(bytes(box, "read"), operations(box, "read") * kDiskBlock);
}

}  // namespace
}  // namespace sonde::test
