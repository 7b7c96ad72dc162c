// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/cgroup_root.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>

#include "tests/unit/identity/file_tree.h"

namespace sonde {
namespace {

constexpr const char* kPure =
    "24 30 0:22 / /proc rw,nosuid shared:13 - proc proc rw\n"
    "31 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kHybrid =
    "25 23 0:23 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755\n"
    "26 25 0:24 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate\n"
    "27 25 0:25 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd\n"
    "30 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct\n";
constexpr const char* kV1 =
    "27 25 0:25 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd\n"
    "30 25 0:28 / /sys/fs/cgroup/memory rw shared:15 - cgroup cgroup rw,memory\n";
constexpr const char* kInContainer =
    "812 800 0:27 /../../../system.slice/x /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"
    "813 800 0:27 / /host/sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n";

struct Setting {
  FileTree tree;
  std::set<std::string> v2;
  CgroupRootOptions options;

  explicit Setting(const char* mountinfo) : tree{{"mountinfo", mountinfo}} {
    options.mountinfo = tree / "mountinfo";
    options.is_cgroup2 = [this](const std::string& path) { return v2.contains(path); };
  }
};

TEST(CgroupRoot, Pure) {
  Setting s(kPure);
  s.v2 = {"/sys/fs/cgroup"};
  const Result<CgroupRoot> root = find_cgroup_root(s.options);
  ASSERT_TRUE(root) << root.error().message();
  EXPECT_EQ(root->path, "/sys/fs/cgroup");
  EXPECT_FALSE(root->hybrid);
}

TEST(CgroupRoot, Hybrid) {
  Setting s(kHybrid);
  s.v2 = {"/sys/fs/cgroup/unified"};
  const Result<CgroupRoot> root = find_cgroup_root(s.options);
  ASSERT_TRUE(root) << root.error().message();
  EXPECT_EQ(root->path, "/sys/fs/cgroup/unified");
  EXPECT_TRUE(root->hybrid);
}

TEST(CgroupRoot, V1OnlySaysWhatToDo) {
  Setting s(kV1);
  const Result<CgroupRoot> root = find_cgroup_root(s.options);
  ASSERT_FALSE(root);
  EXPECT_NE(root.error().message().find("only cgroup v1"), std::string::npos);
  EXPECT_NE(root.error().message().find("systemd.unified_cgroup_hierarchy=1"), std::string::npos);
}

TEST(CgroupRoot, NothingMounted) {
  Setting s("");
  const Result<CgroupRoot> root = find_cgroup_root(s.options);
  ASSERT_FALSE(root);
  EXPECT_NE(root.error().message().find("no cgroup v2 hierarchy is mounted"), std::string::npos);
}

TEST(CgroupRoot, WholeTreeBeforePart) {
  Setting s(kInContainer);
  s.v2 = {"/sys/fs/cgroup", "/host/sys/fs/cgroup"};
  const Result<CgroupRoot> root = find_cgroup_root(s.options);
  ASSERT_TRUE(root);
  EXPECT_EQ(root->path, "/host/sys/fs/cgroup");
}

TEST(CgroupRoot, ThroughTheHostsFirstProcess) {
  Setting s(kInContainer);
  s.options.proc_root = "/host/proc";
  s.v2 = {"/sys/fs/cgroup", "/host/proc/1/root/sys/fs/cgroup"};
  EXPECT_EQ(find_cgroup_root(s.options)->path, "/host/proc/1/root/sys/fs/cgroup");
  s.v2 = {"/sys/fs/cgroup", "/host/proc/1/root/sys/fs/cgroup/unified"};
  const Result<CgroupRoot> hybrid = find_cgroup_root(s.options);
  EXPECT_EQ(hybrid->path, "/host/proc/1/root/sys/fs/cgroup/unified");
  EXPECT_TRUE(hybrid->hybrid);
}

TEST(CgroupRoot, Configured) {
  Setting s(kPure);
  s.v2 = {"/sys/fs/cgroup", "/mnt/cg/unified"};
  s.options.configured = "/mnt/cg";
  EXPECT_EQ(find_cgroup_root(s.options)->path, "/mnt/cg/unified");
  s.options.configured = "/tmp";
  const Result<CgroupRoot> wrong = find_cgroup_root(s.options);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message().find("/tmp is not a cgroup v2 directory"), std::string::npos);
}

TEST(CgroupRoot, PartIsKnownByItsType) {
  FileTree part{{"cgroup.type", "domain\n"}};
  FileTree whole{{"cgroup.procs", "1\n"}};
  CgroupRootOptions options;
  options.is_cgroup2 = [](const std::string&) { return true; };
  options.configured = part.root();
  EXPECT_TRUE(find_cgroup_root(options)->partial);
  options.configured = whole.root();
  EXPECT_FALSE(find_cgroup_root(options)->partial);
}

TEST(CgroupRoot, MountinfoOddLines) {
  const auto mounts = parse_mountinfo(
      "1 2 0:1 / /a\\040b rw - cgroup2 c rw\nnot a line\n1 2 0:1 / /x rw - cgroup2\n1 2 0:1 / /t rw - tmpfs tmpfs rw\n"
      "1 2 0:1 /sub /many rw shared:1 master:2 propagate_from:3 - cgroup2 c rw\n1 2 0:1 / /open rw shared:1 cgroup2 c "
      "rw\n");
  ASSERT_EQ(mounts.size(), 2U);
  EXPECT_EQ(mounts[0].path, "/a b");
  EXPECT_EQ(mounts[1].root, "/sub");
  EXPECT_TRUE(mounts[1].v2);
}

TEST(CgroupRoot, IdOfAnOrdinaryDirectoryIsItsInodeOrHandle) {
  FileTree tree{{"a/", ""}, {"b/", ""}};
  const Result<uint64_t> a = cgroup_id(tree / "a");
  const Result<uint64_t> b = cgroup_id(tree / "b");
  ASSERT_TRUE(a && b);
  EXPECT_NE(*a, *b);
  EXPECT_EQ(*a, *cgroup_id(tree / "a"));
  EXPECT_FALSE(cgroup_id(tree / "none"));
}

// On a machine with a v2 tree: the id is the directory's inode number (64-bit kernels).
TEST(CgroupRoot, ThisMachine) {
  const Result<CgroupRoot> root = find_cgroup_root();
  if (!root) GTEST_SKIP() << root.error().message();
  struct stat st {};
  ASSERT_EQ(::stat(root->path.c_str(), &st), 0);
  EXPECT_EQ(*cgroup_id(root->path), st.st_ino);
}

}  // namespace
}  // namespace sonde
