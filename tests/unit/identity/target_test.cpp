// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/target.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/unit/identity/file_tree.h"

namespace sonde {
namespace {

std::string stat_line(uint32_t pid, const std::string& comm, uint32_t parent, uint64_t flags = 0) {
  return std::to_string(pid) + " (" + comm + ") S " + std::to_string(parent) + " 1 1 0 -1 " + std::to_string(flags) +
         " 0 0 0 0 1 1 0 0 20 0 3 0 4242 1000 10 18446744073709551615\n";
}

struct Machine {
  FileTree proc;
  FileTree cgroups;
  Machine& process(uint32_t pid, const std::string& comm, uint32_t parent, const std::string& cgroup,
                   uint64_t flags = 0) {
    const std::string directory = std::to_string(pid);
    proc.add(directory + "/stat", stat_line(pid, comm, parent, flags));
    proc.add(directory + "/cgroup", "12:cpu:/v1/other\n0::" + cgroup + "\n");
    proc.add(directory + "/task/" + directory + "/", "");
    return *this;
  }
  Proc view() const { return Proc(proc.root()); }
};

TEST(Proc, Stat) {
  const Result<Proc::Process> p = parse_proc_stat(stat_line(7, "a) S (b", 3));
  ASSERT_TRUE(p);
  EXPECT_EQ(p->pid, 7U);
  EXPECT_EQ(p->comm, "a) S (b");
  EXPECT_EQ(p->parent, 3U);
  EXPECT_EQ(p->threads, 3U);
  EXPECT_EQ(p->start_ticks, 4242U);
  EXPECT_FALSE(p->kernel_thread);
  EXPECT_TRUE(parse_proc_stat(stat_line(2, "kthreadd", 0, 0x208040))->kernel_thread);
  for (const char* bad : {"", "7", "7 (a", ")(", "7 (a) S", "x (a) S 1 1 1 0 -1 0 0 0 0 0 1 1 0 0 20 0 3 0 4 1"})
    EXPECT_FALSE(parse_proc_stat(bad)) << bad;
}

TEST(Proc, Cgroup) {
  EXPECT_EQ(*parse_proc_cgroup("1:name=systemd:/x\n0::/a/b\n"), "/a/b");
  EXPECT_EQ(*parse_proc_cgroup("0::/"), "/");
  EXPECT_EQ(*parse_proc_cgroup("0::/a (deleted)\n"), "/a");
  EXPECT_FALSE(parse_proc_cgroup("4:memory:/a\n"));
  EXPECT_FALSE(parse_proc_cgroup(""));
}

TEST(Proc, ThisProcess) {
  const Proc proc;
  const auto pid = static_cast<uint32_t>(::getpid());
  const Result<Proc::Process> self = proc.process(pid);
  ASSERT_TRUE(self) << self.error().message();
  EXPECT_EQ(self->parent, static_cast<uint32_t>(::getppid()));
  EXPECT_EQ(proc.threads(pid)->size(), self->threads);
  EXPECT_FALSE(proc.process(4'000'000));
}

TEST(Target, CgroupOfItsOwn) {
  Machine m;
  m.process(1, "init", 0, "/").process(50, "db", 1, "/db").process(51, "worker", 50, "/db").process(60, "x", 1, "/x");
  m.cgroups.add("db/cgroup.procs", "50\n51\n");
  const Result<Target> target = resolve_target(m.view(), m.cgroups.root(), 50);
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ(target->pids, (std::vector<uint32_t>{50, 51}));
  ASSERT_EQ(target->cgroups.size(), 1U);
  EXPECT_EQ(target->cgroups[0].path, "/db");
  EXPECT_TRUE(target->cgroups[0].whole);
  EXPECT_FALSE(target->per_process);
  EXPECT_EQ(describe(*target), "process 50 (db) and 1 below it in /db");
}

TEST(Target, SharedCgroupIsByProcess) {
  Machine m;
  m.process(1, "init", 0, "/").process(50, "db", 1, "/s").process(51, "worker", 50, "/s").process(60, "other", 1, "/s");
  m.cgroups.add("s/cgroup.procs", "50\n51\n60\n");
  const Result<Target> target = resolve_target(m.view(), m.cgroups.root(), 50);
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_TRUE(target->per_process);
  EXPECT_FALSE(target->cgroups[0].whole);
  EXPECT_EQ(target->note, "");
}

TEST(Target, TreeOverSeveralCgroupsAndPidsThatWrapped) {
  Machine m;
  m.process(1, "init", 0, "/").process(900, "sup", 1, "/sup").process(20, "a", 900, "/sup/a").process(7, "b", 20, "/b");
  m.cgroups.add("sup/cgroup.procs", "900\n");
  m.cgroups.add("sup/a/cgroup.procs", "20\n");
  m.cgroups.add("b/cgroup.procs", "7\n8\n");
  m.process(8, "stranger", 1, "/b");
  const Result<Target> target = resolve_target(m.view(), m.cgroups.root(), 900);
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ(target->pids, (std::vector<uint32_t>{7, 20, 900}));
  ASSERT_EQ(target->cgroups.size(), 3U);
  EXPECT_FALSE(target->cgroups[0].whole);  // /b
  EXPECT_TRUE(target->cgroups[1].whole);   // /sup
  EXPECT_TRUE(target->cgroups[2].whole);   // /sup/a
}

TEST(Target, RootCgroupIsNeverTakenWhole) {
  Machine m;
  m.process(5, "only", 0, "/");
  m.cgroups.add("cgroup.procs", "5\n");
  EXPECT_TRUE(resolve_target(m.view(), m.cgroups.root(), 5)->per_process);
}

TEST(Target, Errors) {
  Machine m;
  m.process(1, "init", 0, "/").process(2, "kthreadd", 0, "/", 0x200000).process(9, "far", 1, "/../else");
  const Result<Target> none = resolve_target(m.view(), m.cgroups.root(), 77);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message().find("there is no process 77"), std::string::npos);
  const Result<Target> kernel = resolve_target(m.view(), m.cgroups.root(), 2);
  ASSERT_FALSE(kernel);
  EXPECT_NE(kernel.error().message().find("kernel thread"), std::string::npos);
  const Result<Target> far = resolve_target(m.view(), m.cgroups.root(), 9);
  ASSERT_FALSE(far);
  EXPECT_NE(far.error().message().find("not below"), std::string::npos);
}

TEST(Target, ByName) {
  Machine m;
  m.process(1, "init", 0, "/").process(50, "postgres", 1, "/a").process(51, "postgres", 50, "/a");
  m.process(60, "redis", 1, "/r").process(61, "redis", 1, "/r2").process(70, "averylongprocess", 1, "/l");
  m.proc.add("70/stat", stat_line(70, "averylongproces", 1));
  EXPECT_EQ(*find_process(m.view(), "postgres"), 50U);
  EXPECT_EQ(*find_process(m.view(), "averylongprocess"), 70U);
  const Result<uint32_t> several = find_process(m.view(), "redis");
  ASSERT_FALSE(several);
  EXPECT_NE(several.error().message().find("60 (in /r), 61 (in /r2)"), std::string::npos) << several.error().message();
  EXPECT_NE(several.error().message().find("--target-pid"), std::string::npos);
  const Result<uint32_t> none = find_process(m.view(), "mysqld");
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message().find("'mysqld'"), std::string::npos);
  EXPECT_FALSE(find_process(m.view(), ""));
}

}  // namespace
}  // namespace sonde
