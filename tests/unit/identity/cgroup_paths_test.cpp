// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/cgroup_paths.h"

#include <gtest/gtest.h>

#include "agent/identity/cgroup_root.h"
#include "tests/unit/identity/file_tree.h"

namespace sonde {
namespace {

TEST(CgroupPaths, NamesAreJoined) {
  CgroupPaths paths("/nonexistent");
  EXPECT_EQ(paths.path(1), "");
  paths.note(1, 0, "");
  EXPECT_EQ(paths.path(1), "/");
  paths.note(2, 1, "a");
  EXPECT_EQ(paths.path(2), "/a");
  EXPECT_EQ(paths.resolve(3, 2, "b", "/"), "/a/b");
  EXPECT_EQ(paths.path(3), "/a/b") << "and stays known: it may be a parent";
  EXPECT_EQ(paths.unresolved(), 0U);
}

TEST(CgroupPaths, AnyLength) {
  CgroupPaths paths("/nonexistent");
  paths.note(1, 0, "");
  std::string whole;
  for (uint64_t id = 2; id < 18; ++id) {
    const std::string name(255, static_cast<char>('a' + id));
    whole += "/" + name;
    EXPECT_EQ(paths.resolve(id, id - 1, name, "/"), whole);
  }
  EXPECT_EQ(whole.size(), 4096U);
}

TEST(CgroupPaths, ParentsThatNobodyToldOfAreLookedFor) {
  FileTree tree{{"node/kubelet/pods/pod/", ""}, {"other/", ""}};
  CgroupPaths paths(tree.root());
  paths.note(*cgroup_id(tree.root()), 0, "");
  paths.note(*cgroup_id(tree / "node"), *cgroup_id(tree.root()), "node");
  const uint64_t parent = *cgroup_id(tree / "node/kubelet/pods");
  EXPECT_EQ(paths.resolve(*cgroup_id(tree / "node/kubelet/pods/pod"), parent, "pod", "/node"),
            "/node/kubelet/pods/pod");
  EXPECT_EQ(paths.resolve(999, parent, "another", "/gone"), "/node/kubelet/pods/another") << "known by now";
  EXPECT_EQ(paths.unresolved(), 0U);
}

TEST(CgroupPaths, ANameThatCouldNotBeReadIsLookedForById) {
  FileTree tree{{"a/b/", ""}};
  CgroupPaths paths(tree.root());
  paths.note(*cgroup_id(tree.root()), 0, "");
  EXPECT_EQ(paths.resolve(*cgroup_id(tree / "a/b"), *cgroup_id(tree / "a"), "", "/"), "/a/b");
}

TEST(CgroupPaths, WhatIsGoneIsCountedAndNamedByItsName) {
  FileTree tree{{"a/", ""}};
  CgroupPaths paths(tree.root());
  paths.note(*cgroup_id(tree.root()), 0, "");
  EXPECT_EQ(paths.resolve(7, 6, "cri-containerd-x.scope", "/"), "/?/cri-containerd-x.scope");
  EXPECT_EQ(paths.unresolved(), 1U);
}

TEST(CgroupPaths, WhatIsGoneIsDroppedInTheEnd) {
  CgroupPaths paths("/nonexistent");
  paths.note(1, 0, "");
  for (uint64_t id = 2; id < 10'000; ++id) {
    paths.note(id, 1, "x" + std::to_string(id));
    paths.prune([](uint64_t some) { return some == 5; });
  }
  EXPECT_LT(paths.size(), 5'000U);
  EXPECT_EQ(paths.path(1), "/");
  EXPECT_EQ(paths.path(5), "/x5");
  EXPECT_EQ(paths.path(6), "");
  paths.forget(5);
  EXPECT_EQ(paths.path(5), "");
}

}  // namespace
}  // namespace sonde
