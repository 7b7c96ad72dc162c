// SPDX-License-Identifier: Apache-2.0
// Files whose cached pages are known (mincore), read, mapped and written; the faults and bytes written that the kernel
// itself counted of the process; and calls of posix_fadvise.
#include "bpf/modules/cache/cache.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "tests/kernel/support/cache_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("CacheTest.*", Trait::Equipment);

TEST_F(CacheTest, AColdReadMissesEachPageOnceAndAHotOneHits) {
  auto& box = cgroup("reader");
  select(box, {{"cache", kEverything}});
  DataFile other(1024);
  DataFile file(1024);
  const auto once = [&](int64_t size) {
    other.fill();
    file.drop();
    HeldProcess process(box, {[&] { read_through(other, size); }, [&] { read_through(file, size); }});
    process.step(0);
    const int64_t again = (pages_touched(file, size) - file.bytes() / kPage) * kPage;  // pages that two pieces share
    const Counts cold = step(box, process, 1);
    const Counts hot = step(box, process, 1);
    if (cold.disk != file.bytes() || hot.disk != 0) return false;
    EXPECT_EQ(cold.miss, file.bytes()) << size;
    EXPECT_EQ(cold.added, file.bytes()) << size;
    // Where a page behind is still being read in, the kernel does not show the asking for those before it.
    EXPECT_LE(cold.hit, again) << size;
    EXPECT_GE(cold.hit, again - again / 20) << size;
    EXPECT_EQ(hot.miss, 0) << size;
    EXPECT_EQ(hot.hit, pages_touched(file, size) * kPage) << size;
    EXPECT_EQ(cold.dirtied + hot.dirtied, 0);
    return true;
  };
  for (const int64_t size : {kPage, 16 * kPage, 32 * kPage, 256 * kPage, 1024 * kPage, kPage + kPage / 2}) {
    undisturbed([&] { return once(size); });
  }
}

TEST_F(CacheTest, WithoutReadaheadJustThePagesAskedForAreMissed) {
  auto& box = cgroup("random");
  select(box, {{"cache", kEverything}});
  DataFile other(512);
  DataFile file(512);
  const auto work = [](const DataFile& at) {
    const int fd = at.open_again();
    MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) == 0);
    for (int64_t i = 0; i < 50; ++i) {
      char byte = 0;
      MUST(pread(fd, &byte, 1, (i * 7919) % 512 * kPage) == 1);
    }
    close(fd);
  };
  HeldProcess process(box, {[&] { work(other); }, [&] { work(file); }});
  process.step(0);
  undisturbed([&] {
    file.drop();
    const Counts cold = step(box, process, 1);
    const int64_t resident = file.resident();
    const Counts hot = step(box, process, 1);
    if (cold.disk != 50 * kPage || hot.disk != 0) return false;
    EXPECT_EQ(resident, 50);
    EXPECT_EQ(cold.miss, 50 * kPage);
    EXPECT_EQ(cold.hit, 0);
    EXPECT_EQ(hot.miss, 0);
    EXPECT_EQ(hot.hit, 50 * kPage);
    return true;
  });
}

TEST_F(CacheTest, AFileHalfCachedIsHalfHitHalfMissed) {
  auto& box = cgroup("half");
  select(box, {{"cache", kEverything}});
  DataFile other(1024);
  DataFile file(1024);
  HeldProcess process(box, {[&] { read_through(other, 16 * kPage); }, [&] { read_through(file, 16 * kPage); }});
  process.step(0);
  undisturbed([&] {
    file.fill();
    for (int64_t at = 0; at < 1024; at += 256) {
      EXPECT_EQ(posix_fadvise(file.fd(), at * kPage, 128 * kPage, POSIX_FADV_DONTNEED), 0);
    }
    const int64_t there = file.resident() * kPage;
    const Counts counts = step(box, process, 1);
    if (there != 512 * kPage || counts.disk != file.bytes() - there) return false;
    EXPECT_EQ(counts.miss, file.bytes() - there);
    EXPECT_EQ(counts.hit, there);
    return true;
  });
}

