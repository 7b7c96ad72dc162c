// SPDX-License-Identifier: Apache-2.0
// The block probe on devices of which all is known: what they count themselves, how long they take, what fails.
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <cstring>

#include <sonde/histogram.h>

#include "tests/kernel/support/block_test.h"
#include "tests/kernel/support/span_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("BlockDeviceTest.*", Trait::Equipment);

constexpr uint64_t kSector = 512;
using Settings = std::map<std::string, std::string>;

class BlockDeviceTest : public BlockTest {
 protected:
  void SetUp() override {
    BlockTest::SetUp();
    if (!IsSkipped() && !NullDisk()) GTEST_SKIP() << "this kernel has no null_blk with configfs";
  }
};

void discard(const std::string& path, int count) {
  const Fd disk(open(path.c_str(), O_RDWR | O_CLOEXEC));
  for (int i = 0; i < count; ++i) {
    std::array<uint64_t, 2> range = {static_cast<uint64_t>(i) * 4 * kDiskBlock, kDiskBlock};
    MUST(ioctl(disk.get(), BLKDISCARD, range.data()) == 0);
  }
}

void flush(const std::string& path, int count) {
  const Fd disk(open(path.c_str(), O_RDWR | O_CLOEXEC));
  for (int i = 0; i < count; ++i) MUST(fsync(disk.get()) == 0);
}

TEST_F(BlockDeviceTest, EqualsWhatTheDeviceCountsItself) {
  const NullDisk disk(Settings{{"discard", "1"}, {"cache_size", "64"}, {"irqmode", "1"}});
  Cgroup& box = cgroup("box");
  select(box, {{"block", kBlockStandard}});
  const DiskStat before = disk.stat();
  box.run([&disk] {
    read_direct(disk.path(), 200, kDiskBlock, 2 * kDiskBlock);
    write_direct(disk.path(), 150, 3 * kDiskBlock, 4 * kDiskBlock);
    submit_direct(disk.path(), true, 128, kDiskBlock, kDiskBlock);
    submit_direct(disk.path(), false, 128, kDiskBlock, kDiskBlock);
    read_direct(disk.path(), 3, std::size_t{4} << 20, std::size_t{4} << 20);
    discard(disk.path(), 17);
    flush(disk.path(), 9);
  });
  collect();
  const DiskStat truth = disk.stat() - before;
  EXPECT_EQ(bytes(box, "read"), truth.read_sectors * kSector);
  EXPECT_EQ(bytes(box, "write"), truth.write_sectors * kSector);
  EXPECT_EQ(bytes(box, "read"), 328 * kDiskBlock + (12 << 20));
  EXPECT_EQ(bytes(box, "write"), (450 + 128) * kDiskBlock);
  EXPECT_EQ(operations(box, "read"), truth.reads);
  EXPECT_EQ(operations(box, "discard"), truth.discards);
  EXPECT_EQ(operations(box, "discard"), 17U);
  EXPECT_EQ(operations(box, "flush"), 9U);
  EXPECT_EQ(truth.flushes, 9U);
  // The kernel counts a flush that somebody asks for as a write of nothing, too.
  EXPECT_EQ(operations(box, "write") + operations(box, "flush"), truth.writes);
  EXPECT_GT(truth.merges, 0U) << "this shows nothing of merged requests";
  EXPECT_EQ(losses("block"), 0U);
}

