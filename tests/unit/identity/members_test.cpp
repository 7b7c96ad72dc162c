// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/members.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace sonde {
namespace {

namespace fs = std::filesystem;

// A machine as an agent in namespaces of its own sees it: in /kubepods/own, with its own pid 7, which is 4007 outside.
class MembersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    top_ = fs::temp_directory_path() / ("sonde-members-" + std::to_string(getpid()));
    fs::remove_all(top_);
    procs("/", "0\n");
    procs("/kubepods/own", "7\n");
    procs("/kubepods/b", "0\n0\n");
    procs("/kubepods/b/inner", "0\n");
    procs("/kubepods/bb", "0\n");
    process(1, "/../..");
    process(4007, "/");
    process(5000, "/../b");
    process(5001, "/../b/inner");
    process(5002, "/../b");
    process(5003, "/../bb");
    write(top_ / "own", "0::/\n");
  }
  void TearDown() override { fs::remove_all(top_); }

  static void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void procs(const std::string& cgroup, const std::string& text) {
    write(top_.string() + "/cgroup" + cgroup + "/cgroup.procs", text);
  }
  void process(int pid, const std::string& cgroup) {
    const fs::path directory = top_ / "proc" / std::to_string(pid);
    write(directory / "cgroup", "1:name=systemd:/elsewhere\n0::" + cgroup + "\n");
    write(directory / "stat", std::to_string(pid) + " (x) S 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n");
  }
  Members members(const std::string& proc_root) const {
    return Members({(top_ / "cgroup").string(), proc_root, (top_ / "own").string(), 7, false});
  }
  std::vector<uint32_t> pids(const Members& members, const std::string& path, bool below = true) const {
    const auto found = members.pids(path, 100, below);
    EXPECT_TRUE(found) << path;
    return found ? found->pids : std::vector<uint32_t>{};
  }

  fs::path top_;
};

TEST_F(MembersTest, TheMachinesProcTellsWhomTheNamespaceHides) {
  const Members seen = members((top_ / "proc").string());
  EXPECT_EQ(pids(seen, "/kubepods/b"), (std::vector<uint32_t>{5000, 5001, 5002}));
  EXPECT_EQ(pids(seen, "/kubepods/b", false), (std::vector<uint32_t>{5000, 5002}));
  EXPECT_EQ(pids(seen, "/kubepods/bb"), std::vector<uint32_t>{5003});
  EXPECT_EQ(pids(seen, "/"), (std::vector<uint32_t>{1, 4007, 5000, 5001, 5002, 5003}));
  EXPECT_EQ(seen.pids("/kubepods/b")->hidden, 0U);
  EXPECT_EQ(pids(seen, "/kubepods/own"), std::vector<uint32_t>{4007});
}

TEST_F(MembersTest, TheLimitHolds) {
  const auto found = members((top_ / "proc").string()).pids("/kubepods/b", 2);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pids, (std::vector<uint32_t>{5000, 5001}));
  EXPECT_TRUE(found->cut);
}

TEST_F(MembersTest, AnOwnProcCannotTell) {
  const auto found = members("/proc").pids("/kubepods/b");
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->pids.empty());
  EXPECT_EQ(found->hidden, 3U);
}

// The host's cgroup namespace: paths are whole.
TEST_F(MembersTest, WholePathsAreTakenAsTheyAre) {
  write(top_ / "own", "0::/kubepods/own\n");
  for (const int pid : {5000, 5001, 5002, 5003}) fs::remove_all(top_ / "proc" / std::to_string(pid));
  process(6000, "/kubepods/b");
  EXPECT_EQ(pids(members((top_ / "proc").string()), "/kubepods/b"), std::vector<uint32_t>{6000});
}

// An agent in a cgroup below the root of its namespace.
TEST_F(MembersTest, TheNamespacesRootMayBeAboveUs) {
  procs("/kubepods/own", "");
  procs("/kubepods/own/agent", "7\n");
  write(top_ / "own", "0::/agent\n");
  EXPECT_EQ(pids(members((top_ / "proc").string()), "/kubepods/bb"), std::vector<uint32_t>{5003});
}

}  // namespace
}  // namespace sonde