TEST_F(CacheTest, AMappedFileIsMissedOnceAndHitAtEachFault) {
  auto& box = cgroup("mapper");
  select(box, {{"cache", kEverything}});
  DataFile other(512);
  DataFile file(512);
  int report[2];
  ASSERT_EQ(pipe(report), 0);
  const auto touch = [&](const DataFile& at, int advice) {
    auto* memory = static_cast<volatile char*>(
        mmap(nullptr, static_cast<std::size_t>(at.bytes()), PROT_READ, MAP_SHARED, at.fd(), 0));
    MUST(memory != MAP_FAILED);
    MUST(madvise(const_cast<char*>(memory), static_cast<std::size_t>(at.bytes()), advice) == 0);
    const long before = faults_so_far();
    for (int64_t i = 0; i < at.bytes(); i += kPage) static_cast<void>(memory[i]);
    const long faults = faults_so_far() - before;
    munmap(const_cast<char*>(memory), static_cast<std::size_t>(at.bytes()));
    MUST(write(report[1], &faults, sizeof(faults)) == sizeof(faults));
  };
  const auto once = [&](int advice) {
    other.fill();
    file.drop();
    HeldProcess process(box, {[&] { touch(other, advice); }, [&] { touch(file, advice); }});
    long faults = 0;
    const auto truth = [&] { return read(report[0], &faults, sizeof(faults)) == sizeof(faults); };
    process.step(0);
    EXPECT_TRUE(truth());
    const Counts cold = step(box, process, 1);
    const int64_t resident = file.resident();
    EXPECT_TRUE(truth());
    const Counts hot = step(box, process, 1);
    EXPECT_TRUE(truth());
    if (cold.disk != file.bytes() || hot.disk != 0) return false;
    EXPECT_EQ(resident * kPage, cold.miss);
    EXPECT_EQ(cold.miss, file.bytes());
    // Fault-around may find neighbours alone, of a page that is missing or has readahead's mark: a hit too many, taken off
    // the next one.
    EXPECT_LE(cold.hit, kPage);
    EXPECT_GT(faults, 0);
    EXPECT_EQ(hot.miss, 0);
    EXPECT_EQ(cold.hit + hot.hit, faults * kPage);
    return true;
  };
  for (const int advice : {MADV_NORMAL, MADV_RANDOM}) undisturbed([&] { return once(advice); });
  close(report[0]);
  close(report[1]);
}

// The files have their blocks already: new ones would bring in and dirty pages of the file system's own.
TEST_F(CacheTest, WritesAreNeitherHitsNorMisses) {
  auto& box = cgroup("writer");
  select(box, {{"cache", kEverything}});
  DataFile cold(364);
  DataFile other(364);
  SharedNumber dropped;
  const auto work = [&](const DataFile& at) {
    const int fd = at.open_again();
    const std::vector<char> page(static_cast<std::size_t>(kPage), 'y');
    for (int64_t i = 0; i < 300; ++i) MUST(pwrite(fd, page.data(), page.size(), (64 + i) * kPage) == kPage);
    for (int i = 0; i < 3; ++i) MUST(pwrite(fd, page.data(), 100, 17 * kPage + i) == 100);  // reads the page first
    MUST(fdatasync(fd) == 0);
    const int64_t before = at.resident();
    MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    dropped.set(static_cast<int>(before - at.resident()));
    close(fd);
  };
  HeldProcess process(box, {[&] { work(other); }, [&] { work(cold); }});
  process.step(0);
  undisturbed([&] {
    cold.drop();
    const int64_t before = io_of(process.pid(), "write_bytes");
    const Counts counts = step(box, process, 1);
    if (counts.disk != kPage) return false;
    EXPECT_EQ(counts.miss, 0);
    EXPECT_EQ(counts.hit, 0);
    EXPECT_EQ(counts.added, 301 * kPage);
    EXPECT_EQ(counts.dirtied, 301 * kPage);
    EXPECT_EQ(counts.dirtied, io_of(process.pid(), "write_bytes") - before);
    EXPECT_EQ(counts.evicted, dropped.get() * kPage);
    return true;
  });
  EXPECT_GT(dropped.get(), 0);
}

TEST_F(CacheTest, TheOneWhoMissesIsChargedAndNobodyElse) {
  auto& culprit = cgroup("culprit");
  auto& neighbour = cgroup("neighbour");
  auto& unwatched = cgroup("unwatched");
  select(culprit, {{"cache", kEverything}});
  select(neighbour, {{"cache", CACHE_FLAG_READ}});
  select(unwatched, {});
  DataFile file(256);
  DataFile third(256);
  HeldProcess first(culprit, {[&] { read_through(file, kPage); }});
  HeldProcess second(neighbour, {[&] { read_through(file, kPage); }});
  HeldProcess nobody(unwatched, {[&] { read_through(third, kPage); }});
  undisturbed([&] {
    file.drop();
    third.drop();
    const Counts neighbour_before = counted(neighbour);
    const Counts missed = step(culprit, first, 0);
    EXPECT_EQ((counted(neighbour) - neighbour_before).miss, 0);
    EXPECT_EQ((counted(neighbour) - neighbour_before).hit, 0);
    const Counts culprit_before = counted(culprit);
    const Counts hit = step(neighbour, second, 0);
    nobody.step(0);
    EXPECT_EQ((counted(culprit) - culprit_before).hit, 0);
    EXPECT_EQ(hit.added + hit.evicted + hit.dirtied, 0) << "not asked for";
    EXPECT_EQ(everything(unwatched), 0U);
    if (missed.disk != file.bytes() || hit.disk != 0) return false;
    EXPECT_EQ(missed.miss, file.bytes());
    EXPECT_EQ(hit.miss, 0);
    EXPECT_GE(hit.hit, file.bytes());
    return true;
  });
}

