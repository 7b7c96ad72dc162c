// SPDX-License-Identifier: Apache-2.0
// Functions of the kernel and of its modules, called a known number of times through system calls.
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "tests/kernel/support/function_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("FunctionInKernelTest.*", Trait::PodView, Trait::PodEachKernel, Trait::Equipment);

class FunctionInKernelTest : public FunctionTest {
 protected:
  static FunctionRequest in_kernel(const std::string& name, const std::string& symbol, std::vector<std::string> measure,
                                   int bytes_argument = 0) {
    FunctionRequest request = function(name, symbol, std::move(measure), bytes_argument);
    request.type = "Kernel";
    request.path = "";
    return request;
  }
  bool possible() { return engine().features().kprobe || engine().features().fentry; }
  // fentry misses calls where the kernel is preemptible.
  bool by_fentry() {
    return engine().features().fentry && (!engine().features().preemptible || !engine().features().kprobe);
  }
  // kprobes are perf events.
  bool closed_to_the_pod(const std::string& name) {
    if (!Pod::has_no_perf_events()) return false;
    EXPECT_TRUE(eventually([&] {
      return report(name).message.find("kernel.perf_event_paranoid") != std::string::npos;
    })) << problems();
    EXPECT_EQ(report(name).attached, 0U);
    return true;
  }
};

void sync_file(int times, int broken = 0) {
  const TemporaryFiles files;
  const Fd fd(open(files.add("file", "x").c_str(), O_WRONLY));
  for (int i = 0; i < times; ++i) (void)!fsync(fd.get());
  int ends[2];
  if (pipe(ends) != 0) return;
  const Fd in(ends[0]), out(ends[1]);
  for (int i = 0; i < broken; ++i) (void)!fsync(out.get());  // EINVAL
}

TEST_F(FunctionInKernelTest, CallsErrorsAndDurationsAreExactAndOnlyOfWhoIsAsked) {
  if (!possible()) GTEST_SKIP() << "this kernel supports neither kprobes nor fentry";
  auto& box = cgroup("box");
  auto& other = cgroup("other");
  auto& bystander = cgroup("bystander");  // asks for another function
  HeldProcess process(box, {[] { sync_file(25, 11); }});
  HeldProcess elsewhere(other, {[] { sync_file(7); }});
  HeldProcess near(bystander, {[] { sync_file(9); }});
  ask(box, {in_kernel("fsyncs", "vfs_fsync_range", {"Calls", "Errors", "Duration"})});
  ask(bystander, {in_kernel("allocations", "vfs_fallocate", {"Calls"})});
  if (!by_fentry() && closed_to_the_pod("fsyncs")) return;
  ASSERT_TRUE(attached(box, 1) && attached(bystander, 1)) << problems();
  EXPECT_EQ(report("fsyncs").hook, by_fentry() ? "fentry and fexit" : "kprobe and kretprobe")
      << report("fsyncs").message;
  EXPECT_EQ(report("allocations").hook, by_fentry() ? "fentry" : "kprobe");
  process.step(0);
  elsewhere.step(0);
  near.step(0);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"fsyncs"}), 36);
  EXPECT_EQ(total(box, "sonde.function.errors", {"fsyncs"}), 11);
  EXPECT_EQ(histogram(box, "sonde.function.duration", {"fsyncs"}).count, 36U);
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(everything(bystander), 0U);
  EXPECT_EQ(losses("function"), 0U);
}

TEST_F(FunctionInKernelTest, BytesAreTheArgumentAsItIsDeclared) {
  if (!possible()) GTEST_SKIP() << "this kernel supports neither kprobes nor fentry";
  auto& box = cgroup("box");
  HeldProcess process(box, {[] {
                        const TemporaryFiles files;
                        const Fd fd(open(files.add("file", "x").c_str(), O_WRONLY));
                        for (int i = 1; i <= 20; ++i) (void)!fallocate(fd.get(), 0, 0, 4096 * i);
                      }});
  ask(box, {in_kernel("allocations", "vfs_fallocate", {"Calls", "Bytes", "Errors"}, 4),
            in_kernel("mode", "vfs_fallocate", {"Bytes"}, 2), in_kernel("five", "vfs_fallocate", {"Bytes"}, 5),
            in_kernel("pointer", "vfs_fallocate", {"Bytes"}, 1), in_kernel("nothing", "fput", {"Errors"})});
  if (!by_fentry() && closed_to_the_pod("allocations")) return;
  ASSERT_TRUE(attached(box, 2)) << problems();
  process.step(0);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"allocations"}), 20);
  EXPECT_EQ(total(box, "sonde.function.bytes", {"allocations"}), 4096 * 210);
  EXPECT_EQ(total(box, "sonde.function.errors", {"allocations"}), 0);
  EXPECT_EQ(total(box, "sonde.function.bytes", {"mode"}), 0) << "an int, whose register may have more in it";
  EXPECT_EQ(report("five").refusal, Refusal::Unsupported) << problems();
  EXPECT_NE(report("five").message.find("only 4 arguments"), std::string::npos) << report("five").message;
  EXPECT_EQ(report("pointer").refusal, Refusal::Unsupported) << problems();
  EXPECT_EQ(report("nothing").refusal, Refusal::Unsupported) << problems();
  EXPECT_EQ(losses("function"), 0U);
}

