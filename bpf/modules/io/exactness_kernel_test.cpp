// SPDX-License-Identifier: Apache-2.0
// The io probe under load and at the edges: nothing is lost, or it is said how much; latencies are what they were.
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "sonde/histogram.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/io_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("IoFentryExactnessTest.*", Trait::Equipment);
SONDE_TRAITS("IoExactnessTest.*", Trait::Preemption);

class IoExactnessTest : public IoTest {
 protected:
  void nothing_is_lost_under_load();
  void a_process_that_moves_itself_in_counts_from_its_next_call_on();
  void latency_includes_the_time_off_the_cpu();
};

class IoFentryExactnessTest : public IoExactnessTest {
 protected:
  const char* alternative() const override { return "fentry"; }
};

TEST_F(IoExactnessTest, NothingIsLostUnderLoad) { nothing_is_lost_under_load(); }
TEST_F(IoExactnessTest, AProcessThatMovesItselfInCountsFromItsNextCallOn) {
  a_process_that_moves_itself_in_counts_from_its_next_call_on();
}
TEST_F(IoExactnessTest, LatencyIncludesTheTimeOffTheCpu) { latency_includes_the_time_off_the_cpu(); }

TEST_F(IoFentryExactnessTest, LosesNothing) {
  nothing_is_lost_under_load();
  a_process_that_moves_itself_in_counts_from_its_next_call_on();
  latency_includes_the_time_off_the_cpu();
}

uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void wait_for(pid_t child) {
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

// Memory that parent and child share.
template <typename T>
T* shared(std::size_t n) {
  void* memory = mmap(nullptr, n * sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<T*>(memory);
}

void read_bytes(int file, uint64_t n) {
  char byte;
  for (uint64_t i = 0; i < n; i++) MUST(read(file, &byte, 1) == 1);
}

constexpr int kThreads = 8;

void many_reads(uint64_t per_thread) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; i++) {
    threads.emplace_back([per_thread] { read_bytes(scratch_file(per_thread), per_thread); });
  }
  for (auto& thread : threads) thread.join();
}

// Half the events with each strategy; collections every 20 ms, as hostile as a configuration can be.
void IoExactnessTest::nothing_is_lost_under_load() {
  start_over();
  const uint64_t per_thread = scaled(30'000'000) / 2 / kThreads;
  for (const Cleanup cleanup : {Cleanup::Clear, Cleanup::Keep}) {
    cleanup_ = cleanup;
    start_over();
    Cgroup& box = selected(cleanup == Cleanup::Keep ? "keep" : "clear", kIoStandard);
    const pid_t child = box.start([=] { many_reads(per_thread); });
    int status = -1, collections = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
      collect();
      collections++;
      usleep(20'000);
    }
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
    collect();
    uint64_t missed = 0;
    for (const auto& runs : engine().program_stats()) missed += runs.module == "io" ? runs.missed : 0;
    const uint64_t truth = per_thread * kThreads;
    EXPECT_EQ(static_cast<uint64_t>(bytes(box, "read")), truth);
    EXPECT_EQ(calls(box, "read"), truth);
    EXPECT_EQ(lost(), 0U);
    EXPECT_EQ(missed, 0U);
    EXPECT_GT(collections, 0);
  }
}

void IoExactnessTest::a_process_that_moves_itself_in_counts_from_its_next_call_on() {
  start_over();
  constexpr int kRounds = 20, kReads = 8000;
  Cgroup& box = selected("box", kIoStandard);
  for (int round = 0; round < kRounds; round++) {
    const pid_t child = fork();
    if (child == 0) {
      const int procs = open((box.directory() + "/cgroup.procs").c_str(), O_WRONLY), file = scratch_file(kReads);
      MUST(write(procs, "0", 1) == 1);
      read_bytes(file, kReads);
      _exit(0);
    }
    wait_for(child);
  }
  collect();
  EXPECT_EQ(calls(box, "read"), uint64_t{kRounds} * kReads);
  EXPECT_EQ(bytes(box, "read"), int64_t{kRounds} * kReads);
  // The write that moved it had begun outside.
  EXPECT_EQ(calls(box, "write"), 0U);
  EXPECT_EQ(losses("io", SONDE_LOSS_UNSEEN_ENTRY), uint64_t{kRounds});
  EXPECT_EQ(lost(), uint64_t{kRounds});
}

