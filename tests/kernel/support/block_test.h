// SPDX-License-Identifier: Apache-2.0
// Fixture of the block probe's kernel tests, I/O that no cache hides, and devices made for a test (null_blk), which say
// themselves what was done to them. Where the kernel has no null_blk, those tests are skipped.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "agent/base/fd.h"
#include "bpf/modules/block/block.h"
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/tracepoint_count.h"

namespace sonde::test {

// What failed inside a child ends it with a code of its own: the exit status says which line.
#define MUST(condition)                                              \
  do {                                                               \
    if (!(condition)) _exit(static_cast<int>(100 + __LINE__ % 100)); \
  } while (0)

inline constexpr uint8_t kBlockStandard = BLOCK_FLAG_BYTES | BLOCK_FLAG_DURATION | BLOCK_FLAG_ERRORS;
inline constexpr std::size_t kDiskBlock = 4096;  // what O_DIRECT is done in

// Memory as O_DIRECT wants it, until the process ends.
char* aligned_buffer(std::size_t size);

// `count` times `size` bytes, `step` bytes apart, one after the other.
void read_direct(const std::string& path, int count, std::size_t size, std::size_t step);
void write_direct(const std::string& path, int count, std::size_t size, std::size_t step);
// All submitted at once (io_submit), so that the kernel may merge what is adjacent; waits for all of them.
void submit_direct(const std::string& path, bool write, int count, std::size_t size, std::size_t step);

// A regular file whose blocks are on the disk; removed with the object. In TMPDIR or /tmp.
class DiskFile {
 public:
  explicit DiskFile(std::size_t size);
  ~DiskFile();
  DiskFile(const DiskFile&) = delete;
  DiskFile& operator=(const DiskFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The path of a file that somebody will make: the kernel charges writeback to who makes and fills it. Removed with the object.
class NewFile {
 public:
  NewFile();
  ~NewFile() { unlink(path_.c_str()); }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The disk that test files are on ("vda"); empty if they are in memory.
std::string disk_of_files();
uint64_t largest_request(const std::string& disk);  // bytes

// /sys/block/<disk>/stat
struct DiskStat {
  uint64_t reads = 0, read_sectors = 0, writes = 0, write_sectors = 0, merges = 0;
  uint64_t discards = 0, discard_sectors = 0, flushes = 0;
  DiskStat operator-(const DiskStat& before) const;
};

class NullDisk {
 public:
  // Attributes as of configfs; 256 MB, one queue and memory behind it unless said otherwise.
  explicit NullDisk(std::map<std::string, std::string> attributes = {});
  ~NullDisk();
  NullDisk(const NullDisk&) = delete;
  NullDisk& operator=(const NullDisk&) = delete;

  explicit operator bool() const { return !name_.empty(); }  // false: not on this kernel
  const std::string& name() const { return name_; }
  std::string path() const { return "/dev/" + name_; }
  std::string attribute(const std::string& name) const;  // of /sys/block/<disk>/
  bool set(const std::string& name, const std::string& value) const;
  bool configure(const std::string& name, const std::string& value) const;  // of configfs
  DiskStat stat() const;

 private:
  std::string directory_;
  std::string name_;
};

class BlockTest : public KernelTest {
 protected:
  // Never one too many; missing may be what ended unseen since the test began, each at most `request` large.
  void expect_seen(uint64_t counted, uint64_t truth, uint64_t request = 1) const {
    EXPECT_LE(counted, truth);
    EXPECT_GE(counted + unseen() * request, truth) << unseen() << " requests ended where no program sees it";
  }
  void TearDown() override;  // says of a failed test what the kernel did not let the programs see
  EngineOptions options() const override;
  // The io controller is on the v2 tree, so that a bio names its cgroup.
  bool bios_name_cgroups() { return engine().modules()[module_id("block")].alternative == "bio_cgroup"; }

  uint64_t bytes(const Cgroup& box, const std::string& direction) {
    return static_cast<uint64_t>(total(box, "sonde.block.io", {direction}));
  }
  uint64_t operations(const Cgroup& box, const std::string& operation) {
    return histogram(box, "sonde.block.operation.duration", {operation}).count;
  }
  int64_t errors(const Cgroup& box, const std::string& operation, const std::string& error) {
    return total(box, "sonde.block.operation.errors", {operation, error});
  }
  uint64_t unseen() const { return unseen_.count(); }  // since the test began

 private:
  TracepointCount unseen_ = hits_unseen("block:block_rq_complete");
};

}  // namespace sonde::test
