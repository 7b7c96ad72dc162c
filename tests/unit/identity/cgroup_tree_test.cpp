// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/cgroup_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "agent/identity/cgroup_root.h"
#include "tests/unit/identity/file_tree.h"

namespace sonde {
namespace {

const std::string kId(64, 'a');

const CgroupDirectory* find(const CgroupTree& tree, const std::string& path) {
  const auto found = std::find_if(tree.directories.begin(), tree.directories.end(),
                                  [&](const CgroupDirectory& d) { return d.path == path; });
  return found == tree.directories.end() ? nullptr : &*found;
}

TEST(CgroupTree, Walk) {
  FileTree tree{
      {"cgroup.procs", "1\n2\n"},
      {"system.slice/cgroup.procs", ""},
      {"system.slice/sshd.service/cgroup.procs", "77\n"},
      {"docker/" + kId + "/cgroup.procs", ""},
      {"docker/" + kId + "/init.scope/cgroup.procs", "90\n"},
      {"docker/" + kId + "/docker/" + std::string(64, 'b') + "/cgroup.procs", "91\n"},
  };
  const Result<CgroupTree> got = walk_cgroups(tree.root());
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->directories.size(), 8U);
  EXPECT_EQ(got->vanished + got->over_limits + got->unreadable, 0U);

  const CgroupDirectory* root = find(*got, "/");
  ASSERT_NE(root, nullptr);
  EXPECT_TRUE(root->has_procs);
  EXPECT_FALSE(root->is_leaf);
  EXPECT_EQ(root->parent_id, 0U);
  const CgroupDirectory* sshd = find(*got, "/system.slice/sshd.service");
  ASSERT_NE(sshd, nullptr);
  EXPECT_TRUE(sshd->has_procs && sshd->is_leaf && !sshd->is_container);
  EXPECT_EQ(sshd->parent_id, find(*got, "/system.slice")->id);
  EXPECT_EQ(sshd->id, *cgroup_id(tree / "system.slice/sshd.service"));
  const CgroupDirectory* container = find(*got, "/docker/" + kId);
  EXPECT_TRUE(container->is_container && !container->inside && !container->has_procs);
  const CgroupDirectory* inner = find(*got, "/docker/" + kId + "/docker/" + std::string(64, 'b'));
  EXPECT_TRUE(inner->inside && !inner->is_container && inner->has_procs);
}

TEST(CgroupTree, ParentsFirst) {
  FileTree tree{{"a/b/c/d/", ""}, {"a/e/", ""}, {"f/g/", ""}};
  const Result<CgroupTree> got = walk_cgroups(tree.root());
  ASSERT_TRUE(got);
  std::vector<uint64_t> seen;
  for (const CgroupDirectory& d : got->directories) {
    const bool known = std::find(seen.begin(), seen.end(), d.parent_id) != seen.end();
    EXPECT_TRUE(known || d.parent_id == 0) << d.path;
    seen.push_back(d.id);
  }
}

TEST(CgroupTree, LimitsAreCounted) {
  FileTree tree{{"a/b/c/", ""}, {"x/", ""}, {"y/", ""}, {"z/", ""}};
  const Result<CgroupTree> shallow = walk_cgroups(tree.root(), {.directories = 100, .depth = 2});
  EXPECT_EQ(shallow->directories.size(), 6U);
  EXPECT_EQ(shallow->over_limits, 1U);
  const Result<CgroupTree> few = walk_cgroups(tree.root(), {.directories = 3, .depth = 64});
  EXPECT_EQ(few->directories.size(), 3U);
  EXPECT_GE(few->over_limits, 2U);
}

TEST(CgroupTree, NoRoot) {
  const Result<CgroupTree> got = walk_cgroups("/nonexistent");
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().message().find("/nonexistent"), std::string::npos);
}

TEST(CgroupTree, DirectoriesComeAndGo) {
  FileTree tree{{"stays/", ""}};
  std::atomic<bool> stop{false};
  std::thread churn([&] {
    for (int i = 0; !stop; ++i) {
      const std::string path = tree / ("t" + std::to_string(i % 50) + "/deep/er");
      std::filesystem::create_directories(path);
      std::error_code ignored;
      std::filesystem::remove_all(tree / ("t" + std::to_string((i + 25) % 50)), ignored);
    }
  });
  for (int i = 0; i < 50; ++i) {
    const Result<CgroupTree> got = walk_cgroups(tree.root());
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_NE(find(*got, "/stays"), nullptr);
  }
  stop = true;
  churn.join();
}

TEST(CgroupTree, Pids) {
  FileTree tree{
      {"c/cgroup.procs", "30\n10\n"}, {"c/inner/cgroup.procs", "20\n0\n0\n10\n"}, {"other/cgroup.procs", "5\n"}};
  const Result<CgroupPids> got = cgroup_pids(tree.root(), "/c");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->pids, (std::vector<uint32_t>{10, 20, 30}));
  EXPECT_EQ(got->hidden, 2U);
  EXPECT_FALSE(got->cut);
  EXPECT_TRUE(cgroup_pids(tree.root(), "/c", 2)->cut);
  EXPECT_FALSE(cgroup_pids(tree.root(), "/none"));
}

TEST(CgroupTree, FindChild) {
  FileTree tree{{"a/one/", ""}, {"a/two/", ""}};
  const uint64_t id = *cgroup_id(tree / "a/two");
  EXPECT_EQ(*find_child_cgroup(tree.root(), "/a", id), "/a/two");
  EXPECT_FALSE(find_child_cgroup(tree.root(), "/", id));
  EXPECT_FALSE(find_child_cgroup(tree.root(), "/gone", id));
}

}  // namespace
}  // namespace sonde