// In at the front, out at the back: the calls that moved it belong to neither and are counted as lost.
TEST_F(IoExactnessTest, ACallDuringWhichItsTaskMovedIsCountedNowhere) {
  constexpr int kReads = 100;
  Cgroup& first = selected("first", kIoStandard);
  Cgroup& second = selected("second", kIoStandard);
  Cgroup& unwatched = cgroup("unwatched");
  const std::string second_procs = second.directory() + "/cgroup.procs";
  const std::string outer_procs = unwatched.directory() + "/cgroup.procs";
  first.run([&] {
    const int to_second = open(second_procs.c_str(), O_WRONLY), out = open(outer_procs.c_str(), O_WRONLY);
    const int file = scratch_file(3 * kReads);
    read_bytes(file, kReads);
    MUST(write(to_second, "0", 1) == 1);
    read_bytes(file, kReads);
    MUST(write(out, "0", 1) == 1);
    read_bytes(file, kReads);
  });
  collect();
  EXPECT_EQ(bytes(first, "read"), kReads);
  EXPECT_EQ(bytes(second, "read"), kReads);
  EXPECT_EQ(everything(unwatched), 0U);
  EXPECT_EQ(calls(first, "write") + calls(second, "write"), 0U);
  EXPECT_EQ(bytes(first, "write") + bytes(second, "write"), 0);
  EXPECT_EQ(losses("io", SONDE_LOSS_MOVED), 2U);
  EXPECT_EQ(losses("io"), 2U);
}

TEST_F(IoExactnessTest, SamplingLeavesCountersExact) {
  constexpr int kCalls = 8000, kEvery = 8;
  Cgroup& box = selected("box", kIoStandard, kEvery);
  box.run([] {
    const int file = scratch_file(kCalls);
    char byte = 0;
    for (int i = 0; i < kCalls; i++) {  // in turn: a sampling that counts calls alone would see reads only
      MUST(pread(file, &byte, 1, i) == 1);
      MUST(pwrite(file, &byte, 1, i) == 1);
    }
    for (int i = 0; i < 13; i++) MUST(fsync(-1) < 0);
  });
  collect();
  EXPECT_EQ(bytes(box, "read"), kCalls);
  EXPECT_EQ(bytes(box, "write"), kCalls);
  EXPECT_EQ(calls(box, "read"), uint64_t{kCalls / kEvery});
  EXPECT_EQ(calls(box, "write"), uint64_t{kCalls / kEvery});
  EXPECT_EQ(errors(box, "fsync", "EBADF"), 13);
  EXPECT_EQ(losses("io"), 0U);
}

// One that reads a pipe whenever the test lets it.
class Reader {
 public:
  // `took`: where it says how long each call took, as it finds.
  explicit Reader(const Cgroup& box, uint64_t* took = nullptr) {
    EXPECT_EQ(pipe(pipes_), 0);
    child_ = box.start([this, took] {
      ::close(pipes_[1]);
      char byte;
      if (took) MUST(be_realtime(10));
      for (int i = 0;; ++i) {
        const uint64_t begin = now_ns();
        if (read(pipes_[0], &byte, 1) != 1) break;
        if (took) __atomic_store_n(&took[i], now_ns() - begin, __ATOMIC_RELEASE);
      }
    });
    EXPECT_TRUE(wait_until_blocked_in(child_, SYS_read));
  }
  void wake() {
    EXPECT_EQ(write(pipes_[1], "x", 1), 1);
    for (int unread = 1; unread;) EXPECT_EQ(ioctl(pipes_[0], FIONREAD, &unread), 0);
    EXPECT_TRUE(wait_until_blocked_in(child_, SYS_read)) << "the next one";
  }
  void end() {
    ::close(pipes_[1]);
    wait_for(child_);
    ::close(pipes_[0]);
  }

