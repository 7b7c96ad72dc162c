// SPDX-License-Identifier: Apache-2.0
#include "agent/config/policy_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "agent/base/clock.h"
#include "tests/unit/policy/made_up_modules.h"

namespace sonde {
namespace {

namespace fs = std::filesystem;

std::string policy_text(const std::string& name, const std::string& spec = "preset: Minimal") {
  return "apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: " + name + "}\nspec:\n  " +
         spec + "\n";
}

class Directory : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "sonde_policies_XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { fs::remove_all(dir_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(dir_ + "/" + name) << text; }

  std::unique_ptr<PolicyDirectory> open() {
    auto opened = PolicyDirectory::open(dir_, made_up::modules());
    EXPECT_TRUE(opened) << opened.error().message();
    return opened ? std::move(*opened) : nullptr;
  }

  static std::string names(const PolicyDirectory& directory) {
    std::string all;
    for (const Policy& policy : directory.policies()) all += policy.name + " ";
    return all;
  }

  // What the agent does: waits for the descriptor, at most some time, then looks. Two seconds are promised; a machine that
  // has other work may take longer.
  template <typename Condition>
  static bool soon(PolicyDirectory& directory, Condition condition) {
    uint64_t end = monotonic_ns() + 30'000'000'000;
    while (monotonic_ns() < end) {
      pollfd ready{directory.watch_fd(), POLLIN, 0};
      ::poll(&ready, 1, 100);
      directory.refresh();
      if (condition()) return true;
    }
    return false;
  }

  std::string dir_;
};

TEST_F(Directory, ReadsYamlFilesOnly) {
  write("b.yaml", policy_text("b"));
  write("a.yml", policy_text("a") + "---\n" + policy_text("a2"));
  write("c.yaml~", policy_text("c"));
  write(".hidden.yaml", policy_text("d"));
  auto directory = open();
  EXPECT_EQ(names(*directory), "a a2 b ");
  EXPECT_TRUE(directory->problems().empty());
  EXPECT_EQ(directory->policies()[2].source, dir_ + "/b.yaml:1");
  EXPECT_FALSE(directory->refresh());
}

TEST_F(Directory, MissingDirectoryIsAnError) {
  auto missing = PolicyDirectory::open(dir_ + "/none", made_up::modules());
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message(),
            "cannot read the policies directory " + dir_ + "/none: No such file or directory");
}

TEST_F(Directory, FollowsChanges) {
  auto directory = open();
  EXPECT_EQ(names(*directory), "");
  write("a.yaml", policy_text("a"));
  EXPECT_TRUE(soon(*directory, [&] { return names(*directory) == "a "; }));
  write("a.yaml", policy_text("a", "preset: Detailed"));
  EXPECT_TRUE(soon(*directory, [&] { return directory->policies().at(0).preset == Level::Detailed; }));
  EXPECT_EQ(directory->policies()[0].generation, 2);
  fs::remove(dir_ + "/a.yaml");
  EXPECT_TRUE(soon(*directory, [&] { return directory->policies().empty(); }));
}

TEST_F(Directory, BrokenFileKeepsItsLastGoodVersion) {
  write("a.yaml", policy_text("a"));
  write("b.yaml", policy_text("b"));
  auto directory = open();
  write("a.yaml", policy_text("a", "presett: Detailed"));
  ASSERT_TRUE(soon(*directory, [&] { return !directory->problems().empty(); }));
  EXPECT_EQ(names(*directory), "a b ");
  EXPECT_TRUE(directory->problems()[0].starts_with(dir_ + "/a.yaml:5:3: spec has no field 'presett'"));
  EXPECT_EQ(directory->status()[0].policies, 1u);
  write("a.yaml", policy_text("a", "preset: Detailed"));
  ASSERT_TRUE(soon(*directory, [&] { return directory->problems().empty(); }));
  EXPECT_EQ(directory->policies()[0].preset, Level::Detailed);
}

TEST_F(Directory, FileThatWasNeverGoodHasNoPolicy) {
  write("a.yaml", "nonsense");
  auto directory = open();
  EXPECT_TRUE(directory->policies().empty());
  EXPECT_EQ(directory->problems().size(), 1u);
}