TEST_F(BlockDeviceTest, AWriteWithFlushesIsOneWrite) {
  const NullDisk disk(Settings{{"cache_size", "64"}});
  ASSERT_TRUE(disk.set("queue/write_cache", "write back"));
  Cgroup& box = cgroup("fua");
  select(box, {{"block", kBlockStandard}});
  box.run([&disk] {
    char* buffer = aligned_buffer(kDiskBlock);
    const int file = open(disk.path().c_str(), O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
    for (off_t i = 0; i < 25; ++i) {
      MUST(pwrite(file, buffer, kDiskBlock, i * off_t{kDiskBlock}) == int64_t{kDiskBlock});
    }
  });
  collect();
  EXPECT_EQ(operations(box, "write"), 25U);
  EXPECT_EQ(operations(box, "flush"), 25U) << "asked for after each";
  EXPECT_EQ(bytes(box, "write"), 25 * kDiskBlock);
  EXPECT_EQ(losses("block"), 0U);
}

TEST_F(BlockDeviceTest, ARequestTakesAsLongAsItsDevice) {
  constexpr uint64_t kNs = 5'000'000;
  const NullDisk disk(Settings{{"irqmode", "2"}, {"completion_nsec", std::to_string(kNs)}});
  Cgroup& box = cgroup("slow");
  select(box, {{"block", kBlockStandard}});
  box.run([&disk] { read_direct(disk.path(), 20, kDiskBlock, kDiskBlock); });
  collect();
  const auto took = histogram(box, "sonde.block.operation.duration", {"read"});
  ASSERT_EQ(took.count, 20U);
  EXPECT_GE(took.sum, 20 * kNs);
  for (const auto& [bucket, count] : took.buckets) {
    EXPECT_GE(bucket, static_cast<int>(sonde_hist_index(kNs))) << count << " are too short";
  }
}

TEST_F(BlockDeviceTest, ASlowRequestIsASpanThatNamesItsDevice) {
  constexpr uint64_t kNs = 1'000'000'000;
  const NullDisk slow(Settings{{"irqmode", "2"}, {"completion_nsec", std::to_string(kNs)}});
  const NullDisk quick(Settings{{"irqmode", "1"}});
  Spans spans(engine().module_object("block"));
  Cgroup& box = cgroup("box");
  select(box, {{"block", kBlockStandard}});
  spans.ask(slot_of(box), {{SONDE_SPAN_BLOCK_IO, 800'000}});
  box.run([&] {
    read_direct(quick.path(), 20, kDiskBlock, kDiskBlock);
    write_direct(slow.path(), 1, 2 * kDiskBlock, kDiskBlock);
  });
  struct stat device {};
  ASSERT_EQ(stat(slow.path().c_str(), &device), 0);
  const auto sent = spans.take();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_GE(duration_of(sent[0]), kNs);
  EXPECT_EQ(sent[0].slot, slot_of(box));
  EXPECT_EQ(sent[0].direction, SONDE_SPAN_WRITES);
  EXPECT_EQ(sent[0].bytes, 2 * kDiskBlock);
  EXPECT_EQ(sent[0].device_major, major(device.st_rdev));
  EXPECT_EQ(sent[0].device_minor, minor(device.st_rdev));
  collect();
  EXPECT_EQ(histogram(box, "sonde.block.operation.duration", {"write"}).sum, duration_of(sent[0]));
}

// One request at a time, two asked for at once: the second one waits for the first.
TEST_F(BlockDeviceTest, WaitingForTheDeviceIsNotItsTime) {
  constexpr uint64_t kNs = 20'000'000;
  const NullDisk disk(Settings{{"irqmode", "2"}, {"completion_nsec", std::to_string(kNs)}, {"hw_queue_depth", "1"}});
  if (!disk.set("queue/scheduler", "mq-deadline"))
    GTEST_SKIP() << "this kernel has no scheduler that makes requests wait";
  const NullDisk quick(Settings{{"irqmode", "1"}});
  Cgroup& box = cgroup("phases");
  Cgroup& other = cgroup("other");
  select(box, {{"block", BLOCK_FLAG_PHASES}});
  select(other, {{"block", BLOCK_FLAG_BYTES}});
  const auto work = [&] {
    submit_direct(disk.path(), false, 2, kDiskBlock, 4 * kDiskBlock);
    write_direct(quick.path(), 5, kDiskBlock, kDiskBlock);
  };
  box.run(work);
  other.run(work);
  collect();
  const auto phase = [&](const Cgroup& whose, const char* operation, const char* name, const NullDisk& of) {
    return histogram(whose, "sonde.block.operation.duration", {operation, name, of.name()});
  };
  EXPECT_EQ(phase(box, "read", "device", disk).count, 2U);
  EXPECT_GE(phase(box, "read", "device", disk).sum, 2 * kNs);
  EXPECT_EQ(phase(box, "read", "queue", disk).count, 2U);
  EXPECT_GE(phase(box, "read", "queue", disk).sum, kNs * 9 / 10);
  EXPECT_EQ(phase(box, "write", "device", quick).count, 5U);
  EXPECT_EQ(phase(box, "write", "queue", quick).count, 5U);
  EXPECT_EQ(phase(other, "read", "device", disk).count, 0U);
  EXPECT_EQ(operations(box, "read"), 0U) << "by phase or in all, not both";
  EXPECT_EQ(losses("block"), 0U);
}

TEST_F(BlockDeviceTest, FailuresAreNamedAndTheirBytesDoNotCount) {
  const NullDisk disk;
  ASSERT_TRUE(disk.configure("badblocks", "+8-15")) << "sectors 8 to 15, the second page";
  Cgroup& box = cgroup("bad");
  Cgroup& other = cgroup("other");
  select(box, {{"block", kBlockStandard}});
  select(other, {{"block", kBlockStandard}});
  Spans spans(engine().module_object("block"));
  spans.ask(slot_of(box), {{SONDE_SPAN_BLOCK_IO, 60'000'000}}, {SONDE_SPAN_BLOCK_IO});
  const auto fail = [&disk](int reads, int writes) {
    char* buffer = aligned_buffer(kDiskBlock);
    const int file = open(disk.path().c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
    MUST(pread(file, buffer, kDiskBlock, 0) == int64_t{kDiskBlock});
    for (int i = 0; i < reads; ++i) MUST(pread(file, buffer, kDiskBlock, kDiskBlock) < 0 && errno == EIO);
    for (int i = 0; i < writes; ++i) MUST(pwrite(file, buffer, kDiskBlock, kDiskBlock) < 0 && errno == EIO);
  };
  box.run([&fail] { fail(7, 3); });
  other.run([&fail] { fail(0, 0); });
  collect();
  EXPECT_EQ(errors(box, "read", "EIO"), 7);
  EXPECT_EQ(errors(box, "write", "EIO"), 3);
  EXPECT_EQ(operations(box, "read"), 8U);
  EXPECT_EQ(operations(box, "write"), 3U);
  EXPECT_EQ(bytes(box, "read"), kDiskBlock);
  EXPECT_EQ(bytes(box, "write"), 0U);
  const auto sent = spans.take();
  EXPECT_EQ(sent.size(), 10U);
  for (const sonde_span& span : sent) EXPECT_EQ(span.error, EIO);
  EXPECT_EQ(errors(other, "read", "EIO"), 0);
  EXPECT_EQ(operations(other, "read"), 1U);
}

// The kernel does not keep when requests begin if it is told not to; the first one tells the probe to do so.
TEST_F(BlockDeviceTest, WithoutTheKernelsOwnStatisticsOneRequestIsLost) {
  const NullDisk disk(Settings{{"irqmode", "2"}, {"completion_nsec", "3000000"}});
  ASSERT_TRUE(disk.set("queue/scheduler", "none"));
  ASSERT_TRUE(disk.set("queue/iostats", "0"));
  Cgroup& box = cgroup("iostats");
  select(box, {{"block", kBlockStandard}});
  box.run([&disk] { read_direct(disk.path(), 10, kDiskBlock, kDiskBlock); });
  collect();
  const auto took = histogram(box, "sonde.block.operation.duration", {"read"});
  EXPECT_EQ(took.count + losses("block", SONDE_LOSS_UNMEASURED), 10U);
  EXPECT_LE(losses("block", SONDE_LOSS_UNMEASURED), 1U);
  EXPECT_GE(took.sum, took.count * 3'000'000);
  EXPECT_EQ(bytes(box, "read"), 10 * kDiskBlock);
}

// A linear device over another, by device mapper's own calls.
class LinearDisk {
 public:
  explicit LinearDisk(const std::string& below) : control_(open("/dev/mapper/control", O_RDWR | O_CLOEXEC)) {
    if (!control_) return;
    const Fd disk(open(below.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    uint64_t size = 0;
    if (fstat(disk.get(), &status) || ioctl(disk.get(), BLKGETSIZE64, &size)) return;
    Request create;
    if (ioctl(control_.get(), DM_DEV_CREATE, &create)) return;
    Request load;
    load.header.target_count = 1;
    load.target.length = size / 512;
    std::strcpy(load.target.target_type, "linear");
    snprintf(load.text, sizeof(load.text), "%u:%u 0", major(status.st_rdev), minor(status.st_rdev));
    Request resume;
    if (ioctl(control_.get(), DM_TABLE_LOAD, &load) || ioctl(control_.get(), DM_DEV_SUSPEND, &resume)) return;
    path_ = "/dev/dm-" + std::to_string(minor(create.header.dev));
  }
  ~LinearDisk() {
    Request remove;
    if (control_) ioctl(control_.get(), DM_DEV_REMOVE, &remove);
  }
  LinearDisk(const LinearDisk&) = delete;
  LinearDisk& operator=(const LinearDisk&) = delete;
  const std::string& path() const { return path_; }

 private:
  struct Request {
    dm_ioctl header{};
    dm_target_spec target{};
    char text[64] = {};
    Request() {
      header.version[0] = DM_VERSION_MAJOR;
      header.data_size = sizeof(*this);
      header.data_start = offsetof(Request, target);
      std::strcpy(header.name, "sonde-test");
    }
  };
  Fd control_;
  std::string path_;
};

TEST_F(BlockDeviceTest, DeviceMapperDoesNotCountBesideItsDisk) {
  const NullDisk disk;
  const LinearDisk linear(disk.path());
  if (linear.path().empty()) GTEST_SKIP() << "no device mapper";
  Cgroup& box = cgroup("dm");
  select(box, {{"block", kBlockStandard}});
  const DiskStat before = disk.stat();
  box.run([&linear] { read_direct(linear.path(), 100, kDiskBlock, kDiskBlock); });
  collect();
  EXPECT_EQ((disk.stat() - before).reads, 100U);
  EXPECT_EQ(operations(box, "read"), 100U);
  EXPECT_EQ(bytes(box, "read"), 100 * kDiskBlock);
}

}  // namespace
}  // namespace sonde::test
