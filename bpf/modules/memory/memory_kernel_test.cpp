// SPDX-License-Identifier: Apache-2.0
// Faults against getrusage, and kernel allocations of calls that are known to allocate. Reclaim, kills and swap are in
// reclaim_kernel_test.cpp.
#include <sys/eventfd.h>
#include <sys/wait.h>

#include <array>
#include <sstream>

#include "agent/kernel/features.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/memory_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("MemoryTest.*", Trait::PodView, Trait::Equipment);

constexpr uint8_t kFaults = MEMORY_FLAG_MAJOR | MEMORY_FLAG_MINOR | MEMORY_FLAG_FAULT_TIME;

// minflt and majflt of /proc/<pid>/stat, read while the process sleeps.
struct Faults {
  int64_t minor = 0;
  int64_t major = 0;
};
Faults faults_of(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(stat, line);
  std::istringstream words(line.substr(line.rfind(')') + 2));
  std::vector<std::string> fields;
  for (std::string word; words >> word;) fields.push_back(word);
  return {std::stoll(fields.at(7)), std::stoll(fields.at(9))};
}

TEST_F(MemoryTest, EveryFaultCountsAndHasADuration) {
  auto& box = cgroup("faults");
  auto& other = cgroup("other");
  select(box, {{"memory", kFaults}});
  select(other, {{"memory", MEMORY_FLAG_MAJOR}});
  constexpr int64_t kPages = 5000;
  const auto work = [] {
    char* memory = anonymous(2 * kPages * kPage);
    touch(memory, kPages * kPage);
    // In the kernel, on behalf of the program.
    const int zero = open("/dev/zero", O_RDONLY);
    MUST(read(zero, memory + kPages * kPage, static_cast<std::size_t>(kPages * kPage)) == kPages * kPage);
    close(zero);
    munmap(memory, static_cast<std::size_t>(2 * kPages * kPage));
  };
  HeldProcess process(box, {work});
  HeldProcess neighbour(other, {work});
  collect();
  const Faults before = faults_of(process.pid());
  const int64_t minor = faults(box, "minor"), major = faults(box, "major");
  const auto time = histogram(box, "sonde.memory.fault.duration", {"minor"});
  process.step(0);
  neighbour.step(0);
  const Faults truth = faults_of(process.pid());
  collect();
  EXPECT_GE(truth.minor - before.minor, 2 * kPages);
  EXPECT_EQ(faults(box, "minor") - minor, truth.minor - before.minor);
  EXPECT_EQ(faults(box, "major") - major, truth.major - before.major);
  const auto times = histogram(box, "sonde.memory.fault.duration", {"minor"});
  EXPECT_EQ(times.count - time.count, static_cast<uint64_t>(truth.minor - before.minor));
  EXPECT_GT(times.sum, time.sum);
  EXPECT_EQ(losses("memory"), 0U);
  EXPECT_EQ(faults(other, "minor"), 0) << "not asked for";
  EXPECT_EQ(histogram(other, "sonde.memory.fault.duration", {"minor"}).count, 0U);
}

