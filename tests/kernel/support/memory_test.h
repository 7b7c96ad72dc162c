// SPDX-License-Identifier: Apache-2.0
// Memory for the memory probe's tests: limits by whichever controller there is, pages touched, files that are not cached.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "bpf/modules/memory/memory.h"
#include "tests/kernel/support/kernel_test.h"

namespace sonde::test {

inline const int64_t kPage = sysconf(_SC_PAGESIZE);
inline constexpr int64_t kMiB = 1 << 20;

#define MUST(condition)                                              \
  do {                                                               \
    if (!(condition)) _exit(static_cast<int>(100 + __LINE__ % 100)); \
  } while (0)

inline bool write_to(const std::string& path, const std::string& value) {
  std::ofstream file(path);
  file << value << std::flush;
  return file.good();
}

// The value behind a word in a file of words and numbers (memory.stat, memory.events, vmstat); -1: not there.
inline int64_t number_in(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  for (int64_t value = 0; file >> word >> value;) {
    if (word == key) return value;
  }
  return -1;
}

// By a child whose limit leaves it no more than a slow disk takes: where all its pages wait to be written, the kernel would
// kill it. One that must not be killed asks again until there is room.
inline void spare_from_kills() { MUST(write_to("/proc/self/oom_score_adj", "-1000")); }

// A memory limit for who enters it: the test's own cgroup where the controller is in the v2 tree, else a cgroup of v1's.
class MemoryLimit {
 public:
  MemoryLimit(const Cgroup& box, int64_t bytes, bool swap = false) {
    if (access((box.directory() + "/memory.max").c_str(), W_OK) == 0) {
      v2_ = box.directory();
      usable_ = write_to(v2_ + "/memory.max", std::to_string(bytes));
      if (!swap) write_to(v2_ + "/memory.swap.max", "0");
      return;
    }
    v1_ = "/sys/fs/cgroup/memory" + box.path();
    if (mkdir(v1_.c_str(), 0755) != 0) {
      v1_.clear();
      return;
    }
    usable_ = write_to(v1_ + "/memory.limit_in_bytes", std::to_string(bytes));
    if (!swap) write_to(v1_ + "/memory.memsw.limit_in_bytes", std::to_string(bytes));
  }
  ~MemoryLimit() {
    for (int i = 0; !v1_.empty() && i < 200 && rmdir(v1_.c_str()) != 0; ++i) usleep(10'000);
  }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

  bool usable() const { return usable_; }
  bool v2() const { return !v2_.empty(); }
  // By the child itself.
  void enter() const {
    if (!v1_.empty()) MUST(write_to(v1_ + "/cgroup.procs", std::to_string(getpid())));
  }
  int64_t kills() const {
    return v2() ? number_in(v2_ + "/memory.events", "oom_kill") : number_in(v1_ + "/memory.oom_control", "oom_kill");
  }
  int64_t stat(const std::string& key) const { return v2() ? number_in(v2_ + "/memory.stat", key) : -1; }

 private:
  std::string v1_;
  std::string v2_;
  bool usable_ = false;
};

inline char* anonymous(int64_t bytes) {
  void* memory =
      mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(memory != MAP_FAILED);
  MUST(madvise(memory, static_cast<std::size_t>(bytes), MADV_NOHUGEPAGE) == 0);
  return static_cast<char*>(memory);
}

inline void touch(char* memory, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kPage) const_cast<volatile char*>(memory)[at] = 'x';
}

// An unlinked file on a real file system, written out and not cached.
class ColdFile {
 public:
  explicit ColdFile(int64_t bytes) : bytes_(bytes) {
    std::string name = "/tmp/sonde-memory-XXXXXX";
    fd_ = mkstemp(name.data());
    unlink(name.c_str());
    const std::vector<char> part(1 << 20, 'x');
    for (int64_t at = 0; at < bytes; at += 1 << 20) EXPECT_EQ(pwrite(fd_, part.data(), part.size(), at), 1 << 20);
    drop();
  }
  ~ColdFile() { close(fd_); }
  ColdFile(const ColdFile&) = delete;
  ColdFile& operator=(const ColdFile&) = delete;

  void drop() const {
    EXPECT_EQ(fdatasync(fd_), 0);
    EXPECT_EQ(posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED), 0);
  }
  int fd() const { return fd_; }
  int64_t bytes() const { return bytes_; }
  void read_through() const {
    std::vector<char> part(1 << 16);
    for (int64_t at = 0; at < bytes_; at += 1 << 16) MUST(pread(fd_, part.data(), part.size(), at) == 1 << 16);
  }

 private:
  int fd_ = -1;
  int64_t bytes_;
};

// The totals of a cgroup's file, in microseconds; -1: there are none.
inline std::array<int64_t, 2> pressure_of(const Cgroup& box, const std::string& resource) {
  std::ifstream file(box.directory() + "/" + resource + ".pressure");
  std::array<int64_t, 2> totals{-1, -1};
  for (std::string line; std::getline(file, line);) {
    totals[line.starts_with("full")] = std::stoll(line.substr(line.find("total=") + 6));
  }
  return totals;
}

// A swap file of our own, in use while it lives.
class SwapFile {
 public:
  explicit SwapFile(int64_t bytes) {
    fd_ = mkstemp(name_.data());
    const std::vector<char> part(static_cast<std::size_t>(kMiB));
    for (int64_t at = 0; at < bytes; at += kMiB) EXPECT_EQ(pwrite(fd_, part.data(), part.size(), at), kMiB);
    // Header of version 1: include/linux/swap.h, union swap_header.
    const uint32_t header[2] = {1, static_cast<uint32_t>(bytes / kPage - 1)};
    EXPECT_EQ(pwrite(fd_, header, sizeof(header), 1024), static_cast<ssize_t>(sizeof(header)));
    EXPECT_EQ(pwrite(fd_, "SWAPSPACE2", 10, kPage - 10), 10);
    EXPECT_EQ(fsync(fd_), 0);
    on_ = chmod(name_.c_str(), 0600) == 0 && swapon(name_.c_str(), 0) == 0;
  }
  ~SwapFile() {
    if (on_) swapoff(name_.c_str());
    close(fd_);
    unlink(name_.c_str());
  }
  SwapFile(const SwapFile&) = delete;
  SwapFile& operator=(const SwapFile&) = delete;
  bool on() const { return on_; }

 private:
  std::string name_ = "/tmp/sonde-swap-XXXXXX";
  int fd_ = -1;
  bool on_ = false;
};

class MemoryTest : public KernelTest {
 protected:
  EngineOptions options() const override { return only("memory"); }
  int64_t faults(const Cgroup& box, const std::string& type) { return total(box, "sonde.memory.faults", {type}); }
  uint64_t stalls(const Cgroup& box) { return histogram(box, "sonde.memory.reclaim.stall.duration").count; }
  int64_t kills(const Cgroup& box, const std::string& scope) { return total(box, "sonde.memory.oom.kills", {scope}); }
  int64_t reclaimed(const Cgroup& box, const std::string& by) {
    return total(box, "sonde.memory.reclaim.reclaimed", {by});
  }
  int64_t scanned(const Cgroup& box, const std::string& by) { return total(box, "sonde.memory.reclaim.scanned", {by}); }
  // In a virtual machine that is ours alone.
  static bool machine_is_ours() { return std::getenv("SONDE_TEST_VM") != nullptr; }
};

}  // namespace sonde::test
