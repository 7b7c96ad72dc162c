// SPDX-License-Identifier: Apache-2.0
// Functions of this very binary, called a known number of times by children in cgroups of their own.
#include "tests/kernel/support/function_test.h"
#include "tests/kernel/support/span_test.h"
#include "tests/kernel/support/traits.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#define TARGET extern "C" __attribute__((visibility("default"), noinline, noclone, used))

// The targets. Each does something that cannot be left out.
TARGET long sonde_target_write(int fd, const void* data, unsigned long size) {
  __asm__ volatile("" : : "r"(fd), "r"(data), "r"(size) : "memory");
  return static_cast<long>(size);
}
TARGET int sonde_target_may_fail(int value) {
  __asm__ volatile("" : "+r"(value)::"memory");
  return value;
}
TARGET void* sonde_target_may_be_null(void* value) {
  __asm__ volatile("" : "+r"(value)::"memory");
  return value;
}
TARGET void sonde_target_sleep(unsigned milliseconds) { usleep(milliseconds * 1000); }
TARGET unsigned sonde_target_recursion(unsigned depth) {
  __asm__ volatile("" : "+r"(depth)::"memory");
  const unsigned below = depth ? sonde_target_recursion(depth - 1) : 0;
  __asm__ volatile("" : : "r"(below) : "memory");
  return below + 1;
}
TARGET void sonde_target_jumps(jmp_buf* where) {
  __asm__ volatile("" : : "r"(where) : "memory");
  if (where) longjmp(*where, 1);
}
TARGET int sonde_target_hot(int value) {
  __asm__ volatile("" : "+r"(value)::"memory");
  return value + 1;
}

namespace sonde::test {
namespace {

// User functions need SYS_PTRACE, which the chart does not grant by default; tests/e2e/pod_test.py has them.
SONDE_TRAITS("FunctionTest.*", Trait::HostOnly);
SONDE_TRAITS("HotFunctionTest.*", Trait::HostOnly);

TEST_F(FunctionTest, CallsBytesAndErrorsAreExactAndOnlyOfWhoIsAsked) {
  auto& box = cgroup("asked");
  auto& other = cgroup("other");
  auto& bystander = cgroup("bystander");  // has another function measured
  HeldProcess process(box, {[] {
                        char data[64] = {};
                        for (unsigned long i = 0; i < 1000; ++i) sonde_target_write(1, data, i);
                        for (int i = 0; i < 300; ++i) sonde_target_may_fail(i % 3 ? i : -i);
                      }});
  HeldProcess unasked(other, {[] {
                        for (unsigned long i = 0; i < 500; ++i) sonde_target_write(1, nullptr, 7);
                      }});
  HeldProcess near(bystander, {[] {
                     for (unsigned long i = 0; i < 500; ++i) sonde_target_write(1, nullptr, 7);
                     sonde_target_may_fail(-5);
                   }});
  ask(box, {function("writes", "sonde_target_write", {"Calls", "Bytes"}, 3),
            function("fails", "sonde_target_may_fail", {"Calls", "Errors"})});
  select(other, {{"function", 0}});
  ask(bystander, {function("fails", "sonde_target_may_fail", {"Calls", "Errors"})});
  ASSERT_TRUE(attached(box, 2) && attached(bystander, 1)) << problems();
  process.step(0);
  unasked.step(0);
  near.step(0);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"writes"}), 1000);
  EXPECT_EQ(total(box, "sonde.function.bytes", {"writes"}), 999 * 500);
  EXPECT_EQ(total(box, "sonde.function.calls", {"fails"}), 300);
  EXPECT_EQ(total(box, "sonde.function.errors", {"fails"}), 99) << "0 is none of the 100 multiples of three";
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(total(bystander, "sonde.function.calls", {"fails"}), 1);
  EXPECT_EQ(total(bystander, "sonde.function.errors", {"fails"}), 1);
  EXPECT_EQ(total(bystander, "sonde.function.calls", {"writes"}), 0);
  EXPECT_EQ(losses("function"), 0U);
}