TEST_F(MemoryTest, APageThatMustBeReadIsAMajorFault) {
  auto& box = cgroup("major");
  auto& other = cgroup("other");
  select(box, {{"memory", MEMORY_FLAG_MAJOR | MEMORY_FLAG_FAULT_TIME}});
  select(other, {{"memory", kFaults}});
  const auto timed = [&](const Cgroup& of) { return histogram(of, "sonde.memory.fault.duration", {"major"}); };
  ColdFile file(1 << 20);
  const auto work = [&] {
    char* memory = static_cast<char*>(mmap(nullptr, 1 << 20, PROT_READ, MAP_SHARED, file.fd(), 0));
    MUST(memory != MAP_FAILED);
    MUST(madvise(memory, 1 << 20, MADV_RANDOM) == 0);  // each page is read when it is touched
    for (int64_t at = 0; at < 1 << 20; at += kPage) static_cast<void>(const_cast<volatile char*>(memory)[at]);
    munmap(memory, 1 << 20);
  };
  HeldProcess process(box, {work});
  HeldProcess neighbour(other, {work});
  collect();
  const Faults before = faults_of(process.pid());
  const int64_t major = faults(box, "major");
  const auto time = timed(box);
  process.step(0);
  const Faults truth = faults_of(process.pid());
  const Faults neighbour_before = faults_of(neighbour.pid());
  collect();
  const int64_t neighbour_major = faults(other, "major");
  const uint64_t neighbour_times = timed(other).count;
  neighbour.step(0);  // finds them cached
  const Faults neighbour_truth = faults_of(neighbour.pid());
  collect();
  EXPECT_GE(truth.major - before.major, (1 << 20) / kPage);
  EXPECT_EQ(faults(box, "major") - major, truth.major - before.major);
  EXPECT_EQ(timed(box).count - time.count, static_cast<uint64_t>(truth.major - before.major));
  EXPECT_GT(timed(box).sum, time.sum);
  EXPECT_EQ(faults(box, "minor"), 0) << "not asked for";
  EXPECT_EQ(faults(other, "major") - neighbour_major, neighbour_truth.major - neighbour_before.major);
  EXPECT_EQ(timed(other).count - neighbour_times,
            static_cast<uint64_t>(neighbour_truth.major - neighbour_before.major));
  EXPECT_LE(neighbour_truth.major - neighbour_before.major, 1);
}

