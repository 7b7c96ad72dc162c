// SPDX-License-Identifier: Apache-2.0
// Frequencies and idle states, of a machine that has them: most virtual ones have not. So directories that we have written
// ourselves are mounted over those of the CPUs, in a mount namespace of its own, where this program is started again.
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "bpf/modules/cpufreq/cpufreq.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

constexpr const char* kCpus = "/sys/devices/system/cpu";
constexpr const char* kMarker =
    "SONDE_TEST_CPUS";  // the directory, in the program that sees it in the place of the CPUs'

void put(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file) << text << "\n";
}

SONDE_TRAITS("CpuFilesTest.*", Trait::Equipment);

class CpuFilesTest : public KernelTest {
 protected:
  EngineOptions options() const override { return only("cpufreq"); }
  void select_node() {
    SlotSetting setting;
    setting.flags[module_id("cpufreq")] = CPUFREQ_FLAG;
    engine().configure(SONDE_SLOT_NODE, setting);
    sync_programs();
  }
  std::map<std::string, int64_t>& node() {
    collect(true);
    return totals_.values[SONDE_SLOT_NODE];
  }
};

TEST(CpuFiles, AreReadWhereTheMachineHasThem) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  std::string name = "/tmp/sonde-cpus-XXXXXX";
  ASSERT_NE(mkdtemp(name.data()), nullptr);
  const std::filesystem::path root = name;
  for (const char* file : {"possible", "online", "present", "kernel_max"}) {  // for those who count CPUs
    std::ifstream source(std::string(kCpus) + "/" + file);
    std::string line;
    if (std::getline(source, line)) put(root / file, line);
  }
  put(root / "cpu0/cpufreq/scaling_cur_freq", "2400000");
  put(root / "cpu0/cpufreq/stats/total_trans", "100");
  put(root / "cpu0/cpuidle/state0/name", "POLL");
  put(root / "cpu0/cpuidle/state0/time", "17");
  put(root / "cpu0/cpuidle/state1/name", "C1");
  put(root / "cpu0/cpuidle/state1/time", "5000");
  put(root / "cpu1/cpufreq/scaling_cur_freq", "800000");
  put(root / "cpu1/cpufreq/stats/total_trans", "7");
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) ||
        mount(name.c_str(), kCpus, nullptr, MS_BIND, nullptr) || setenv(kMarker, name.c_str(), 1) ||
        !freopen((root / "log").c_str(), "w", stdout)) {  // what it says is not of this run
      _exit(9);
    }
    unsetenv("GTEST_TOTAL_SHARDS");  // its one test is for this run, wherever the others are shared or selected
    unsetenv("GTEST_SHARD_INDEX");
    unsetenv("SONDE_TEST_SELECT");
    execl("/proc/self/exe", "kernel_tests", "--gtest_filter=CpuFilesTest.DISABLED_*", "--gtest_also_run_disabled_tests",
          nullptr);
    _exit(8);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  std::stringstream log;
  log << std::ifstream(root / "log").rdbuf();
  EXPECT_EQ(status, 0) << log.str();
  EXPECT_TRUE(std::filesystem::exists(root / "passed")) << "it was left out";
  std::filesystem::remove_all(root);
}

// Only by the test above.
TEST_F(CpuFilesTest, DISABLED_FrequenciesAndIdleStatesAreWhatTheFilesSay) {
  const char* directory = std::getenv(kMarker);
  ASSERT_NE(directory, nullptr);
  const std::filesystem::path root = directory;
  Cgroup& box = cgroup("box");
  select(box, {{"cpufreq", CPUFREQ_FLAG}});
  EXPECT_TRUE(node().empty()) << "nobody asks for the machine's";
  select_node();
  auto& first = node();
  EXPECT_EQ(first["sonde.cpu.frequency|0"], 2'400'000'000) << "the files have kHz";
  EXPECT_EQ(first["sonde.cpu.frequency|1"], 800'000'000);
  for (const char* sum : {"sonde.cpu.frequency.changes|0", "sonde.cpu.frequency.changes|1",
                          "sonde.cpu.idle.time|0|POLL", "sonde.cpu.idle.time|0|C1"}) {
    EXPECT_EQ(first[sum], 0) << sum << " counts from here on";
  }
  put(root / "cpu0/cpufreq/scaling_cur_freq", "1200000");
  put(root / "cpu0/cpufreq/stats/total_trans", "109");
  put(root / "cpu0/cpuidle/state1/time", "6234");
  auto& second = node();
  EXPECT_EQ(second["sonde.cpu.frequency|0"], 1'200'000'000);
  EXPECT_EQ(second["sonde.cpu.frequency|1"], 800'000'000) << "the other one's";
  EXPECT_EQ(second["sonde.cpu.frequency.changes|0"], 9);
  EXPECT_EQ(second["sonde.cpu.frequency.changes|1"], 0);
  EXPECT_EQ(second["sonde.cpu.idle.time|0|C1"], 1234);
  EXPECT_EQ(second["sonde.cpu.idle.time|0|POLL"], 0);
  EXPECT_EQ(everything(box), 0U) << "it is no container's";
  if (!HasFailure()) put(root / "passed", "");
}

// Idle time of all CPUs and states lies within the wall time of all CPUs, and is none that nobody asked for.
TEST_F(CpuFilesTest, IdleStatesAreTheCpuidleFiles) {
  const std::string file = "/sys/devices/system/cpu/cpu0/cpuidle/state1/";
  if (access((file + "time").c_str(), R_OK) != 0) GTEST_SKIP() << "this machine has no cpuidle";
  std::string state;
  std::ifstream name(file + "name");
  std::getline(name, state);  // some have a space in it
  const auto truth_now = [&] {
    int64_t us = 0;
    std::ifstream(file + "time") >> us;
    return us;
  };
  const std::string series = "sonde.cpu.idle.time|0|" + state;
  select_node();
  const int64_t before_low = truth_now();
  const int64_t before = node()[series];
  const int64_t before_high = truth_now();
  usleep(300'000);
  const int64_t after_low = truth_now();
  const int64_t counted = node()[series] - before;
  const int64_t after_high = truth_now();
  EXPECT_GE(counted, after_low - before_high);
  EXPECT_LE(counted, after_high - before_low);
}

}  // namespace
}  // namespace sonde::test
