// SPDX-License-Identifier: Apache-2.0
// Processes that change their cgroup: what they used is divided where they moved.
#include <array>
#include <fstream>
#include <memory>

#include "tests/kernel/support/sched_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("SchedMovesTest.*", Trait::PodView, Trait::Preemption);

class SchedMovesTest : public SchedTest {};

TEST_F(SchedMovesTest, AProcessMovedWhileItSleepsIsDividedExactly) {
  auto& first = cgroup("first");
  auto& second = cgroup("second");
  select(first, {{"sched", kDetailed}});
  select(second, {{"sched", kDetailed}});
  HeldProcess process(first, {[] { burn_ms(40); }, [] { burn_ms(20); }});
  const auto start = process.figures();
  const auto before = counted(first);
  process.step(0);
  const auto middle = process.figures();
  std::ofstream(second.directory() + "/cgroup.procs") << process.pid() << std::flush;
  process.step(1);
  expect_equal(counted(first) - before, middle - start);
  expect_equal(counted(second), process.figures() - middle);
}

// What a process that moves itself knew of its own CPU time then.
struct MoveReport {
  int64_t before_ns = 0;
  int64_t after_ns = 0;
};

// A step that uses the CPU, moves itself and uses it on, without a pause. The report comes through `pipe_end`.
std::function<void()> move_between_burns(const Cgroup& target, int pipe_end) {
  return [&target, pipe_end] {
    MoveReport report;
    burn_ms(60);
    report.before_ns = thread_cpu_ns();
    std::ofstream(target.directory() + "/cgroup.procs") << 0 << std::flush;
    report.after_ns = thread_cpu_ns();
    burn_ms(120);
    EXPECT_EQ(write(pipe_end, &report, sizeof(report)), static_cast<ssize_t>(sizeof(report)));
  };
}

TEST_F(SchedMovesTest, AProcessThatMovesItselfIsDividedAtTheMove) {
  auto& first = cgroup("first");
  auto& second = cgroup("second");
  select(first, {{"sched", kDetailed}});
  select(second, {{"sched", kDetailed}});
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  HeldProcess process(first, {move_between_burns(second, ends[1])});
  const auto start = process.figures();
  const auto before = counted(first);
  process.step(0);
  MoveReport report;
  ASSERT_EQ(read(ends[0], &report, sizeof(report)), static_cast<ssize_t>(sizeof(report)));
  const auto left = counted(first) - before;
  const auto right = counted(second);
  const auto truth = process.figures() - start;
  EXPECT_EQ(left.oncpu_ns + right.oncpu_ns, static_cast<int64_t>(truth.oncpu_ns));
  EXPECT_EQ(left.wait_ns + right.wait_ns, truth.wait_ns);
  EXPECT_EQ(left.waits + right.waits, truth.arrivals);
  EXPECT_EQ(left.voluntary + right.voluntary, static_cast<int64_t>(truth.voluntary));
  EXPECT_GT(left.oncpu_ns, report.before_ns - static_cast<int64_t>(start.oncpu_ns) - kTickNs);
  EXPECT_LE(left.oncpu_ns, report.after_ns - static_cast<int64_t>(start.oncpu_ns));
}

TEST_F(SchedMovesTest, AProcessThatComesFromOutsideBringsNoPast) {
  auto& outside = cgroup("outside");
  auto& inside = cgroup("inside");
  select(outside, {});
  select(inside, {{"sched", kDetailed}});
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  HeldProcess process(outside, {move_between_burns(inside, ends[1])});
  process.step(0);
  MoveReport report;
  ASSERT_EQ(read(ends[0], &report, sizeof(report)), static_cast<ssize_t>(sizeof(report)));
  const auto counts = counted(inside);
  const auto total_ns = static_cast<int64_t>(process.figures().oncpu_ns);
  EXPECT_GE(counts.oncpu_ns, total_ns - report.after_ns);
  EXPECT_LT(counts.oncpu_ns, total_ns - report.before_ns + kTickNs);
  EXPECT_EQ(everything(outside), 0U);
}

TEST_F(SchedMovesTest, MovingProcessesAroundLosesNothingAndCountsNothingTwice) {
  const std::array<Cgroup*, 2> boxes = {&cgroup("left"), &cgroup("right")};
  for (const Cgroup* box : boxes) select(*box, {{"sched", kDetailed}});
  const std::vector<std::function<void()>> work = {[] {
    for (int i = 0; i < 200; ++i) {
      burn_ms(1);
      usleep(500);
    }
  }};
  std::vector<std::unique_ptr<HeldProcess>> processes;
  for (int i = 0; i < 3; ++i) processes.push_back(std::make_unique<HeldProcess>(*boxes[0], work));
  const auto figures = [&] {
    TaskFigures sum;
    for (const auto& process : processes) sum += process->figures();
    return sum;
  };
  const auto before = figures();
  const auto left_before = counted(*boxes[0]);
  for (const auto& process : processes) process->begin(0);
  for (std::size_t i = 0; i < 150; ++i) {
    const auto& process = *processes[i % processes.size()];
    std::ofstream(boxes[(i / 3 + 1) % 2]->directory() + "/cgroup.procs") << process.pid() << std::flush;
    if (i % 10 == 0) collect();
    sleep_ms(3);
  }
  for (const auto& process : processes) process->finish();
  const auto right = counted(*boxes[1]);
  auto all = counted(*boxes[0]) - left_before;
  EXPECT_GT(all.oncpu_ns, 0);
  EXPECT_GT(right.oncpu_ns, 0);
  all.oncpu_ns += right.oncpu_ns;
  all.wait_ns += right.wait_ns;
  all.waits += right.waits;
  all.voluntary += right.voluntary;
  all.involuntary += right.involuntary;
  all.migrations += right.migrations;
  expect_equal(all, figures() - before);
}

}  // namespace
}  // namespace sonde::test
