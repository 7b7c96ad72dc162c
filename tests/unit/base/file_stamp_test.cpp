// SPDX-License-Identifier: Apache-2.0
#include "agent/base/file_stamp.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace sonde {
namespace {

TEST(FileStamp, ChangesWithContentFileAndLink) {
  std::string directory = std::filesystem::temp_directory_path() / "sonde_stamp_XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(directory + "/" + name) << text;
  };
  const std::string link = directory + "/link";
  EXPECT_EQ(stamp_of_file(link).failed, ENOENT);
  EXPECT_EQ(stamp_of_file(link), stamp_of_file(directory + "/none"));

  write("a", "one");
  write("b", "one");
  std::filesystem::create_symlink("a", link);
  const FileStamp first = stamp_of_file(link);
  EXPECT_EQ(first.size, 3);
  EXPECT_EQ(first, stamp_of_file(directory + "/a"));
  EXPECT_EQ(first, stamp_of_file(link));

  write("a", "longer");
  EXPECT_NE(stamp_of_file(link), first);
  const FileStamp longer = stamp_of_file(link);
  std::filesystem::remove(link);
  std::filesystem::create_symlink("b", link);
  EXPECT_NE(stamp_of_file(link), longer);
  EXPECT_NE(stamp_of_file(link), first);  // the same size, another file
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace sonde