TEST_F(FunctionTest, DurationsAreThoseOfTheCallsRecursionIncluded) {
  auto& box = cgroup("box");
  HeldProcess process(box, {[] {
                        for (int i = 0; i < 20; ++i) sonde_target_sleep(5);
                        for (int i = 0; i < 10; ++i) sonde_target_recursion(9);
                      }});
  ask(box, {function("sleeps", "sonde_target_sleep", {"Calls", "Duration"}),
            function("recursion", "sonde_target_recursion", {"Calls", "Duration"})});
  ASSERT_TRUE(attached(box, 2)) << problems();
  process.step(0);
  collect();
  const auto sleeps = histogram(box, "sonde.function.duration", {"sleeps"});
  EXPECT_EQ(sleeps.count, 20U);
  EXPECT_GE(sleeps.sum, 20 * 5'000'000U);
  for (const auto& [bucket, count] : sleeps.buckets) EXPECT_GE(bucket, bucket_of(5'000'000)) << count;
  EXPECT_EQ(total(box, "sonde.function.calls", {"recursion"}), 100);
  EXPECT_EQ(histogram(box, "sonde.function.duration", {"recursion"}).count, 100U);
  EXPECT_EQ(losses("function"), 0U);
}

TEST_F(FunctionTest, ASlowCallAndOneThatFailsAreSpansAndOthersAreNone) {
  Spans spans(engine().module_object("function"));
  auto& box = cgroup("box");
  auto& unasked = cgroup("unasked");
  const std::function<void()> work = [] {
    for (int i = 0; i < 5; ++i) sonde_target_sleep(0);
    sonde_target_sleep(1000);
    for (int i = 0; i < 5; ++i) sonde_target_may_fail(i);
    sonde_target_may_fail(-5);
  };
  HeldProcess process(box, {work});
  HeldProcess other(unasked, {work});
  const std::vector<FunctionRequest> both = {function("sleeps", "sonde_target_sleep", {"Duration"}),
                                             function("fails", "sonde_target_may_fail", {"Duration", "Errors"})};
  ask(box, both);
  ask(unasked, both);
  ASSERT_TRUE(attached(box, 2) && attached(unasked, 2)) << problems();
  spans.ask(slot_of(box), {{SONDE_SPAN_FUNCTION, 800'000}}, {SONDE_SPAN_FUNCTION});
  other.step(0);
  EXPECT_EQ(spans.take().size(), 0U);
  process.step(0);
  const auto sent = spans.take();
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_GE(duration_of(sent[0]), 1'000'000'000U);
  EXPECT_EQ(sent[0].error, 0);
  EXPECT_LT(duration_of(sent[1]), 800'000'000U);
  EXPECT_EQ(sent[1].error, 5);
  EXPECT_NE(sent[0].detail, sent[1].detail) << "two functions";
  for (const sonde_span& span : sent) {
    EXPECT_EQ(span.operation, static_cast<uint32_t>(SONDE_SPAN_FUNCTION));
    EXPECT_EQ(span.slot, slot_of(box));
    EXPECT_STRNE(span.comm, "");
  }
}

TEST_F(FunctionTest, ACallThatIsLeftByLongjmpCountsAndSpoilsNoLaterOne) {
  auto& box = cgroup("box");
  HeldProcess process(box, {[] {
                        static jmp_buf where;
                        static int i;  // in memory: longjmp brings registers back
                        for (i = 0; i < 50; ++i) {
                          if (setjmp(where) == 0) sonde_target_jumps(&where);
                          sonde_target_jumps(nullptr);
                        }
                      }});
  ask(box, {function("jumps", "sonde_target_jumps", {"Calls", "Duration"})});
  ASSERT_TRUE(attached(box, 1)) << problems();
  process.step(0);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"jumps"}), 100);
  EXPECT_EQ(histogram(box, "sonde.function.duration", {"jumps"}).count, 50U);
}

TEST_F(FunctionTest, ThreadsCallAtOnce) {
  auto& box = cgroup("box");
  const uint64_t calls = scaled(20'000);
  HeldProcess process(box, {[=] {
                        std::vector<std::thread> threads;
                        for (int t = 0; t < 4; ++t) {
                          threads.emplace_back([=] {
                            for (uint64_t i = 0; i < calls; ++i) sonde_target_may_fail(-1);
                          });
                        }
                        for (auto& thread : threads) thread.join();
                      }});
  ask(box, {function("fails", "sonde_target_may_fail", {"Calls", "Errors", "Duration"})});
  ASSERT_TRUE(attached(box, 1)) << problems();
  process.step(0);
  collect();
  const auto lost = losses("function");
  EXPECT_EQ(total(box, "sonde.function.calls", {"fails"}), static_cast<int64_t>(4 * calls));
  EXPECT_EQ(total(box, "sonde.function.errors", {"fails"}) + static_cast<int64_t>(lost),
            static_cast<int64_t>(4 * calls));
  EXPECT_EQ(histogram(box, "sonde.function.duration", {"fails"}).count + lost, 4 * calls);
  EXPECT_EQ(lost, 0U);
}

TEST_F(FunctionTest, OtherRulesForErrors) {
  auto& box = cgroup("box");
  HeldProcess process(box, {[] {
                        int there = 0;
                        for (int i = 0; i < 40; ++i) sonde_target_may_be_null(i % 4 ? &there : nullptr);
                        for (int i = 0; i < 30; ++i) sonde_target_may_fail(i % 2 ? 22 : 0);
                      }});
  auto null = function("null", "sonde_target_may_be_null", {"Errors"});
  null.errors_when = "Null";
  auto code = function("code", "sonde_target_may_fail", {"Errors"});
  code.errors_when = "NonZero";
  ask(box, {null, code});
  ASSERT_TRUE(attached(box, 2)) << problems();
  process.step(0);
  collect();
  EXPECT_EQ(total(box, "sonde.function.errors", {"null"}), 10);
  EXPECT_EQ(total(box, "sonde.function.errors", {"code"}), 15);
  EXPECT_EQ(total(box, "sonde.function.calls", {"null"}), 0) << "not asked for";
}

TEST_F(FunctionTest, OneMissingSymbolDisturbsNothingElseAndIsNamed) {
  auto& box = cgroup("box");
  HeldProcess process(box, {[] {
                        for (int i = 0; i < 11; ++i) sonde_target_may_fail(0);
                      }});
  auto no_file = function("no-file", "whatever", {"Calls"});
  no_file.path = "/nowhere/program";
  ask(box,
      {function("here", "sonde_target_may_fail", {"Calls"}), function("gone", "no_such_symbol", {"Calls"}), no_file});
  ASSERT_TRUE(attached(box, 1)) << problems();
  process.step(0);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"here"}), 11);
  EXPECT_EQ(report("here").refusal, Refusal::None) << report("here").message;
  EXPECT_EQ(report("gone").refusal, Refusal::SymbolNotFound);
  EXPECT_NE(report("gone").message.find("no_such_symbol"), std::string::npos);
  EXPECT_EQ(report("no-file").refusal, Refusal::FileNotFound);
}