TEST_F(FunctionInKernelTest, CallsAtOnceAreEachMeasured) {
  if (!possible()) GTEST_SKIP() << "this kernel supports neither kprobes nor fentry";
  auto& box = cgroup("box");
  const uint64_t calls = scaled(20'000);
  HeldProcess process(box, {[=] {
                        int ends[2];
                        if (pipe(ends) != 0) return;
                        std::vector<std::thread> threads;
                        for (int t = 0; t < 4; ++t) {
                          threads.emplace_back([=] {
                            for (uint64_t i = 0; i < calls; ++i) (void)!fsync(ends[1]);
                          });
                        }
                        for (auto& thread : threads) thread.join();
                      }});
  ask(box, {in_kernel("fsyncs", "vfs_fsync_range", {"Calls", "Errors", "Duration"})});
  if (!by_fentry() && closed_to_the_pod("fsyncs")) return;
  ASSERT_TRUE(attached(box, 1)) << problems();
  process.step(0);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"fsyncs"}), static_cast<int64_t>(4 * calls));
  EXPECT_EQ(total(box, "sonde.function.errors", {"fsyncs"}), static_cast<int64_t>(4 * calls));
  EXPECT_EQ(histogram(box, "sonde.function.duration", {"fsyncs"}).count, 4 * calls);
  EXPECT_EQ(losses("function"), 0U);
  EXPECT_EQ(functions().missed(), 0U);
}

TEST_F(FunctionInKernelTest, WhatIsNotMeasuredHasAReason) {
  auto& box = cgroup("box");
  ask(box, {in_kernel("denied", "_raw_spin_lock", {"Calls"}), in_kernel("ends", "do_exit", {"Duration"}),
            in_kernel("missing", "vfs_fsync_rnage", {"Calls"}), in_kernel("no-module", "no_such_module:f", {"Calls"})});
  ASSERT_TRUE(eventually([&] { return report("no-module").refusal != Refusal::None; })) << problems();
  EXPECT_EQ(report("denied").refusal, Refusal::Denied);
  EXPECT_EQ(report("ends").refusal, Refusal::Denied);
  EXPECT_EQ(report("denied").attached + report("ends").attached, 0U);
  EXPECT_EQ(functions().attached(), 0U);
  if (!possible()) {
    EXPECT_EQ(report("missing").refusal, Refusal::NoKernelProbes) << report("missing").message;
    return;
  }
  EXPECT_EQ(report("missing").refusal, Refusal::SymbolNotFound) << problems();
  EXPECT_NE(report("missing").message.find("did you mean vfs_fsync_range?"), std::string::npos)
      << report("missing").message;
  EXPECT_EQ(report("no-module").refusal, Refusal::SymbolNotFound) << problems();
  EXPECT_NE(report("no-module").message.find("no_such_module is not loaded"), std::string::npos)
      << report("no-module").message;
}

// Where the test machine keeps its modules.
constexpr const char* kLoop = "/modules/loop.ko";

bool unload_loop() { return syscall(SYS_delete_module, "loop", O_NONBLOCK) == 0; }
bool load_loop() {
  const Fd file(open(kLoop, O_RDONLY));
  return syscall(SYS_finit_module, file.get(), "", 0) == 0;
}

TEST_F(FunctionInKernelTest, AFunctionOfAModuleFollowsItsUnloadingAndLoading) {
  if (access(kLoop, R_OK) != 0 || !engine().features().kprobe) GTEST_SKIP() << "there is no module to unload here";
  const auto work = [] {
    const Fd control(open("/dev/loop-control", O_RDWR));
    for (int i = 0; i < 20; ++i) (void)!ioctl(control.get(), LOOP_CTL_GET_FREE);
    for (int i = 0; i < 6; ++i) (void)!ioctl(control.get(), LOOP_CTL_GET_FREE + 100);
  };
  auto& box = cgroup("box");
  auto& other = cgroup("other");
  HeldProcess process(box, {work}), elsewhere(other, {work});
  ASSERT_TRUE(unload_loop()) << strerror(errno);
  ask(box, {in_kernel("ioctls", "loop:loop_control_ioctl", {"Calls", "Errors", "Duration"}),
            in_kernel("unprefixed", "loop_control_ioctl", {"Calls"})});
  ASSERT_TRUE(eventually([&] { return report("ioctls").refusal == Refusal::SymbolNotFound; })) << problems();
  EXPECT_NE(report("ioctls").message.find("the kernel module loop is not loaded"), std::string::npos) << problems();
  for (int64_t round = 1; round <= 2; ++round) {
    ASSERT_TRUE(load_loop()) << strerror(errno);
    if (closed_to_the_pod("ioctls")) return;
    ASSERT_TRUE(attached(box, 2)) << problems();
    EXPECT_EQ(report("ioctls").hook, "kprobe and kretprobe");
    process.step(0);
    elsewhere.step(0);
    collect();
    EXPECT_EQ(total(box, "sonde.function.calls", {"ioctls"}), 26 * round);
    EXPECT_EQ(total(box, "sonde.function.errors", {"ioctls"}), 6 * round);
    EXPECT_EQ(total(box, "sonde.function.calls", {"unprefixed"}), 26 * round);
    EXPECT_TRUE(unload_loop()) << "measuring must not keep a module: " << strerror(errno);
    EXPECT_TRUE(eventually([&] { return report("ioctls").attached + report("unprefixed").attached == 0; }))
        << problems();
  }
  EXPECT_TRUE(load_loop());
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(losses("function"), 0U);
}

}  // namespace
}  // namespace sonde::test