 private:
  int pipes_[2];
  pid_t child_;
};

// A reader that is kept waiting: it is off the CPU in the middle of its call. Its call takes longer than from when the test
// sees it wait to when the test lets it go, and less than the reader itself measures around it. Waits are as long as the
// middle of a bucket; where both bounds are in that bucket, as nearly always, the call has to be there.
void IoExactnessTest::latency_includes_the_time_off_the_cpu() {
  start_over();
  constexpr int kCalls = 40;
  auto* measured = shared<uint64_t>(kCalls);
  ASSERT_NE(measured, nullptr);
  Cgroup& box = selected("box", kIoStandard | IO_STREAM);
  Reader reader(box, measured);
  int certain = 0;
  uint64_t begin = now_ns();
  for (int i = 0; i < kCalls; i++) {
    // 38 to 130 ms: bucket k ends at 2^(k/4) units of 2^-30 s, and some time goes by before it is seen to wait.
    const auto end = begin + static_cast<uint64_t>(std::exp2((101 + i % 8 + 0.3) / 4) * 1e9 / (1 << 30));
    for (uint64_t now = begin; now < end; now = now_ns()) usleep(static_cast<useconds_t>((end - now) / 1000 + 1));
    const uint64_t least = now_ns() - begin;
    totals_ = {};
    reader.wake();  // it waits again
    begin = now_ns();
    collect();
    const auto counted = waits(box, "pipe", "read");
    ASSERT_EQ(counted.count, 1U);
    EXPECT_GE(counted.sum, least);
    EXPECT_LE(counted.sum, measured[i]);
    const auto bucket = static_cast<int>(sonde_hist_index(least));
    EXPECT_EQ(counted.buckets.count(static_cast<int>(sonde_hist_index(counted.sum))), 1U);
    if (static_cast<int>(sonde_hist_index(measured[i])) != bucket) continue;
    EXPECT_EQ(counted.buckets.begin()->first, bucket) << least << " to " << measured[i] << " ns";
    ++certain;
  }
  reader.end();
  RecordProperty("certain", certain);
  EXPECT_GE(certain, kCalls / 4) << "this shows little";
  EXPECT_EQ(lost(), 0U);
  munmap(measured, kCalls * sizeof(uint64_t));
}

TEST_F(IoExactnessTest, ACallThatBeganBeforeSelectionIsALossAndTheNextOneCounts) {
  Cgroup& box = cgroup("box");
  Reader reader(box);
  select(box, {{"io", IO_STREAM}});
  reader.wake();
  collect();
  EXPECT_EQ(waits(box, "pipe", "read").count, 0U);
  EXPECT_EQ(losses("io", SONDE_LOSS_UNSEEN_ENTRY), 1U);
  reader.wake();
  reader.end();
  collect();
  EXPECT_EQ(waits(box, "pipe", "read").count, 2U);  // the one that was woken, and the one that found the end
  EXPECT_EQ(stream_bytes(box, "pipe", "read"), 1);
  EXPECT_EQ(losses("io"), 1U);
}