TEST_F(FunctionTest, FilesThatAreNoProgramsOfThisMachineAreNamed) {
  auto& box = cgroup("box");
  TemporaryFiles files;
  const std::string broken = files.add("broken", "\177ELF this is not");
  std::string foreign = own_header();
  foreign[18] = 8;  // MIPS
  const std::string mips = files.add("mips", foreign);
  const std::string fifo = files.directory() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  HeldProcess process(box, {[] { sonde_target_may_fail(0); }});
  std::vector<FunctionRequest> requests = {function("here", "sonde_target_may_fail", {"Calls"})};
  for (const auto& [name, path] : {std::pair("broken", broken), {"mips", mips}, {"fifo", fifo}}) {
    requests.push_back(function(name, "main", {"Calls"}));
    requests.back().path = path;
  }
  ask(box, requests);
  ASSERT_TRUE(attached(box, 1)) << problems();
  process.step(0);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"here"}), 1);
  EXPECT_EQ(report("broken").refusal, Refusal::BadElf) << report("broken").message;
  EXPECT_EQ(report("mips").refusal, Refusal::WrongArchitecture) << report("mips").message;
  EXPECT_EQ(report("fifo").refusal, Refusal::FileNotFound) << report("fifo").message;
}

TEST_F(FunctionTest, ANewContainerIsAttachedAndAnEndedOneDetached) {
  auto& first = cgroup("first");
  HeldProcess one(first, {[] { sonde_target_may_fail(0); }});
  ask(first, {function("here", "sonde_target_may_fail", {"Calls"})});
  ASSERT_TRUE(attached(first, 1)) << problems();
  auto& second = cgroup("second");
  ask(second, {function("here", "sonde_target_may_fail", {"Calls"})});  // no process is in it yet
  HeldProcess two(second, {[] {
                    for (int i = 0; i < 5; ++i) sonde_target_may_fail(0);
                  }});
  ASSERT_TRUE(attached(second, 1)) << problems();
  EXPECT_EQ(functions().attached(), 1U) << "the same file is attached once";
  one.step(0);
  two.step(0);
  collect();
  EXPECT_EQ(total(first, "sonde.function.calls", {"here"}), 1);
  EXPECT_EQ(total(second, "sonde.function.calls", {"here"}), 5);
  ask(first, {});
  EXPECT_EQ(functions().attached(), 1U);
  ask(second, {});
  EXPECT_TRUE(eventually([&] { return functions().attached() == 0; }));
}

