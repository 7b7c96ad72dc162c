// SPDX-License-Identifier: Apache-2.0
// Process granularity, one process as the target, and what happens when there are no slots left.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("AgentProcessesTest.EachProcess*", Trait::PodView);

std::string pid_is(pid_t pid) { return "process.pid=" + std::to_string(pid); }

class AgentProcessesTest : public AgentTest {
 protected:
  AgentProcessesTest() { only_ = "io"; }
  static std::string processes_of(const std::string& path) { return io_of(path, "collection: {granularity: Process}"); }
  int64_t read_by(const std::string& subject, pid_t pid) const {
    return shown(subject, "sonde.file.io", {pid_is(pid), "disk.io.direction=read"}).value;
  }
};

TEST_F(AgentProcessesTest, EachProcessHasItsPidAndTheTotalsAddUp) {
  const Cgroup& box = cgroup("box");
  policy("mine", processes_of(box.path()));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  HeldProcess first(box, {[] { read_bytes(10 * kBlock); }, [] { read_bytes(kBlock); }});
  HeldProcess second(box, {[] { read_bytes(20 * kBlock); }});
  first.step(0);
  second.step(0);
  EXPECT_TRUE(await([&] { return read_by(box.path(), first.pid()) == 10 * kBlock; }))
      << read_by(box.path(), first.pid());
  EXPECT_TRUE(await([&] { return read_by(box.path(), second.pid()) == 20 * kBlock; }));
  first.step(1);
  EXPECT_TRUE(await([&] { return read_by(box.path(), first.pid()) == 11 * kBlock; }));
  EXPECT_EQ(bytes_read(box), 31 * kBlock) << "nothing twice, nothing without a process";
  EXPECT_EQ(read_by(box.path(), getpid()), 0) << "a process outside";
}

// The name is the program's: what a thread calls itself is not, and exec brings another.
TEST_F(AgentProcessesTest, TheNameFollowsExecAndNoThreadsOwnName) {
  const Cgroup& box = cgroup("box");
  policy("mine", processes_of(box.path()));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  // What it is called from its first instruction on: a name that it gave itself might come after the first look.
  const std::string own = std::string(program_invocation_short_name).substr(0, 15);
  SharedNumber go;
  const auto wait_for = [&](int number) {
    while (go.get() < number) usleep(1000);
  };
  const pid_t child = box.start([&] {
    read_bytes(10 * kBlock);
    wait_for(1);
    std::thread([] {
      prctl(PR_SET_NAME, "a-thread");
      read_bytes(kBlock);
    }).join();
    prctl(PR_SET_NAME, "renamed");
    read_bytes(kBlock);
    wait_for(2);
    execl("/bin/sh", "sh", "-c", "exec sleep 600", nullptr);
    _exit(96);
  });
  const auto name_of = [&] {
    for (const auto& [slot, owner] : agent().identity()->slots)
      if (owner.tgid == static_cast<uint32_t>(child)) return owner.comm;
    return std::string();
  };
  const auto read_as = [&](const std::string& name) {
    return shown(box.path(), "sonde.file.io",
                 {pid_is(child), "process.executable.name=" + name, "disk.io.direction=read"})
        .value;
  };
  EXPECT_TRUE(await([&] { return name_of() == own; })) << name_of();
  EXPECT_TRUE(await([&] { return read_as(own) == 10 * kBlock; })) << read_as(own);
  go.set(1);
  EXPECT_TRUE(await([&] { return read_as(own) == 12 * kBlock; })) << read_as(own);
  go.set(2);
  EXPECT_TRUE(await([&] { return name_of() == "sleep"; })) << name_of();
  EXPECT_TRUE(await([&] { return read_as("sleep") > 0; })) << "what the loader reads of libraries";
  EXPECT_EQ(read_as("renamed") + read_as("a-thread"), 0);
  kill(child, SIGKILL);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  stop();
  std::map<std::string, int64_t> last;
  for (const Written& point : written())
    if (point.metric == "sonde.file.io" && point.attributes.find(pid_is(child)) != std::string::npos && !point.ended)
      last[point.attributes] = point.value;
  int64_t of_first = 0;
  for (const auto& [attributes, value] : last)
    if (attributes.find("name=" + own) != std::string::npos && attributes.find("direction=read") != std::string::npos)
      of_first += value;
  EXPECT_EQ(of_first, 12 * kBlock) << "and nothing of what came after";
}

