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

TEST(CgroupTree, APodInAContainerIsNotInside) {
  const std::string uid = "8dbc5577-d0e2-4706-8787-57d52c03ddf2", node = "docker/" + kId;
  const std::string pod = node + "/kubelet/kubepods/pod" + uid, container = pod + "/" + std::string(64, 'b');
  FileTree tree{{container + "/init/", ""}};
  const Result<CgroupTree> got = walk_cgroups(tree.root());
  ASSERT_TRUE(got);
  const auto is = [&](const std::string& path, bool is_container, bool inside) {
    const CgroupDirectory* directory = find(*got, "/" + path);
    ASSERT_NE(directory, nullptr) << path;
    EXPECT_EQ(directory->is_container, is_container) << path;
    EXPECT_EQ(directory->inside, inside) << path;
  };
  is(node, true, false);
  is(node + "/kubelet/kubepods", false, true);
  is(pod, false, false);
  is(container, true, false);
  is(container + "/init", false, true);
}

TEST(CgroupTree, FindById) {
  FileTree tree{{"a/one/", ""}, {"a/two/three/", ""}, {"b/", ""}};
  const uint64_t id = *cgroup_id(tree / "a/two/three");
  std::vector<std::string> seen;
  const auto visit = [&](uint64_t child, uint64_t parent, const std::string& name) {
    seen.push_back(name);
    if (child == id) {
      EXPECT_EQ(parent, *cgroup_id(tree / "a/two"));
    }
  };
  EXPECT_TRUE(find_cgroup(tree.root(), "/a", id, 100, visit));
  EXPECT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen.back(), "three");
  EXPECT_FALSE(find_cgroup(tree.root(), "/b", id, 100, visit));
  EXPECT_FALSE(find_cgroup(tree.root(), "/gone", id, 100, visit));
  EXPECT_FALSE(find_cgroup(tree.root(), "/a", id, 3, visit)) << "no more than asked";
}

}  // namespace
}  // namespace sonde