class HotFunctionTest : public FunctionTest {
  // Few, for a machine that is busy with other things.
  double most_per_second() const override { return 5'000; }
  uint64_t hot_rest_ns() const override { return 200'000'000; }
};

TEST_F(HotFunctionTest, AFunctionThatIsCalledTooOftenIsLeftAloneForAWhileAndTheOthersStay) {
  auto& box = cgroup("box");
  HeldProcess process(box, {[] {
                              const uint64_t until = monotonic_ns() + 20'000'000'000;
                              for (int value = 0; monotonic_ns() < until;) {
                                for (int i = 0; i < 1000; ++i) value = sonde_target_hot(value);
                                if (access("/dev/shm/sonde-function-cold", F_OK) == 0) break;
                              }
                            },
                            [] {
                              for (int i = 0; i < 7; ++i) sonde_target_may_fail(0);
                            },
                            [] {
                              for (int i = 0; i < 13; ++i) sonde_target_hot(i);
                            }});
  unlink("/dev/shm/sonde-function-cold");
  ask(box, {function("hot", "sonde_target_hot", {"Calls"}), function("cold", "sonde_target_may_fail", {"Calls"})});
  ASSERT_TRUE(attached(box, 2)) << problems();
  process.begin(0);
  EXPECT_TRUE(eventually([&] { return report("hot").message.find("calls per second") != std::string::npos; }))
      << problems();
  std::ofstream("/dev/shm/sonde-function-cold") << "now";
  process.finish();
  process.step(1);
  unlink("/dev/shm/sonde-function-cold");
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"cold"}), 7);
  // Tried again, and found calm: counted again. The first try may still see what was hot before.
  EXPECT_TRUE(eventually([&] {
    if (report("hot").attached != 1) return false;
    const auto before = total(box, "sonde.function.calls", {"hot"});
    process.step(2);
    collect();
    return total(box, "sonde.function.calls", {"hot"}) == before + 13;
  })) << problems();
}

TEST_F(FunctionTest, TwoHundredFunctionsInTwentyContainersAttachSoon) {
  std::vector<std::unique_ptr<HeldProcess>> processes;
  std::vector<FunctionRequest> requests;
  for (int i = 0; i < 200; ++i) {  // other names for the same few: each is attached by itself
    static const char* const kSymbols[] = {"sonde_target_write", "sonde_target_may_fail", "sonde_target_may_be_null",
                                           "sonde_target_sleep", "sonde_target_recursion"};
    requests.push_back(function("f" + std::to_string(i), kSymbols[i % 5], {"Calls"}));
  }
  for (int i = 0; i < 20; ++i) {
    const std::vector<std::function<void()>> nothing = {[] {}};
    processes.push_back(std::make_unique<HeldProcess>(cgroup("c" + std::to_string(i)), nothing));
  }
  const uint64_t begin = monotonic_ns();
  ask_all(requests);
  const bool done = eventually([&] { return report("f199").attached == 20 && functions().attached() == 200; });
  const double seconds = static_cast<double>(monotonic_ns() - begin) / 1e9;
  EXPECT_TRUE(done) << functions().attached() << " " << problems();
  RecordProperty("seconds", std::to_string(seconds));
  printf("200 functions in 20 containers: attached in %.2f s\n", seconds);
  EXPECT_LT(seconds, 30);
}

}  // namespace
}  // namespace sonde::test
