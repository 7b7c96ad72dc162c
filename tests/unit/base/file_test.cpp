// SPDX-License-Identifier: Apache-2.0
#include "agent/base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "agent/base/clock.h"

namespace sonde {
namespace {

class File : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "sonde_file_XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string dir_;
};

TEST_F(File, WrittenIsRead) {
  std::string path = dir_ + "/a";
  std::string content(100'000, 'x');
  ASSERT_TRUE(write_file_atomically(path, content, 0600));
  EXPECT_EQ(*read_small_file(path), content);
  ASSERT_TRUE(write_file_atomically(path, "short"));
  EXPECT_EQ(*read_small_file(path), "short");
  // Nothing is left beside it.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_), {}), 1);
}

TEST_F(File, ModeIsAsAsked) {
  ASSERT_TRUE(write_file_atomically(dir_ + "/a", "secret", 0600));
  struct stat info {};
  ASSERT_EQ(::stat((dir_ + "/a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(File, LimitIsKept) {
  std::string path = dir_ + "/a";
  ASSERT_TRUE(write_file_atomically(path, "12345"));
  EXPECT_TRUE(read_small_file(path, 5));
  EXPECT_EQ(read_small_file(path, 4).error().message(), path + " is larger than 4 bytes");
  EXPECT_FALSE(read_small_file("/dev/zero", 1000));
}

TEST_F(File, MissingIsAnError) {
  EXPECT_EQ(read_small_file(dir_ + "/none").error().message(),
            "cannot open " + dir_ + "/none: No such file or directory");
  EXPECT_FALSE(read_small_file(dir_));
  EXPECT_FALSE(write_file_atomically(dir_ + "/none/a", "x"));
}

TEST_F(File, FifoDoesNotBlock) {
  ASSERT_EQ(::mkfifo((dir_ + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(*read_small_file(dir_ + "/fifo"), "");
}

TEST_F(File, ProcFilesHaveNoSizeButContent) { EXPECT_FALSE(read_small_file("/proc/self/status")->empty()); }

TEST(Clock, RunsForward) {
  uint64_t before = monotonic_ns();
  EXPECT_LE(before, monotonic_ns());
  EXPECT_GT(realtime_ns(), 1'600'000'000'000'000'000u);
  EXPECT_GE(boottime_ns() + 1'000'000, before);
}

}  // namespace
}  // namespace sonde