TEST_F(AgentProcessesTest, ProcessesThatEndGiveTheirSlotsBackAndTheirCountsStay) {
  const Cgroup& parent = cgroup("parent");
  policy("mine", processes_of(parent.path() + "/*"));
  ASSERT_NO_FATAL_FAILURE(start({{"max-subjects", "4096"}, {"max-processes", "16"}}));
  std::map<pid_t, int64_t> expected;
  const std::string path = parent.path() + "/box";
  // Thrice as many as the table of processes holds, in cgroups that end with their processes still in it.
  for (int round = 0; round < 6; ++round) {
    const Cgroup box(path);
    // Until its policy is known a new container counts as a whole.
    ASSERT_TRUE(await([&] { return measured(box); }));
    for (int i = 1; i <= 8; ++i) {
      const pid_t child = box.start([i] { read_bytes(static_cast<uint64_t>(i * kBlock)); });
      int status = -1;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      ASSERT_EQ(status, 0);
      expected[child] = i * kBlock;
    }
    ASSERT_TRUE(await([&] {
      return status()["subjects"]["known"] == status()["subjects"]["selected"] &&
             shown(path, "sonde.file.io").series <= 2;
    }));
  }
  stop();
  std::map<std::string, int64_t> last;
  int64_t without_pid = 0;
  for (const Written& point : written()) {
    if (point.subject != path || point.ended || point.attributes.find("direction=read") == std::string::npos) continue;
    if (point.attributes.find("process.pid") == std::string::npos) without_pid = std::max(without_pid, point.value);
    last[point.attributes] = point.value;
  }
  EXPECT_EQ(without_pid, 0);
  for (const auto& [pid, bytes] : expected) {
    int64_t found = 0;
    for (const auto& [attributes, value] : last)
      if (attributes.find(pid_is(pid) + ",") != std::string::npos || attributes.ends_with(pid_is(pid))) found = value;
    EXPECT_EQ(found, bytes) << pid;
  }
}

TEST_F(AgentProcessesTest, OneProcessAsTheTargetIsMeasuredAndItsNeighbourNot) {
  const Cgroup& box = cgroup("box");
  HeldProcess target(box, {[] { read_bytes(10 * kBlock); }});
  HeldProcess neighbour(box, {[] { read_bytes(33 * kBlock); }, [] { read_bytes(kBlock); }});
  policy("mine", io_of(box.path()));
  ASSERT_NO_FATAL_FAILURE(start({{"target-pid", std::to_string(target.pid())}}));
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  neighbour.step(0);
  target.step(0);
  EXPECT_TRUE(await([&] { return read_by(box.path(), target.pid()) == 10 * kBlock; }));
  // The neighbour has one slot and keeps it: without one it would be given the next, again and again.
  const auto slot_of_neighbour = [&] {
    for (const auto& [slot, owner] : agent().identity()->slots)
      if (owner.tgid == static_cast<uint32_t>(neighbour.pid())) return slot;
    return 0U;
  };
  ASSERT_TRUE(await([&] { return slot_of_neighbour() != 0; }));
  const uint32_t slot = slot_of_neighbour();
  neighbour.step(1);
  EXPECT_FALSE(await([&] { return slot_of_neighbour() != slot; }, 1.5));
  EXPECT_EQ(bytes_read(box), 10 * kBlock);
  EXPECT_EQ(read_by(box.path(), neighbour.pid()), 0);
}

