// SPDX-License-Identifier: Apache-2.0
// Stalls of RCU: real ones where nobody else uses the machine, lines that look like them where somebody does. Truth is the
// kernel's log: a stall is a grace period that it complained of.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <regex>
#include <set>
#include <string>

#include "agent/base/fd.h"
#include "bpf/modules/locks/locks.h"
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/traits.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include "spin.skel.h"
#pragma GCC diagnostic pop

namespace sonde::test {
namespace {

SONDE_TRAITS("StallsTest.*", Trait::Equipment);

// What the kernel logs from now on.
class KernelLog {
 public:
  KernelLog() : file_(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)) { lseek(file_.get(), 0, SEEK_END); }
  void read_on() {
    std::array<char, 8192> record{};
    for (ssize_t size; (size = read(file_.get(), record.data(), record.size())) > 0 || errno == EPIPE;) {
      const std::string line(record.data(), static_cast<std::size_t>(size > 0 ? size : 0));
      static const std::regex complaint(R"((self-detected stall on CPU|detected stalls on CPUs))");
      static const std::regex period(R"(t=\d+ jiffies,? g=(-?\d+))");
      std::smatch match;
      if (std::regex_search(line, complaint)) ++complaints;
      if (std::regex_search(line, match, period)) periods.insert(match[1]);
    }
  }
  int complaints = 0;
  std::set<std::string> periods;

 private:
  Fd file_;
};

// A setting of the kernel's, until the end of the test.
class Setting {
 public:
  Setting(std::string path, const std::string& value) : path_(std::move(path)) {
    std::getline(std::ifstream(path_), before_);
    std::ofstream(path_) << value << "\n" << std::flush;  // some want a whole line
  }
  ~Setting() { std::ofstream(path_) << before_ << "\n" << std::flush; }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  std::string path_, before_;
};

class StallsTest : public KernelTest {
 protected:
  EngineOptions options() const override { return only("locks"); }
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped() && !engine().features().has_tracepoint("console"))
      GTEST_SKIP() << "no tracepoint of the kernel's log";
  }
  void ask() {
    SlotSetting node;
    node.flags[module_id("locks")] = LOCKS_STALLS;
    engine().configure(SONDE_SLOT_NODE, node);
    sync_programs();
  }
  int64_t stalls() {
    collect();
    return totals_.values[SONDE_SLOT_NODE]["sonde.rcu.stalls"];
  }
};

TEST_F(StallsTest, AGracePeriodIsOneStallHoweverOftenTheKernelComplains) {
  const Setting unlimited("/proc/sys/kernel/printk_devkmsg", "on");
  const Fd log(open("/dev/kmsg", O_WRONLY | O_CLOEXEC));
  if (!log) GTEST_SKIP() << "the kernel's log cannot be written to";
  const auto say = [&](const std::string& line) {
    ASSERT_EQ(write(log.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
  };
  say("<6>\t(t=2100 jiffies g=4077 q=7 ncpus=2)\n");
  EXPECT_EQ(stalls(), 0) << "nobody has asked";
  ask();
  Cgroup& box = cgroup("box");
  select(box, {{"locks", LOCKS_WAITS | LOCKS_STALLS}});
  say("<6>rcu: INFO: rcu_sched detected stalls on CPUs/tasks:\n");
  say("<6>rcu: \t(detected by 1, t=2102 jiffies, g=4101, q=7 ncpus=2)\n");
  EXPECT_EQ(stalls(), 1);
  say("<6>\t(t=8405 jiffies g=4101 q=7 ncpus=2)\n");
  say("<6>\t(t=14710 jiffies g=4101 q=7)\n");
  EXPECT_EQ(stalls(), 1) << "the same, still";
  say("<6>\t(t=2100 jiffies g=4109 q=7 ncpus=2)\n");
  EXPECT_EQ(stalls(), 2);
  say("<6> } 2105 jiffies s: 541 root: 0x1/.\n");
  say("<6> } 8300 jiffies s: 541 root: 0x1/.\n");
  EXPECT_EQ(stalls(), 3) << "expedited ones have numbers of their own";
  say("<6>rcu: rcu_sched kthread starved for 2102 jiffies! g4101 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x0 ->cpu=1\n");
  say("<6>\t(something else, x=1)\n");
  say("<6>\t(truncated after g=\n");
  EXPECT_EQ(stalls(), 3);
  EXPECT_EQ(total(box, "sonde.rcu.stalls"), 0) << "it is the machine's";
}

// Keeps a CPU in a read-side section for so long, in a child that this returns.
pid_t stall(int program, uint64_t seconds) {
  const pid_t child = fork();
  if (child) return child;
  uint64_t ns = seconds * 1'000'000'000;
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.ctx_in = &ns;
  options.ctx_size_in = sizeof(ns);
  _exit(bpf_prog_test_run_opts(program, &options) ? 1 : 0);
}

TEST_F(StallsTest, AReaderThatDoesNotEndIsAStall) {
  if (!std::getenv("SONDE_TEST_VM")) GTEST_SKIP() << "a machine that others use is not stalled: see tests/vm";
  spin_bpf* spin = spin_bpf__open_and_load();
  ASSERT_NE(spin, nullptr);
  const int program = bpf_program__fd(spin->progs.spin);
  const Setting patience("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "3");
  const Setting watchdog("/proc/sys/kernel/watchdog_thresh", "60");
  ask();
  EXPECT_EQ(stalls(), 0);
  KernelLog log;
  for (const uint64_t seconds : {17U, 5U}) {  // the kernel complains after 3 s, and may again 12 s later
    const pid_t child = stall(program, seconds);
    int status = -1;
    ASSERT_TRUE(eventually([&] { return waitpid(child, &status, WNOHANG) == child; }, 120));
    ASSERT_EQ(status, 0);
    log.read_on();
    EXPECT_EQ(stalls(), static_cast<int64_t>(log.periods.size()));
  }
  EXPECT_GE(log.periods.size(), 1U) << log.complaints << " complaints";
  // How often the kernel complains of one depends on how long it can be kept waiting; the test above is of that.
  std::cout << log.complaints << " complaints of " << log.periods.size() << " stalls\n";
  spin_bpf__destroy(spin);
}

}  // namespace
}  // namespace sonde::test
