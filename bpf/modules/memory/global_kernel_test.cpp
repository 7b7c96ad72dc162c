// SPDX-License-Identifier: Apache-2.0
// What is reclaimed where the whole machine is short of memory, by kswapd and by who needs it, with either kind of LRU: to the
// byte what the kernel counts in /proc/vmstat.
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/memory_test.h"
#include "tests/kernel/support/tracepoint_count.h"

namespace sonde::test {
namespace {

constexpr const char* kSwitch = "/sys/kernel/mm/lru_gen/enabled";

pid_t kswapd() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::string name;
    std::ifstream(entry.path() / "comm") >> name;
    if (name == "kswapd0") return std::stoi(entry.path().filename());
  }
  return 0;
}

void schedule(pid_t pid, int policy, const std::vector<int>& cpus) {
  const sched_param priority{};
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(static_cast<std::size_t>(cpu), &set);
  EXPECT_EQ(sched_setscheduler(pid, policy, &priority), 0);
  EXPECT_EQ(sched_setaffinity(pid, sizeof(set), &set), 0);
}

// Bytes that could be had without swapping.
int64_t spare_bytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("MemAvailable:")) return std::stoll(line.substr(13)) << 10;
  }
  return 0;
}

// Pages.
struct Reclaimed {
  std::array<int64_t, 2> scanned{};  // by kswapd, by who needs memory
  std::array<int64_t, 2> got{};
  bool operator==(const Reclaimed&) const = default;
  Reclaimed operator-(const Reclaimed& before) const {
    return {{scanned[0] - before.scanned[0], scanned[1] - before.scanned[1]},
            {got[0] - before.got[0], got[1] - before.got[1]}};
  }
};

std::ostream& operator<<(std::ostream& out, const Reclaimed& pages) {
  return out << "kswapd " << pages.scanned[0] << " scanned, " << pages.got[0] << " got; direct " << pages.scanned[1]
             << " scanned, " << pages.got[1] << " got";
}

Reclaimed of_kernel() {
  const auto stat = [](const std::string& key) { return number_in("/proc/vmstat", key); };
  return {{stat("pgscan_kswapd"), stat("pgscan_direct") + stat("pgscan_khugepaged")},
          {stat("pgsteal_kswapd"), stat("pgsteal_direct") + stat("pgsteal_khugepaged")}};
}

class GlobalReclaimTest : public MemoryTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    if (!machine_is_ours()) GTEST_SKIP() << "it would leave this machine without memory: only in a virtual one";
    std::ifstream(kSwitch) >> before_;
    if (!write_to(kSwitch, GetParam() ? "7" : "0") && GetParam()) GTEST_SKIP() << "this kernel has no generations";
    KernelTest::SetUp();
  }
  void TearDown() override {
    KernelTest::TearDown();
    if (!before_.empty()) write_to(kSwitch, before_);
  }
  int64_t sum(const std::string& metric) {  // over all subjects
    int64_t bytes = 0;
    for (const auto& [slot, values] : totals_.values) {
      if (const auto found = values.find(metric); found != values.end()) bytes += found->second;
    }
    return bytes;
  }
  Reclaimed of_all() {
    const std::string scanned = "sonde.memory.reclaim.scanned|", got = "sonde.memory.reclaim.reclaimed|";
    return {{sum(scanned + "kswapd") / kPage, sum(scanned + "direct") / kPage},
            {sum(got + "kswapd") / kPage, sum(got + "direct") / kPage}};
  }
  // What the kernel counts, and we, at a moment at which nobody reclaims.
  std::array<Reclaimed, 2> figures() {
    Reclaimed kernel;
    EXPECT_TRUE(eventually([&] {
      kernel = of_kernel();
      collect();
      return of_kernel() == kernel;
    }));
    return {kernel, of_all()};
  }

 private:
  std::string before_;
};

TEST_P(GlobalReclaimTest, WhatIsScannedAndGotIsWhatTheKernelCounts) {
  const pid_t daemon = kswapd();
  ASSERT_GT(daemon, 0);
  auto& box = cgroup("needs");
  auto& hogs = cgroup("hogs");
  auto& other = cgroup("other");
  const TracepointCount told("vmscan:mm_vmscan_lru_isolate", "order >= 0");
  SlotSetting everybody;
  everybody.flags[module_id("memory")] = MEMORY_FLAG_RECLAIM;
  engine().configure(SONDE_SLOT_UNATTRIBUTED, everybody);
  for (const Cgroup* each : {&box, &hogs, &other}) select(*each, {{"memory", MEMORY_FLAG_RECLAIM}});
  const ColdFile file(192 * kMiB);
  const int64_t spare = spare_bytes();
  const auto fill = [&] {
    MUST(write_to("/proc/self/oom_score_adj", "1000"));
    const int64_t bytes = spare_bytes() - 128 * kMiB;
    touch(anonymous(bytes), bytes);
  };
  HeldProcess hog(hogs, {fill}), bystander(other, {[] { touch(anonymous(kMiB), kMiB); }});
  HeldProcess process(box, {[&] { file.read_through(); }});
  const auto [kernel_before, before] = figures();
  hog.step(0);
  bystander.step(0);
  for (int i = 0; i < 10 && (of_kernel() - kernel_before).scanned[0] < 20'000; ++i) process.step(0);
  // One that hardly ever runs, beside one that always does.
  const pid_t busy = fork();
  if (busy == 0) {
    pin_to(1);
    for (;;) {
    }
  }
  schedule(daemon, SCHED_IDLE, {1});
  for (int i = 0; i < 10 && (of_kernel() - kernel_before).scanned[1] < 2'000; ++i) process.step(0);
  schedule(daemon, SCHED_OTHER, {0, 1});
  kill(busy, SIGKILL);
  waitpid(busy, nullptr, 0);
  const auto [kernel_after, after] = figures();
  const Reclaimed truth = kernel_after - kernel_before, counted = after - before;
  std::cout << "spare " << (spare >> 20) << " MiB; the kernel: " << truth << "\ncounted: " << counted << "\n";
  if (GetParam() && told && told.count() == 0) GTEST_SKIP() << "this kernel's generations tell nobody";
  EXPECT_GE(truth.scanned[0], 20'000);
  EXPECT_GT(truth.scanned[1], 0);
  EXPECT_EQ(counted.scanned[0], truth.scanned[0]) << "kswapd";
  EXPECT_EQ(counted.got[0], truth.got[0]) << "kswapd";
  EXPECT_EQ(counted.scanned[1], truth.scanned[1]) << "direct";
  EXPECT_EQ(counted.got[1], truth.got[1]) << "direct";
  EXPECT_EQ(scanned(box, "kswapd") + scanned(hogs, "kswapd"), 0) << "it is nobody's";
  EXPECT_GT(scanned(box, "direct") + scanned(hogs, "direct"), truth.scanned[1] / 2 * kPage);
  EXPECT_EQ(scanned(box, "memcg") + scanned(hogs, "memcg"), 0);
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(losses("memory"), 0U);
}

INSTANTIATE_TEST_SUITE_P(EitherLru, GlobalReclaimTest, ::testing::Bool(),
                         [](const auto& one) { return one.param ? "Generations" : "ActiveAndInactive"; });

}  // namespace
}  // namespace sonde::test
