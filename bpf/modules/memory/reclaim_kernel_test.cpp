// SPDX-License-Identifier: Apache-2.0
// The memory probe where memory is short: stalls, what reclaim gets, whom the kernel kills, what is swapped. Against the
// kernel's own counts of the same cgroup where the memory controller is in the v2 tree.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/memory_test.h"
#include "tests/kernel/support/span_test.h"

namespace sonde::test {
namespace {

constexpr uint8_t kReclaim = MEMORY_FLAG_STALL | MEMORY_FLAG_RECLAIM;  // without pressure, which others' work moves
constexpr const char* kNoController = "there is no memory controller, neither in the v2 tree nor in a tree of its own";

TEST_F(MemoryTest, WhoHitsItsLimitStallsAndReclaimsAndNobodyElse) {
  auto& tight = cgroup("tight");
  auto& roomy = cgroup("roomy");
  auto& unwatched = cgroup("unwatched");
  MemoryLimit limit(tight, 16 * kMiB);
  MemoryLimit limit_of_unwatched(unwatched, 16 * kMiB);
  if (!limit.usable()) GTEST_SKIP() << kNoController;
  select(tight, {{"memory", kReclaim}});
  select(roomy, {{"memory", kReclaim}});
  select(unwatched, {});
  ColdFile file(64 * kMiB);
  const int64_t scanned_before = limit.stat("pgscan"), got_before = limit.stat("pgsteal");
  tight.run([&] {
    limit.enter();
    file.read_through();
  });
  collect();
  const uint64_t stalled = stalls(tight);
  EXPECT_GT(stalled, 0U);
  EXPECT_GT(histogram(tight, "sonde.memory.reclaim.stall.duration").sum, 0U);
  EXPECT_GT(reclaimed(tight, "memcg"), 30 * kMiB) << "of 64 MiB some 16 may stay";
  EXPECT_LT(reclaimed(tight, "memcg"), 80 * kMiB);
  EXPECT_GE(scanned(tight, "memcg"), reclaimed(tight, "memcg"));
  EXPECT_EQ(scanned(tight, "direct") + scanned(tight, "kswapd"), 0);
  if (limit.v2() && limit.stat("pgscan") >= 0) {
    EXPECT_EQ(scanned(tight, "memcg"), (limit.stat("pgscan") - scanned_before) * kPage);
    EXPECT_EQ(reclaimed(tight, "memcg"), (limit.stat("pgsteal") - got_before) * kPage);
  }
  file.drop();
  unwatched.run([&] {
    limit_of_unwatched.enter();
    file.read_through();
  });
  file.drop();
  roomy.run([&] { file.read_through(); });
  collect();
  EXPECT_EQ(everything(roomy), 0U);
  EXPECT_EQ(everything(unwatched), 0U);
  EXPECT_EQ(stalls(tight), stalled);
}

TEST_F(MemoryTest, StallsAreSpansOfWhoeverIsAskedForThem) {
  auto& asked = cgroup("asked");
  auto& unasked = cgroup("unasked");
  MemoryLimit limit(asked, 16 * kMiB);
  MemoryLimit limit_of_unasked(unasked, 16 * kMiB);
  if (!limit.usable()) GTEST_SKIP() << kNoController;
  Spans spans(engine().module_object("memory"));
  select(asked, {{"memory", MEMORY_FLAG_STALL}});
  select(unasked, {{"memory", MEMORY_FLAG_STALL}});
  spans.ask(slot_of(asked), {{SONDE_SPAN_DIRECT_RECLAIM, 1}});
  ColdFile file(32 * kMiB);
  unasked.run([&] {
    limit_of_unasked.enter();
    file.read_through();
  });
  file.drop();
  asked.run([&] {
    limit.enter();
    file.read_through();
  });
  collect();
  EXPECT_GT(stalls(unasked), 0U);
  const auto sent = spans.take();
  EXPECT_EQ(sent.size() + losses("memory", SONDE_LOSS_SPAN), stalls(asked));
  uint64_t sum = 0;
  for (const sonde_span& span : sent) {
    EXPECT_EQ(span.operation, static_cast<uint32_t>(SONDE_SPAN_DIRECT_RECLAIM));
    EXPECT_EQ(span.slot, slot_of(asked));
    EXPECT_STRNE(span.comm, "");
    sum += duration_of(span);
  }
  if (losses("memory", SONDE_LOSS_SPAN) == 0) {
    EXPECT_EQ(sum, histogram(asked, "sonde.memory.reclaim.stall.duration").sum);
  }
}

// It says which limit was hit, and needs no token.
TEST_F(MemoryTest, AKillIsASpan) {
  auto& victim = cgroup("victim");
  MemoryLimit limit(victim, 16 * kMiB);
  if (!limit.usable()) GTEST_SKIP() << kNoController;
  Spans spans(engine().module_object("memory"));
  select(victim, {{"memory", MEMORY_FLAG_OOM}});
  spans.give(SONDE_SLOT_NODE, 0);
  for (const bool asked : {false, true}) {
    if (asked) spans.ask(slot_of(victim), {{SONDE_SPAN_OOM_KILL, 1}}, {}, 0);
    const pid_t child = victim.start([&] {
      prctl(PR_SET_NAME, "greedy");
      limit.enter();
      touch(anonymous(64 * kMiB), 64 * kMiB);
    });
    EXPECT_EQ(waitpid(child, nullptr, 0), child);
    const auto sent = spans.take();
    ASSERT_EQ(sent.size(), asked ? 1U : 0U);
    if (!asked) continue;
    EXPECT_EQ(sent[0].operation, static_cast<uint32_t>(SONDE_SPAN_OOM_KILL));
    EXPECT_EQ(sent[0].slot, slot_of(victim));
    EXPECT_EQ(sent[0].detail, static_cast<uint32_t>(SONDE_SPAN_OOM_CGROUP));
    EXPECT_STREQ(sent[0].comm, "greedy");
    EXPECT_EQ(duration_of(sent[0]), 0U);
    if (engine().features().first_pid_namespace) {
      EXPECT_EQ(sent[0].tgid, static_cast<uint32_t>(child));
    }
  }
  collect();
  EXPECT_EQ(kills(victim, "memcg"), 2);
}

TEST_F(MemoryTest, TasksInReclaimAreThereWhileTheyAre) {
  auto& box = cgroup("reclaims");
  auto& other = cgroup("other");
  MemoryLimit limit(box, 16 * kMiB);
  if (!limit.usable()) GTEST_SKIP() << kNoController;
  select(box, {{"memory", MEMORY_FLAG_STALL}});
  select(other, {{"memory", MEMORY_FLAG_STALL}});
  HeldProcess sleeps(other, {[] {}});
  ColdFile file(64 * kMiB);
  const pid_t child = box.start([&] {
    limit.enter();
    for (;;) file.read_through();
  });
  int64_t most = 0;
  for (int i = 0; i < 20'000 && most == 0; ++i) {
    collect(true);
    most = total(box, "sonde.memory.reclaim.tasks");
    EXPECT_EQ(total(other, "sonde.memory.reclaim.tasks"), 0);
  }
  EXPECT_EQ(most, 1);
  kill(child, SIGKILL);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  collect(true);
  EXPECT_EQ(total(box, "sonde.memory.reclaim.tasks"), 0);
}

TEST_F(MemoryTest, AKillAtTheLimitIsTheVictimsAndOfItsCgroup) {
  auto& victim = cgroup("victim");
  auto& bystander = cgroup("bystander");
  MemoryLimit limit(victim, 16 * kMiB);
  if (!limit.usable()) GTEST_SKIP() << kNoController;
  select(victim, {{"memory", MEMORY_FLAG_OOM}});
  select(bystander, {{"memory", MEMORY_FLAG_OOM}});
  HeldProcess quiet(bystander, {[] { touch(anonymous(4 * kMiB), 4 * kMiB); }});
  quiet.step(0);
  for (int64_t i = 1; i <= 2; ++i) {
    const pid_t child = victim.start([&] {
      limit.enter();
      touch(anonymous(64 * kMiB), 64 * kMiB);
    });
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    collect();
    EXPECT_EQ(kills(victim, "memcg"), i);
    EXPECT_EQ(kills(victim, "memcg"), limit.kills());
  }
  EXPECT_EQ(kills(victim, "global"), 0);
  EXPECT_EQ(kills(bystander, "memcg") + kills(bystander, "global"), 0);
  // Killed, but not for want of memory.
  const pid_t child = victim.start([] { pause(); });
  kill(child, SIGKILL);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  collect();
  EXPECT_EQ(kills(victim, "memcg") + kills(victim, "global"), 2);
}

TEST_F(MemoryTest, AKillForTheWholeMachineIsGlobal) {
  if (!machine_is_ours()) GTEST_SKIP() << "it would kill a process of this machine: only in a virtual one";
  auto& victim = cgroup("victim");
  select(victim, {{"memory", MEMORY_FLAG_OOM}});
  const pid_t child = victim.start([] {
    MUST(write_to("/proc/self/oom_score_adj", "1000"));
    touch(anonymous(64 * kMiB), 64 * kMiB);
    pause();
  });
  const int64_t before = number_in("/proc/vmstat", "oom_kill");
  int status = 0;
  for (int i = 0; i < 600 && waitpid(child, &status, WNOHANG) == 0; ++i) {
    if (i % 20 == 10) {
      ASSERT_TRUE(write_to("/proc/sysrq-trigger", "f"));
    }
    usleep(50'000);
  }
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  collect();
  EXPECT_GE(kills(victim, "global"), 1);
  EXPECT_EQ(kills(victim, "memcg"), 0);
  EXPECT_GE(number_in("/proc/vmstat", "oom_kill") - before, 1);
}

TEST_F(MemoryTest, WhatIsSwappedIsTheOwners) {
  if (!machine_is_ours()) GTEST_SKIP() << "it would change this machine's swap: only in a virtual one";
  auto& box = cgroup("swaps");
  auto& other = cgroup("other");
  MemoryLimit limit(box, 16 * kMiB, true);
  if (!limit.usable()) GTEST_SKIP() << kNoController;
  SwapFile swap(96 * kMiB);
  if (!swap.on()) GTEST_SKIP() << "the kernel takes no swap file in /tmp";
  select(box, {{"memory", MEMORY_FLAG_SWAP}});
  select(other, {{"memory", MEMORY_FLAG_SWAP}});
  const int64_t out_before = number_in("/proc/vmstat", "pswpout"), in_before = number_in("/proc/vmstat", "pswpin");
  ColdFile file(16 * kMiB);
  HeldProcess neighbour(other, {[&] { file.read_through(); }});
  box.run([&] {
    limit.enter();
    spare_from_kills();
    char* memory = anonymous(48 * kMiB);
    touch(memory, 48 * kMiB);
    touch(memory, 48 * kMiB);
  });
  neighbour.step(0);
  collect();
  const int64_t out = total(box, "sonde.memory.swap.io", {"write"}), in = total(box, "sonde.memory.swap.io", {"read"});
  EXPECT_GE(out, 30 * kMiB);
  EXPECT_GE(in, 20 * kMiB);
  EXPECT_EQ(out, (number_in("/proc/vmstat", "pswpout") - out_before) * kPage);
  EXPECT_EQ(in, (number_in("/proc/vmstat", "pswpin") - in_before) * kPage);
  EXPECT_EQ(everything(other), 0U);
}

}  // namespace
}  // namespace sonde::test
