// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/kept_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace sonde {
namespace {

class KeptFilesTest : public ::testing::Test {
 protected:
  KeptFilesTest() : root_(std::filesystem::temp_directory_path() / ("sonde-kept-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(root_ / "one");
    for (const char* name : {"a", "b", "c"}) put(name, name);
    fd_ = Fd(open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    files_.set_root(fd_.get());
  }
  ~KeptFilesTest() override { std::filesystem::remove_all(root_); }
  void put(const std::string& name, const std::string& text) { std::ofstream(root_ / "one" / name) << text; }
  uint64_t id() const {
    struct stat status {};
    EXPECT_EQ(stat((root_ / "one").c_str(), &status), 0);
    return status.st_ino;
  }
  std::string read(KeptFiles::Reader& reader, const std::string& name) {
    std::array<char, 16> text{};
    const ssize_t size = reader.read(name, text);
    return size < 0 ? std::to_string(size) : std::string(text.data(), static_cast<std::size_t>(size));
  }
  std::string read(const std::string& name) {
    KeptFiles::Reader reader(files_, 7, "/one", id());
    return read(reader, name);
  }

  const std::filesystem::path root_;
  Fd fd_;
  KeptFiles files_{2};
};

TEST_F(KeptFilesTest, ReadsFromTheBeginEachTime) {
  EXPECT_EQ(read("a"), "a");
  put("a", "changed");
  EXPECT_EQ(read("a"), "changed");
  EXPECT_EQ(files_.open(), 1U);
}

TEST_F(KeptFilesTest, BeyondTheLimitFilesAreReadAllTheSame) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(read("a") + read("b") + read("c"), "abc");
    EXPECT_EQ(files_.open(), 2U);
  }
  files_.forget(7);
  EXPECT_EQ(files_.open(), 0U);
  files_.forget(7);
  EXPECT_EQ(read("c"), "c");
  EXPECT_EQ(files_.open(), 1U);
}

TEST_F(KeptFilesTest, WhatIsNotThereIsNotKept) {
  EXPECT_EQ(read("none"), std::to_string(-ENOENT));
  EXPECT_EQ(files_.open(), 0U);
}

TEST_F(KeptFilesTest, APathUsedAgainIsSomebodyElses) {
  EXPECT_EQ(read("a"), "a");
  KeptFiles::Reader other(files_, 7, "/one", id() + 1);
  EXPECT_EQ(read(other, "a"), std::to_string(-ENOENT));
  EXPECT_TRUE(other.gone());
  EXPECT_EQ(files_.open(), 0U) << "the slot is another's now";
}

TEST_F(KeptFilesTest, AbsolutePathsNeedNoDirectory) {
  KeptFiles::Reader node(files_, 2, "", 0);
  EXPECT_EQ(read(node, (root_ / "one" / "b").string()), "b");
  EXPECT_FALSE(node.gone());
  EXPECT_EQ(files_.open(), 1U);
}

TEST_F(KeptFilesTest, AtMostHalfOfAllFilesAreKept) {
  rlimit limit{};
  const std::size_t room = room_for_files();
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_LE(room, limit.rlim_cur / 2);
  EXPECT_LE(room, kMostKeptFiles);
  EXPECT_GT(room, 0U);
}

}  // namespace
}  // namespace sonde