TEST_F(MemoryTest, ManyFaultsAtOnceLoseNone) {
  auto& box = cgroup("many");
  select(box, {{"memory", kFaults}});
  constexpr int64_t kPages = 2000;
  const auto rounds = static_cast<int64_t>(scaled(400'000)) / kPages;
  const auto work = [&] {
    for (int64_t i = 0; i < rounds; ++i) {
      char* memory = anonymous(kPages * kPage);
      touch(memory, kPages * kPage);
      munmap(memory, static_cast<std::size_t>(kPages * kPage));
    }
  };
  HeldProcess one(box, {work});
  HeldProcess two(box, {work});
  collect();
  const int64_t counted = faults(box, "minor");
  const int64_t before = faults_of(one.pid()).minor + faults_of(two.pid()).minor;
  one.begin(0);
  two.begin(0);
  one.finish();
  two.finish();
  collect();
  EXPECT_EQ(faults(box, "minor") - counted, faults_of(one.pid()).minor + faults_of(two.pid()).minor - before);
  EXPECT_EQ(losses("memory"), 0U);
}

TEST_F(MemoryTest, WhatNobodySelectedIsCountedNowhere) {
  auto& box = cgroup("watched");
  auto& other = cgroup("other");
  select(box, {{"memory",
                static_cast<uint8_t>(0xff & ~MEMORY_FLAG_OOM)}});  // its own waits in pressure are not ours to know
  select(other, {});
  other.run([] {
    touch(anonymous(1000 * kPage), 1000 * kPage);
    for (int i = 0; i < 100; ++i) close(eventfd(0, 0));
  });
  collect(true);
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(everything(box), 0U);
}

TEST_F(MemoryTest, PressureIsWhatTheFilesSay) {
  auto& box = cgroup("pressed");
  auto& other = cgroup("other");
  if (pressure_of(box, "cpu")[0] < 0) GTEST_SKIP() << "this kernel keeps no pressure figures (psi=1 at boot)";
  const int cpu = usable_cpus().front();
  // Two on one CPU, until the kernel itself says that they stood in each other's way.
  const auto compete = [&] {
    const int64_t enough = pressure_of(box, "cpu")[0] + 20'000;
    const auto work = [&] {
      pin_to(cpu);
      burn_ms(60'000);
    };
    const pid_t one = box.start(work);
    const pid_t two = box.start(work);
    EXPECT_TRUE(eventually([&] { return pressure_of(box, "cpu")[0] >= enough; }));
    for (const pid_t each : {one, two}) {
      kill(each, SIGKILL);
      EXPECT_EQ(waitpid(each, nullptr, 0), each);
    }
  };
  compete();  // before it is selected: not counted
  const auto before = pressure_of(box, "cpu");
  const auto before_memory = pressure_of(box, "memory");
  EXPECT_GT(before[0], 10'000);
  select(box, {{"memory", MEMORY_FLAG_OOM}});
  select(other, {{"memory", MEMORY_FLAG_OOM}});
  collect();
  compete();
  collect();
  const auto counted = [&](const std::string& resource, const std::string& kind) {
    return total(box, "sonde.pressure.stall.time", {resource, kind});
  };
  // Nobody is left in it, so that the figures stand still.
  EXPECT_GT(counted("cpu", "some"), 10'000);
  EXPECT_EQ(counted("cpu", "some"), pressure_of(box, "cpu")[0] - before[0]);
  EXPECT_EQ(counted("cpu", "full"), pressure_of(box, "cpu")[1] - before[1]);
  EXPECT_EQ(counted("memory", "some"), pressure_of(box, "memory")[0] - before_memory[0]);
  // Who has no work waits for nothing.
  EXPECT_EQ(everything(other), 0U);
}

struct Allocations {
  int64_t allocations, allocated, freed;
};

// Each is an estimate: others' allocations in interrupts may come on top, so upper bounds are loose.
TEST_F(MemoryTest, KernelAllocationsOfKnownCallsAreSeen) {
  auto& box = cgroup("allocator");
  select(box, {{"memory", MEMORY_FLAG_ALLOCATIONS}});
  constexpr int kFiles = 500;
  constexpr int64_t kPipePages = 16;  // what a pipe takes before it blocks
  std::vector<int> files;
  int pipes[2];
  HeldProcess process(box, {[&] {
                              for (int i = 0; i < kFiles; ++i)
                                files.push_back(eventfd(0, 0));  // one kmalloc, one struct file
                              MUST(pipe(pipes) == 0);
                              const std::vector<char> page(static_cast<std::size_t>(kPage));
                              for (int64_t i = 0; i < kPipePages; ++i)
                                MUST(write(pipes[1], page.data(), page.size()) == kPage);
                            },
                            [&] {
                              for (const int fd : files) close(fd);
                              close(pipes[0]);
                              close(pipes[1]);
                            },
                            [] {}});
  const auto seen = [&](const std::string& allocator) {
    return Allocations{total(box, "sonde.memory.kernel.allocations", {allocator}),
                       total(box, "sonde.memory.kernel.allocated", {allocator}),
                       total(box, "sonde.memory.kernel.freed", {allocator})};
  };
  process.step(2);
  collect();
  const Allocations kmalloc = seen("kmalloc"), cache = seen("kmem_cache"), page = seen("page");
  process.step(0);
  collect();
  const Allocations kmalloc_now = seen("kmalloc"), cache_now = seen("kmem_cache"), page_now = seen("page");
  process.step(1);
  process.step(2);
  collect();
  EXPECT_GE(kmalloc_now.allocations - kmalloc.allocations, kFiles);
  EXPECT_LE(kmalloc_now.allocations - kmalloc.allocations, 10 * kFiles);
  EXPECT_GE(kmalloc_now.allocated - kmalloc.allocated, kFiles * 32);
  EXPECT_GE(cache_now.allocations - cache.allocations, kFiles);
  EXPECT_LE(cache_now.allocations - cache.allocations, 10 * kFiles);
  EXPECT_GE(cache_now.allocated - cache.allocated, kFiles * 128);
  EXPECT_GE(page_now.allocations - page.allocations, kPipePages);
  EXPECT_GE(page_now.allocated - page.allocated, kPipePages * kPage);
  EXPECT_GE(seen("page").freed - page_now.freed, kPipePages * kPage);
  const Features features = *probe_features();
  if (features.has_function("bpf_get_kmem_cache")) {
    EXPECT_GT(seen("kmalloc").freed, kmalloc_now.freed);
  } else {
    EXPECT_EQ(seen("kmalloc").freed, 0) << "named among the notes";
  }
}

}  // namespace
}  // namespace sonde::test
