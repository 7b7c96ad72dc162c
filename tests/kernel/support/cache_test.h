// SPDX-License-Identifier: Apache-2.0
// Fixture of the cache probe's kernel tests: files of which it is known what is cached.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "bpf/modules/cache/cache.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/must.h"

namespace sonde::test {

inline const int64_t kPage = sysconf(_SC_PAGESIZE);
inline constexpr uint8_t kEverything = CACHE_FLAG_READ | CACHE_FLAG_ADDED | CACHE_FLAG_EVICTED | CACHE_FLAG_DIRTIED |
                                       CACHE_FLAG_ADVICE | CACHE_FLAG_REQUESTED;

// An unlinked file on a real file system, written out.
class DataFile {
 public:
  explicit DataFile(int64_t pages) : pages_(pages) {
    std::string name = "/tmp/sonde-cache-XXXXXX";
    fd_ = mkstemp(name.data());
    unlink(name.c_str());
    const std::vector<char> page(static_cast<std::size_t>(kPage), 'x');
    for (int64_t i = 0; i < pages; ++i) EXPECT_EQ(write(fd_, page.data(), page.size()), kPage);
    EXPECT_EQ(fdatasync(fd_), 0);
  }
  ~DataFile() { close(fd_); }
  DataFile(const DataFile&) = delete;
  DataFile& operator=(const DataFile&) = delete;

  // Opened anew: a readahead state of its own.
  int open_again() const { return open(("/proc/self/fd/" + std::to_string(fd_)).c_str(), O_RDWR | O_CLOEXEC); }
  int fd() const { return fd_; }
  int64_t bytes() const { return pages_ * kPage; }

  void drop() const {
    for (int i = 0; i < 100 && resident() != 0; ++i) {
      EXPECT_EQ(fdatasync(fd_), 0);
      EXPECT_EQ(posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED), 0);
    }
    ASSERT_EQ(resident(), 0);
  }
  void fill() const {
    std::vector<char> all(static_cast<std::size_t>(bytes()));
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(pread(fd_, all.data(), all.size(), 0), bytes());
      if (resident() == pages_) return;
    }
    FAIL() << "the kernel does not keep this file's pages";
  }
  int64_t resident() const {
    void* memory = mmap(nullptr, static_cast<std::size_t>(bytes()), PROT_READ, MAP_SHARED, fd_, 0);
    std::vector<unsigned char> there(static_cast<std::size_t>(pages_));
    EXPECT_EQ(mincore(memory, static_cast<std::size_t>(bytes()), there.data()), 0);
    munmap(memory, static_cast<std::size_t>(bytes()));
    return std::count_if(there.begin(), there.end(), [](unsigned char page) { return page & 1; });
  }

 private:
  int fd_ = -1;
  int64_t pages_;
};

// Reads all of it in pieces of `size`; how many pages these touched, each piece for itself.
inline int64_t read_through(const DataFile& file, int64_t size) {
  std::vector<char> buffer(static_cast<std::size_t>(size));
  const int fd = file.open_again();
  MUST(fd >= 0);
  int64_t touched = 0;
  for (int64_t at = 0; at < file.bytes();) {
    const int64_t got = read(fd, buffer.data(), buffer.size());
    MUST(got > 0);
    touched += (at + got - 1) / kPage - at / kPage + 1;
    at += got;
  }
  close(fd);
  return touched;
}

// What it counts is known before: the same sum in the parent.
inline int64_t pages_touched(const DataFile& file, int64_t size) {
  int64_t touched = 0;
  for (int64_t at = 0; at < file.bytes(); at += size) {
    touched += (std::min(at + size, file.bytes()) - 1) / kPage - at / kPage + 1;
  }
  return touched;
}

// A line of /proc/<pid>/io; -1 if it has none.
inline int64_t io_of(pid_t pid, const std::string& line) {
  std::ifstream io("/proc/" + std::to_string(pid) + "/io");
  std::string key;
  for (int64_t value = 0; io >> key >> value;) {
    if (key == line + ":") return value;
  }
  return -1;
}

// The kernel may take clean pages of any file away at any time (reclaim, also DAMON's, which no counter of /proc/vmstat shows).
// `once` does a test's work, and judges it and returns true only if the process had just as much read from the disk as it
// has to if nobody does that; it is given so many chances.
inline void undisturbed(const std::function<bool()>& once) {
  for (int i = 0; i < 30; ++i) {
    if (once()) return;
  }
  FAIL() << "each time other bytes were read from the disk than had to be";
}

inline long faults_so_far() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

class CacheTest : public KernelTest {
 protected:
  EngineOptions options() const override { return only("cache"); }
  struct Counts {
    int64_t hit = 0, miss = 0, added = 0, evicted = 0, dirtied = 0;
    int64_t disk = 0;  // of a step: what the kernel says was read from the disk for the process
    Counts operator-(const Counts& before) const {
      return {hit - before.hit, miss - before.miss, added - before.added, evicted - before.evicted,
              dirtied - before.dirtied};
    }
  };
  Counts counted(const Cgroup& box) {
    collect();
    return {total(box, "sonde.page_cache.read", {"hit"}), total(box, "sonde.page_cache.read", {"miss"}),
            total(box, "sonde.page_cache.added"), total(box, "sonde.page_cache.evicted"),
            total(box, "sonde.page_cache.dirtied")};
  }
  // What `work` brought. A process touches pages of its program when it does something for the first time: so it has done
  // the same to another file before.
  Counts step(const Cgroup& box, HeldProcess& process, std::size_t number) {
    const Counts before = counted(box);
    const int64_t disk = io_of(process.pid(), "read_bytes");
    process.step(number);
    Counts step = counted(box) - before;
    step.disk = io_of(process.pid(), "read_bytes") - disk;
    return step;
  }
  // The memory controller may be on the v1 tree, whose cgroups are not those of subjects.
  static bool memory_is_v2() {
    std::ifstream controllers(cgroup_root() + "/cgroup.subtree_control");
    for (std::string word; controllers >> word;) {
      if (word == "memory") return true;
    }
    return false;
  }
};

}  // namespace sonde::test