TEST_F(Directory, HalfWrittenFileDropsNothing) {
  write("a.yaml", policy_text("a"));
  auto directory = open();
  // As cp does it: cut to nothing, then filled. Nothing in it is good YAML, and means no policy.
  std::ofstream out(dir_ + "/a.yaml", std::ios::trunc);
  directory->refresh();
  EXPECT_EQ(names(*directory), "a ");
  out << policy_text("a", "preset: Standard") << std::flush;
  directory->refresh();
  EXPECT_EQ(directory->policies().at(0).preset, Level::Minimal);
  out.close();
  EXPECT_TRUE(soon(*directory, [&] { return directory->policies().at(0).preset == Level::Standard; }));
}

TEST_F(Directory, ActiveTimeRunsFromTheLastChangeOfTheSpec) {
  write("a.yaml", policy_text("a"));
  auto directory = open();
  uint64_t created = directory->policies()[0].created_ns;
  EXPECT_NEAR(static_cast<double>(created), static_cast<double>(realtime_ns()), 60e9);
  write("a.yaml", "# only a comment\n" + policy_text("a") + "---\n" + policy_text("new"));
  ASSERT_TRUE(soon(*directory, [&] { return names(*directory) == "a new "; }));
  EXPECT_EQ(directory->policies()[0].created_ns, created);
  EXPECT_EQ(directory->policies()[0].generation, 1);
  EXPECT_GT(directory->policies()[1].created_ns, created);
}

TEST_F(Directory, NamesAreUniqueOverAllFiles) {
  write("a.yaml", policy_text("same", "preset: Minimal"));
  write("b.yaml", policy_text("same", "preset: Detailed"));
  auto directory = open();
  ASSERT_EQ(names(*directory), "same ");
  EXPECT_EQ(directory->policies()[0].preset, Level::Minimal);
  EXPECT_EQ(directory->problems(), std::vector<std::string>{dir_ + "/b.yaml:1:1: the policy 'same' is already in " +
                                                            dir_ + "/a.yaml:1: names must be unique"});
  fs::remove(dir_ + "/a.yaml");
  ASSERT_TRUE(soon(*directory, [&] { return directory->problems().empty(); }));
  EXPECT_EQ(directory->policies()[0].preset, Level::Detailed);
}

TEST_F(Directory, FollowsLinksThatAreTurned) {
  // A ConfigMap's mount: a.yaml → ..data/a.yaml, ..data → a directory that is replaced.
  fs::create_directory(dir_ + "/..1");
  fs::create_directory(dir_ + "/..2");
  write("..1/a.yaml", policy_text("one"));
  write("..2/a.yaml", policy_text("two"));
  fs::create_symlink("..1", dir_ + "/..data");
  fs::create_symlink("..data/a.yaml", dir_ + "/a.yaml");
  auto directory = open();
  EXPECT_EQ(names(*directory), "one ");
  fs::create_symlink("..2", dir_ + "/..new");
  fs::rename(dir_ + "/..new", dir_ + "/..data");
  EXPECT_TRUE(soon(*directory, [&] { return names(*directory) == "two "; }));
}

TEST_F(Directory, DirectoryThatGoesAwayDropsNothing) {
  write("a.yaml", policy_text("a"));
  auto directory = open();
  fs::rename(dir_, dir_ + ".away");
  directory->refresh();
  EXPECT_EQ(names(*directory), "a ");
  EXPECT_EQ(directory->problems().size(), 1u);
  fs::create_directory(dir_);
  write("b.yaml", policy_text("b"));
  EXPECT_TRUE(soon(*directory, [&] { return names(*directory) == "b "; }));
  // The new directory is watched as well.
  pollfd ready{directory->watch_fd(), POLLIN, 0};
  write("c.yaml", policy_text("c"));
  EXPECT_EQ(::poll(&ready, 1, 30'000), 1);
  fs::remove_all(dir_ + ".away");
}

TEST_F(Directory, UnreadableFileIsTold) {
  fs::create_directory(dir_ + "/a.yaml");
  fs::create_symlink("nowhere", dir_ + "/b.yaml");
  write("c.yaml", std::string((1 << 20) + 1, '#'));
  auto directory = open();
  EXPECT_EQ(directory->problems(),
            (std::vector<std::string>{dir_ + "/a.yaml:1:1: cannot read " + dir_ + "/a.yaml: Is a directory",
                                      dir_ + "/b.yaml:1:1: cannot open " + dir_ + "/b.yaml: No such file or directory",
                                      dir_ + "/c.yaml:1:1: " + dir_ + "/c.yaml is larger than 1048576 bytes"}));
}

}  // namespace
}  // namespace sonde
