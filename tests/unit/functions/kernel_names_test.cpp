// SPDX-License-Identifier: Apache-2.0
#include "agent/functions/kernel_names.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace sonde {
namespace {

class KernelNamesTest : public testing::Test {
 protected:
  KernelNamesTest() {
    std::string name = testing::TempDir() + "sonde-names-XXXXXX";
    directory_ = mkdtemp(name.data());
    std::filesystem::create_directories(directory_ + "/sys");
    write("symbols",
          "ffffffff81000000 T vfs_fsync_range\n"
          "ffffffff81000100 t do_fsync\n"
          "ffffffff81000200 t twice\n"
          "ffffffff81000300 t twice\n"
          "ffffffff81000400 D init_task\n"
          "ffffffffc0000000 t dm_submit_bio\t[dm_mod]\n"
          "ffffffffc0000100 t bpf_prog_1_vfs_fsync_range\t[bpf]\n");
    write("modules", "dm_mod 155648 0 - Live 0x0000000000000000\n");
    std::filesystem::create_directories(directory_ + "/sys/dm_mod");
  }
  ~KernelNamesTest() override { std::filesystem::remove_all(directory_); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(directory_ + "/" + name) << content;
  }
  KernelNames names() const {
    return KernelNames(directory_ + "/symbols", directory_ + "/modules", directory_ + "/sys");
  }

  std::string directory_;
};

TEST_F(KernelNamesTest, CountsFunctionsOfOneName) {
  auto all = names();
  EXPECT_EQ(all.count("vfs_fsync_range"), 1U);
  EXPECT_EQ(all.count("twice"), 2U);
  EXPECT_EQ(all.count("dm_submit_bio"), 1U);
  EXPECT_EQ(all.count("dm_mod:dm_submit_bio"), 1U);
  EXPECT_EQ(all.count("loop:dm_submit_bio"), 0U);
  EXPECT_EQ(all.count("init_task"), 0U) << "no function";
  EXPECT_EQ(all.module_of("dm_submit_bio"), "dm_mod");
  EXPECT_EQ(all.module_of("do_fsync"), "");
}

TEST_F(KernelNamesTest, SaysWhatIsWrongWithAName) {
  const auto all = names();
  EXPECT_EQ(all.missing("vfs_fsync_rnage"), "did you mean vfs_fsync_range?");
  EXPECT_EQ(all.missing("dm_submit_bi"), "did you mean dm_mod:dm_submit_bio?");
  EXPECT_EQ(all.missing("dm_mod:dm_submit_boi"), "did you mean dm_mod:dm_submit_bio?");
  EXPECT_EQ(all.missing("dm_mod:do_fsync"), "write do_fsync");
  EXPECT_EQ(all.missing("loop:lo_open"), "the kernel module loop is not loaded");
  EXPECT_EQ(all.missing("init_task"), "it is data, not a function");
  EXPECT_EQ(all.missing("nothing_like_it"), "");
}

TEST_F(KernelNamesTest, WithoutNamesNothingIsSaidToBeMissing) {
  write("symbols", "");
  EXPECT_EQ(names().count("anything"), 1U);
}

TEST_F(KernelNamesTest, ModulesThatComeAndGoAreNoticed) {
  auto all = names();
  EXPECT_EQ(all.count("lo_open"), 0U);
  EXPECT_FALSE(all.changed());
  write("modules", "loop 40960 0 - Live 0x0\ndm_mod 155648 0 - Live 0x0\n");
  write("symbols", "ffffffffc0000000 t lo_open\t[loop]\n");
  EXPECT_TRUE(all.changed());
  EXPECT_FALSE(all.changed());
  EXPECT_EQ(all.count("loop:lo_open"), 1U);
  // Unloaded and loaded again in between: it has another directory. The old one stays, so that its number is not given again.
  std::filesystem::rename(directory_ + "/sys/dm_mod", directory_ + "/sys/old");
  std::filesystem::create_directories(directory_ + "/sys/dm_mod");
  EXPECT_TRUE(all.changed());
}

}  // namespace
}  // namespace sonde