TEST_F(AgentProcessesTest, HoweverManyProcessesThereAreAContainerFindsASlot) {
  const Cgroup& parent = cgroup("parent");
  policy("mine", processes_of(parent.path() + "/*"));
  ASSERT_NO_FATAL_FAILURE(start({{"max-subjects", "16"}}));
  const Cgroup busy(parent.path() + "/busy");
  ASSERT_TRUE(await([&] { return measured(busy.path()); }));
  std::vector<std::unique_ptr<HeldProcess>> many;
  for (int i = 0; i < 14; ++i) {
    many.push_back(std::make_unique<HeldProcess>(busy, std::vector<std::function<void()>>{[] { read_bytes(kBlock); }}));
  }
  for (const auto& one : many) one->step(0);
  EXPECT_TRUE(await([&] { return bytes_read(busy) == 14 * kBlock; })) << bytes_read(busy);
  const auto of_processes = [&] {
    const auto identity = agent().identity();
    return std::ranges::count_if(identity->slots, [](const auto& slot) { return slot.second.tgid != 0; });
  };
  EXPECT_EQ(of_processes(), 8) << "of sixteen slots half are left for cgroups";
  const Cgroup late(parent.path() + "/late");
  late.run([] { read_bytes(3 * kBlock); });
  EXPECT_TRUE(await([&] { return bytes_read(late) == 3 * kBlock; })) << bytes_read(late);
  // Who has ended gives its slot to the next.
  many.clear();
  ASSERT_TRUE(await([&] { return of_processes() == 0; }));
  // A slot is free some time after its process has left the tables: no event of the dead may land on the living.
  EXPECT_TRUE(await([&] {
    HeldProcess next(busy, {[] { read_bytes(5 * kBlock); }});
    next.step(0);
    return await([&] { return read_by(busy.path(), next.pid()) == 5 * kBlock; }, 3);
  }));
}

class AgentSlotsTest : public AgentProcessesTest {};

TEST_F(AgentSlotsTest, WithoutAFreeSlotItIsUnattributedAndEntersWhenOneIsFree) {
  const Cgroup& parent = cgroup("parent");
  policy("mine", io_of(parent.path() + "/*"));
  std::vector<std::unique_ptr<Cgroup>> boxes;
  for (int i = 0; i < 30; ++i) boxes.push_back(std::make_unique<Cgroup>(parent.path() + "/" + std::to_string(i)));
  ASSERT_NO_FATAL_FAILURE(start({{"max-subjects", "16"}}));
  ASSERT_TRUE(await([&] { return status()["subjects"]["selected"] == 13; })) << status()["subjects"];
  EXPECT_EQ(status()["subjects"]["without_slot"], 17);
  std::vector<bool> has;
  for (const auto& box : boxes) has.push_back(measured(box->path()));
  const std::size_t in = static_cast<std::size_t>(std::ranges::find(has, true) - has.begin());
  ASSERT_LT(in, boxes.size());
  boxes[in]->run([] { read_bytes(4 * kBlock); });
  EXPECT_TRUE(await([&] { return bytes_read(*boxes[in]) == 4 * kBlock; }));
  // Some end: others take their place, without a change of policy.
  std::size_t removed = 0;
  for (std::size_t i = 0; i < boxes.size() && removed < 5; ++i) {
    if (!has[i]) continue;
    boxes[i].reset();
    ++removed;
  }
  const Cgroup* entered = nullptr;
  EXPECT_TRUE(await([&] {
    for (std::size_t i = 0; i < boxes.size(); ++i)
      if (!has[i] && measured(boxes[i]->path())) entered = boxes[i].get();
    return entered != nullptr;
  })) << status()["subjects"];
  ASSERT_NE(entered, nullptr);
  EXPECT_TRUE(await([&] { return status()["subjects"]["without_slot"] == 12; })) << status()["subjects"];
  entered->run([] { read_bytes(6 * kBlock); });
  EXPECT_TRUE(await([&] { return bytes_read(*entered) == 6 * kBlock; }));
}

}  // namespace
}  // namespace sonde::test