// Whether a cgroup is measured is remembered: not beyond a change of that, nor for a process that has left it.
TEST_F(CacheTest, WhoIsMeasuredFollowsSelectionAndMoves) {
  auto& box = cgroup("changing");
  auto& always = cgroup("always");  // so the programs are attached all the time
  auto& never = cgroup("never");
  select(always, {{"cache", kEverything}});
  DataFile file(64);
  HeldProcess process(box, {[&] { read_through(file, kPage); }});
  const auto hot = [&](const Cgroup& of) {
    Counts counts;
    undisturbed([&] {
      file.fill();
      counts = step(of, process, 0);
      return counts.disk == 0;
    });
    return counts;
  };
  const auto move_to = [&](const Cgroup& to) {
    std::ofstream(to.directory() + "/cgroup.procs") << process.pid() << std::flush;
  };
  for (int round = 0; round < 3; ++round) {
    select(box, {});
    const Counts unselected = hot(box);
    EXPECT_EQ(unselected.hit + unselected.miss, 0) << round;
    select(box, {{"cache", CACHE_FLAG_READ}});
    EXPECT_EQ(hot(box).hit, file.bytes()) << round;
    move_to(never);
    const Counts before = counted(always);
    EXPECT_EQ(hot(box).hit, 0) << round;
    EXPECT_EQ((counted(always) - before).hit, 0) << round;
    move_to(always);
    EXPECT_EQ(hot(always).hit, file.bytes()) << round;
    move_to(box);
  }
  EXPECT_EQ(everything(never), 0U);
  EXPECT_EQ(losses("cache"), 0U);
}

TEST_F(CacheTest, WhatAnotherThrowsOutWasTheOwners) {
  if (!memory_is_v2())
    GTEST_SKIP() << "the memory controller is not in the v2 tree: whose memory a page is is not known";
  auto& owner = cgroup("owner");
  auto& thrower = cgroup("thrower");
  select(owner, {{"cache", kEverything}});
  select(thrower, {{"cache", kEverything}});
  DataFile file(256);
  file.drop();
  HeldProcess reads(owner, {[&] { read_through(file, 16 * kPage); }});
  HeldProcess throws(thrower, {[&] { posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED); }});
  reads.step(0);
  const Counts before = counted(thrower);
  const Counts owners = counted(owner);
  throws.step(0);
  EXPECT_EQ((counted(owner) - owners).evicted, file.bytes() - file.resident() * kPage);
  EXPECT_EQ((counted(thrower) - before).evicted, 0);
  EXPECT_EQ(file.resident(), 0);
}

TEST_F(CacheTest, EveryCallOfFadviseCountsByAdviceOrByError) {
  auto& box = cgroup("adviser");
  auto& unwatched = cgroup("unwatched");
  select(box, {{"cache", kEverything}});
  select(unwatched, {});
  DataFile file(64);
  const auto work = [&] {
    for (int advice = POSIX_FADV_NORMAL; advice <= POSIX_FADV_NOREUSE; ++advice) {
      for (int i = 0; i < 10 + advice; ++i) MUST(posix_fadvise(file.fd(), 0, 1000, advice) == 0);
    }
    MUST(posix_fadvise(file.fd(), 4 * kPage, 0, POSIX_FADV_DONTNEED) == 0);  // to the end
    for (int i = 0; i < 3; ++i) MUST(posix_fadvise(-1, 0, 1000, POSIX_FADV_WILLNEED) == EBADF);
    int pipes[2];
    MUST(pipe(pipes) == 0);
    for (int i = 0; i < 4; ++i) MUST(posix_fadvise(pipes[0], 0, 0, POSIX_FADV_RANDOM) == ESPIPE);
    for (int i = 0; i < 5; ++i) MUST(posix_fadvise(file.fd(), 0, 0, 77) == EINVAL);
  };
  box.run(work);
  unwatched.run(work);
  collect();
  const std::vector<std::string> names = {"normal", "random", "sequential", "willneed", "dontneed", "noreuse"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool more = names[i] == "dontneed";
    EXPECT_EQ(total(box, "sonde.fadvise.calls", {names[i]}), static_cast<int64_t>(10 + i) + more) << names[i];
    EXPECT_EQ(total(box, "sonde.fadvise.requested", {names[i]}),
              static_cast<int64_t>(10 + i) * 1000 + (more ? 60 * kPage : 0))
        << names[i];
  }
  EXPECT_EQ(total(box, "sonde.fadvise.calls", {"willneed", "EBADF"}), 3);
  EXPECT_EQ(total(box, "sonde.fadvise.calls", {"random", "ESPIPE"}), 4);
  EXPECT_EQ(total(box, "sonde.fadvise.calls", {"EINVAL"}), 5);
  EXPECT_EQ(everything(unwatched), 0U);
  EXPECT_EQ(losses("cache"), 0U);
}

}  // namespace
}  // namespace sonde::test