TEST_F(IoExactnessTest, WhatWasRememberedBeforeAPauseIsForgotten) {
  Cgroup& box = cgroup("box");
  select(box, {{"io", IO_STREAM}});
  Reader reader(box);  // begins a call that is seen
  const uint64_t lost = losses("io");
  select(box, {});
  reader.wake();  // ends unseen; the next one begins unseen
  usleep(2'000'000);
  select(box, {{"io", IO_STREAM}});
  reader.wake();
  reader.end();
  collect();
  EXPECT_EQ(waits(box, "pipe", "read").count, 1U);  // the one that found the end
  EXPECT_LT(waits(box, "pipe", "read").sum, 1'900'000'000U);
  EXPECT_EQ(losses("io", SONDE_LOSS_UNSEEN_ENTRY) - lost, 1U);
}

#if defined(__x86_64__)
// i386: five reads of one byte from descriptor 9 by int 0x80, then exit(0).
// clang-format off: a line is an instruction or a header
constexpr unsigned char kReader32[] = {0x7f, 'E',  'L',  'F',  1,    1,    1,    0,    0,    0,
                                       0,    0,    0,    0,    0,    0,  // 32 bits, little endian
                                       2,    0,    3,    0,    1,    0,    0,    0,    0x54, 0x80,
                                       0x04, 0x08, 52,   0,    0,    0,  // executable, i386, entry 0x8048054
                                       0,    0,    0,    0,    0,    0,    0,    0,    52,   0,
                                       32,   0,    1,    0,    0,    0,    0,    0,    0,    0,  // one program header
                                       1,    0,    0,    0,    0,    0,    0,    0,    0x00, 0x80,
                                       0x04, 0x08, 0x00, 0x80, 0x04, 0x08,  // load all of it at 0x8048000
                                       0x84, 0,    0,    0,    0x84, 0,    0,    0,    5,    0,
                                       0,    0,    0,    0x10, 0,    0,  // 132 bytes, read and execute
                                       0xbe, 5,    0,    0,    0,        // mov esi, 5
                                       0xb8, 3,    0,    0,    0,        // mov eax, 3 (read)
                                       0xbb, 9,    0,    0,    0,        // mov ebx, 9
                                       0x89, 0xe1, 0x83, 0xe9, 0x40,     // mov ecx, esp; sub ecx, 64
                                       0xba, 1,    0,    0,    0,        // mov edx, 1
                                       0xcd, 0x80, 0x4e, 0x75, 0xe7,     // int 0x80; dec esi; jnz
                                       0xb8, 1,    0,    0,    0,    0x31, 0xdb, 0xcd, 0x80, 0x90,
                                       0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90};
// clang-format on

TEST_F(IoExactnessTest, CallsOf32BitProgramsAreNamedAsLost) {
  Cgroup& box = selected("box", kIoStandard);
  const pid_t child = box.start([] {
    // Well away from the 9 that it reads.
    const int program = fcntl(memfd_create("reader32", MFD_CLOEXEC), F_DUPFD_CLOEXEC, 100), file = scratch_file(100);
    MUST(write(program, kReader32, sizeof(kReader32)) == sizeof(kReader32) && dup2(file, 9) == 9);
    char* nothing[] = {nullptr};
    fexecve(program, nothing, nothing);
    _exit(errno == ENOEXEC ? 77 : 1);
  });
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "this kernel runs no 32-bit programs";
  EXPECT_EQ(status, 0);
  collect();
  EXPECT_EQ(calls(box, "read"), 0U);
  EXPECT_EQ(losses("io", IO_LOSS_COMPAT), 5U);
  EXPECT_EQ(lost(), 5U);
}
#endif

TEST_F(IoExactnessTest, ProcessesCountApartAndAddUp) {
  Cgroup& box = cgroup("box");
  select(box, {{"io", kIoStandard}}, 1, true);
  constexpr int kProcesses = 5;
  for (int i = 1; i <= kProcesses; i++)
    box.run([i] { read_bytes(scratch_file(1000), static_cast<uint64_t>(i) * 100); });
  collect();
  std::vector<int64_t> found;
  for (auto& [slot, values] : totals_.values) {
    if (slot != slot_of(box) && values["sonde.file.io|read"]) found.push_back(values["sonde.file.io|read"]);
  }
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, (std::vector<int64_t>{100, 200, 300, 400, 500}));
  EXPECT_EQ(bytes(box, "read"), 0);
}

}  // namespace
}  // namespace sonde::test
