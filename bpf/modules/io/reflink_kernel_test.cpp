// SPDX-License-Identifier: Apache-2.0
// Blocks that a file system shares instead of copying them (reflinks): what counts as bytes and what does not.
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "tests/kernel/support/io_test.h"
#include "tests/kernel/support/loop_disk.h"

namespace sonde::test {
namespace {

constexpr std::size_t kLength = 256 << 10;

class IoReflinkTest : public IoTest {
 protected:
  void SetUp() override {
    IoTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    std::string name = "/tmp/sonde-reflink-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    std::string why;
    for (const char* type : {"xfs", "btrfs"}) {
      if (mount_a(type, why)) return;
    }
    GTEST_SKIP() << "no file system with reflinks can be made here:" << why;
  }
  void TearDown() override {
    if (!mounted_.empty()) umount2(mounted_.c_str(), MNT_DETACH);
    disk_.reset();
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
    IoTest::TearDown();
  }
  int file(const char* name) const { return open((mounted_ + "/" + name).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600); }
  // With its content on the disk.
  int full_file(const char* name) const {
    const int fd = file(name);
    const std::string data(kLength, 'x');
    if (write(fd, data.data(), data.size()) != static_cast<ssize_t>(kLength) || fsync(fd) != 0) return -1;
    return fd;
  }
  static bool shares_blocks(int fd) {
    fsync(fd);
    alignas(fiemap) char room[sizeof(fiemap) + sizeof(fiemap_extent)] = {};
    auto* map = reinterpret_cast<fiemap*>(room);
    map->fm_length = kLength;
    map->fm_extent_count = 1;
    if (ioctl(fd, FS_IOC_FIEMAP, map) != 0 || map->fm_mapped_extents < 1) return false;
    fiemap_extent extent{};
    std::memcpy(&extent, room + sizeof(fiemap), sizeof(extent));
    return extent.fe_flags & FIEMAP_EXTENT_SHARED;
  }

 private:
  bool mount_a(const std::string& type, std::string& why) {
    const std::string image = directory_ + "/" + type + ".img", point = directory_ + "/" + type;
    std::filesystem::create_directory(point);
    const Fd made(open(image.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    if (ftruncate(made.get(), 400 << 20) != 0 || !run_command("mkfs." + type + " -q " + image)) {
      why += " no mkfs." + type + ";";
      return false;
    }
    disk_ = std::make_unique<LoopDisk>(image);
    if (!disk_->ok()) {
      why += " no loop devices;";
      return false;
    }
    if (mount(disk_->path().c_str(), point.c_str(), type.c_str(), 0, nullptr) != 0) {
      why += " " + type + ": " + std::strerror(errno) + ";";
      return false;
    }
    mounted_ = point;
    return true;
  }

  std::unique_ptr<LoopDisk> disk_;
  std::string directory_, mounted_;
};

TEST_F(IoReflinkTest, AClonedFileCountsNothing) {
  auto& box = selected("box", kIoStandard);
  const Fd from(full_file("from")), to(file("to"));
  ASSERT_TRUE(from && to);
  box.run([&] { MUST(ioctl(to.get(), FICLONE, from.get()) == 0); });
  collect();
  EXPECT_TRUE(shares_blocks(to.get())) << "the test's own";
  EXPECT_EQ(on_files(box), 0U);
  EXPECT_EQ(lost(), 0U);
}

TEST_F(IoReflinkTest, CopyFileRangeCountsWhatItReturnsThoughNothingIsCopied) {
  auto& box = selected("box", kIoStandard);
  auto& other = selected("other", kIoStandard);
  const Fd from(full_file("from")), to(file("to"));
  ASSERT_TRUE(from && to);
  box.run([&] {
    loff_t start = 0, at = 0;  // the file's own position is at its end
    MUST(copy_file_range(from.get(), &start, to.get(), &at, kLength, 0) == static_cast<ssize_t>(kLength));
  });
  collect();
  EXPECT_TRUE(shares_blocks(to.get())) << "the test's own";
  EXPECT_EQ(bytes(box, "read"), static_cast<int64_t>(kLength));
  EXPECT_EQ(bytes(box, "write"), static_cast<int64_t>(kLength));
  EXPECT_EQ(on_files(other), 0U);
  EXPECT_EQ(lost(), 0U);
}

}  // namespace
}  // namespace sonde::test
