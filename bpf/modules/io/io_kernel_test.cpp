// SPDX-License-Identifier: Apache-2.0
// Known work, exact counts: the families of calls, what descriptors lead to, failures. Loss, load and sampling are in
// exactness_kernel_test.cpp, io_uring and open files in objects_kernel_test.cpp.
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "tests/kernel/support/io_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("IoFentryTest.*", Trait::Equipment);

// Each scenario is a test by the tracepoints, and a part of one test by fentry.
class IoCallsTest : public IoTest {
 protected:
  void known_work_is_counted_exactly_and_other_work_nowhere();
  void minimal_counts_bytes_without_the_begin_of_calls();
  void all_forms_of_read_and_write_count();
  void transfers_count_on_both_sides();
  void what_is_not_a_file_is_a_stream_of_its_kind();
  void detailed_counts_calls_by_path();
};

class IoFentryTest : public IoCallsTest {
 protected:
  const char* alternative() const override { return "fentry"; }
};

TEST_F(IoCallsTest, KnownWorkIsCountedExactlyAndOtherWorkNowhere) {
  known_work_is_counted_exactly_and_other_work_nowhere();
}
TEST_F(IoCallsTest, MinimalCountsBytesWithoutTheBeginOfCalls) { minimal_counts_bytes_without_the_begin_of_calls(); }
TEST_F(IoCallsTest, AllFormsOfReadAndWriteCount) { all_forms_of_read_and_write_count(); }
TEST_F(IoCallsTest, TransfersCountOnBothSides) { transfers_count_on_both_sides(); }
TEST_F(IoCallsTest, WhatIsNotAFileIsAStreamOfItsKind) { what_is_not_a_file_is_a_stream_of_its_kind(); }
TEST_F(IoCallsTest, DetailedCountsCallsByPath) { detailed_counts_calls_by_path(); }

TEST_F(IoFentryTest, CountsTheSame) {
  minimal_counts_bytes_without_the_begin_of_calls();
  known_work_is_counted_exactly_and_other_work_nowhere();
  all_forms_of_read_and_write_count();
  transfers_count_on_both_sides();
  what_is_not_a_file_is_a_stream_of_its_kind();
  detailed_counts_calls_by_path();
}

constexpr std::size_t kBlock = 4096;
constexpr int kReads = 10'000;
constexpr int kWrites = 10'000;
constexpr int kPipeReads = 500;
constexpr int kFsyncs = 11;

// What the agent is judged by: 10,000 reads and writes, 37 failing reads, 11 fsync, 500 reads of a pipe.
void known_work() {
  std::array<char, kBlock> block{};
  const int file = scratch_file(0, "/tmp");
  const int directory = open("/", O_RDONLY | O_DIRECTORY);
  int pipes[2];
  MUST(file >= 0 && directory >= 0 && pipe(pipes) == 0);
  for (int i = 0; i < kWrites; i++) {
    if (i % 16 == 0) MUST(lseek(file, 0, SEEK_SET) == 0);
    MUST(write(file, block.data(), kBlock) == kBlock);
  }
  for (int i = 0; i < kReads; i++) {
    if (i % 16 == 0) MUST(lseek(file, 0, SEEK_SET) == 0);
    MUST(read(file, block.data(), kBlock) == kBlock);
  }
  MUST(lseek(file, 0, SEEK_SET) == 0);
  for (int i = 0; i < 20; i++) MUST(read(1000, block.data(), kBlock) < 0 && errno == EBADF);
  for (int i = 0; i < 10; i++) MUST(read(directory, block.data(), kBlock) < 0 && errno == EISDIR);
  for (int i = 0; i < 7; i++) MUST(read(file, bad_address(), kBlock) < 0 && errno == EFAULT);
  for (int i = 0; i < kFsyncs; i++) MUST(fsync(file) == 0);
  for (int i = 0; i < kPipeReads; i++) {
    MUST(write(pipes[1], block.data(), 64) == 64);
    MUST(read(pipes[0], block.data(), 64) == 64);
  }
}

void IoCallsTest::known_work_is_counted_exactly_and_other_work_nowhere() {
  start_over();
  for (const Cleanup cleanup : {Cleanup::Keep, Cleanup::Clear}) {
    cleanup_ = cleanup;
    start_over();
    const std::string tag = cleanup == Cleanup::Keep ? "keep" : "clear";
    Cgroup& other = cgroup("other-" + tag);
    select(other, {});
    Cgroup& box = selected("box-" + tag, kIoDetailed);
    for (int round = 1; round <= 2; round++) {
      box.run(known_work);
      other.run(known_work);
      collect();
      EXPECT_EQ(bytes(box, "read"), int64_t{kReads} * kBlock * round);
      EXPECT_EQ(bytes(box, "write"), int64_t{kWrites} * kBlock * round);
      EXPECT_EQ(calls(box, "read"), static_cast<uint64_t>(kReads + 37) * round);
      EXPECT_EQ(calls(box, "write"), static_cast<uint64_t>(kWrites) * round);
      EXPECT_EQ(calls(box, "fsync"), static_cast<uint64_t>(kFsyncs) * round);
      EXPECT_EQ(errors(box, "read", "EBADF"), 20 * round);
      EXPECT_EQ(errors(box, "read", "EISDIR"), 10 * round);
      EXPECT_EQ(errors(box, "read", "EFAULT"), 7 * round);
      EXPECT_EQ(waits(box, "pipe", "read").count, static_cast<uint64_t>(kPipeReads) * round);
      EXPECT_EQ(stream_bytes(box, "pipe", "read"), int64_t{kPipeReads} * 64 * round);
      EXPECT_EQ(stream_bytes(box, "pipe", "write"), int64_t{kPipeReads} * 64 * round);
      EXPECT_EQ(everything(other), 0U);
      EXPECT_EQ(lost(), 0U);
    }
    for (const auto& [slot, values] : totals_.values) {
      for (const auto& [name, value] : values)
        EXPECT_TRUE(slot == slot_of(box) || value == 0) << name << " on " << slot;
    }
  }
}

TEST_F(IoCallsTest, StandardDoesNotSeeStreams) {
  Cgroup& box = selected("box", kIoStandard);
  box.run(known_work);
  collect();
  EXPECT_EQ(calls(box, "read"), static_cast<uint64_t>(kReads) + 37);
  EXPECT_EQ(calls(box, "write"), static_cast<uint64_t>(kWrites));
  EXPECT_EQ(waits(box, "pipe", "read").count, 0U);
  EXPECT_EQ(calls(box, "open"), 0U);
  EXPECT_EQ(lost(), 0U);
}

void IoCallsTest::minimal_counts_bytes_without_the_begin_of_calls() {
  start_over();
  Cgroup& box = selected("box", IO_BYTES);
  const bool tracepoints = !by_fentry();
  EXPECT_TRUE(is_attached(tracepoints ? "io_sys_exit" : "io_exit_read"));
  EXPECT_FALSE(is_attached(tracepoints ? "io_sys_enter" : "io_enter_read"));
  EXPECT_FALSE(is_attached("io_exit_fsync"));
  box.run(known_work);
  collect();
  EXPECT_EQ(bytes(box, "read"), int64_t{kReads} * kBlock);
  EXPECT_EQ(bytes(box, "write"), int64_t{kWrites} * kBlock);
  EXPECT_EQ(calls(box, "read"), 0U);
  EXPECT_EQ(on_files(box), static_cast<uint64_t>(kReads + kWrites) * kBlock);
  EXPECT_EQ(lost(), 0U);
  select(box, {});
  EXPECT_FALSE(is_attached(tracepoints ? "io_sys_exit" : "io_exit_read"));
}

void IoCallsTest::all_forms_of_read_and_write_count() {
  start_over();
  Cgroup& box = selected("box", kIoStandard);
  box.run([] {
    std::array<char, 100> a{}, b{};
    const iovec parts[2] = {{a.data(), 60}, {b.data(), 40}};
    const int file = scratch_file(0);
    MUST(write(file, a.data(), 100) == 100);
    MUST(pwrite(file, a.data(), 100, 0) == 100);
    MUST(writev(file, parts, 2) == 100);
    MUST(pwritev(file, parts, 2, 0) == 100);
    MUST(pwritev2(file, parts, 2, 0, RWF_SYNC) == 100);  // durable, but one write: not an fsync as well
    MUST(lseek(file, 0, SEEK_SET) == 0);
    MUST(read(file, a.data(), 100) == 100);
    MUST(pread(file, a.data(), 100, 0) == 100);
    MUST(readv(file, parts, 2) == 100);
    MUST(preadv(file, parts, 2, 0) == 100);
    MUST(preadv2(file, parts, 2, 0, 0) == 100);
    MUST(read(file, a.data(), 100) == 0);  // the end: an operation of no bytes
    MUST(fsync(file) == 0 && fdatasync(file) == 0);
  });
  collect();
  EXPECT_EQ(calls(box, "read"), 6U);
  EXPECT_EQ(calls(box, "write"), 5U);
  EXPECT_EQ(bytes(box, "read"), 500);
  EXPECT_EQ(bytes(box, "write"), 500);
  EXPECT_EQ(calls(box, "fsync"), 2U);
}

void IoCallsTest::transfers_count_on_both_sides() {
  start_over();
  Cgroup& box = selected("box", kIoStandard | IO_STREAM);
  box.run([] {
    const int from = scratch_file(8192), to = scratch_file(0);
    int pipes[2], sockets[2];
    MUST(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    off_t at = 0;
    loff_t in = 0, out = 0;
    MUST(sendfile(sockets[0], from, &at, 1000) == 1000);  // file to socket
    at = 0;
    MUST(sendfile(to, from, &at, 2000) == 2000);                  // file to file
    MUST(splice(from, &in, pipes[1], nullptr, 3000, 0) == 3000);  // file to pipe
    MUST(splice(pipes[0], nullptr, to, &out, 3000, 0) == 3000);   // pipe to file
    in = out = 0;
    MUST(copy_file_range(from, &in, to, &out, 4000, 0) == 4000);
    MUST(copy_file_range(from, &in, 1000, &out, 4000, 0) < 0 && errno == EBADF);
    int more[2];
    std::array<char, 700> data{};
    const iovec part{data.data(), data.size()};
    MUST(pipe(more) == 0);
    MUST(vmsplice(more[1], &part, 1, 0) == 700);  // memory to pipe
    MUST(tee(more[0], pipes[1], 300, 0) == 300);  // stays in its input
    MUST(vmsplice(more[0], &part, 1, 0) == 700);  // pipe to memory
    MUST(vmsplice(1000, &part, 1, 0) < 0 && errno == EBADF);
  });
  collect();
  EXPECT_EQ(bytes(box, "read"), 1000 + 2000 + 3000 + 4000);
  EXPECT_EQ(bytes(box, "write"), 2000 + 3000 + 4000);
  EXPECT_EQ(calls(box, "read"), 6U);
  EXPECT_EQ(calls(box, "write"), 4U);
  EXPECT_EQ(stream_bytes(box, "socket", "write"), 1000);
  EXPECT_EQ(stream_bytes(box, "pipe", "write"), 3000 + 700 + 300);
  EXPECT_EQ(stream_bytes(box, "pipe", "read"), 3000 + 700);
  EXPECT_EQ(errors(box, "read", "EBADF"), 2);
  EXPECT_EQ(errors(box, "write", "EBADF"), 1);
}

void IoCallsTest::what_is_not_a_file_is_a_stream_of_its_kind() {
  start_over();
  Cgroup& box = selected("box", kIoStandard | IO_STREAM);
  box.run([] {
    std::array<char, 64> data{};
    int pipes[2], sockets[2];
    MUST(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    MUST(write(pipes[1], data.data(), 10) == 10 && read(pipes[0], data.data(), 64) == 10);
    MUST(write(sockets[0], data.data(), 20) == 20 && read(sockets[1], data.data(), 64) == 20);
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0) {  // a machine of tests alone has no terminals yet
      MUST(unshare(CLONE_NEWNS) == 0 && (mkdir("/dev/pts", 0755) == 0 || errno == EEXIST));
      MUST(mount("devpts", "/dev/pts", "devpts", 0, nullptr) == 0);
      terminal = posix_openpt(O_RDWR | O_NOCTTY);
    }
    MUST(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    const int slave = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    MUST(slave >= 0);
    MUST(write(terminal, "12345\n", 6) == 6 && read(slave, data.data(), 64) == 6);
    const int zero = open("/dev/zero", O_RDWR);
    MUST(read(zero, data.data(), 40) == 40 && write(zero, data.data(), 50) == 50);
    const int event = eventfd(7, 0);
    MUST(read(event, data.data(), 8) == 8);
  });
  collect();
  EXPECT_EQ(stream_bytes(box, "pipe", "write"), 10);
  EXPECT_EQ(stream_bytes(box, "pipe", "read"), 10);
  EXPECT_EQ(stream_bytes(box, "socket", "write"), 20);
  EXPECT_EQ(stream_bytes(box, "socket", "read"), 20);
  EXPECT_EQ(stream_bytes(box, "tty", "write"), 6);
  EXPECT_EQ(stream_bytes(box, "tty", "read"), 6);
  EXPECT_EQ(stream_bytes(box, "other", "read"), 40 + 8);
  EXPECT_EQ(stream_bytes(box, "other", "write"), 50);
  EXPECT_EQ(waits(box, "other", "read").count, 2U);
  EXPECT_EQ(waits(box, "tty", "write").count, 1U);
  EXPECT_EQ(on_files(box), 0U);
}

void IoCallsTest::detailed_counts_calls_by_path() {
  start_over();
  Cgroup& box = selected("box", kIoStandard | IO_DETAIL);
  box.run([] {
    const std::string directory = "/tmp/sonde-io-detail-" + std::to_string(getpid());
    const std::string a = directory + "/a", b = directory + "/b";
    struct stat status {};
    MUST(mkdir(directory.c_str(), 0700) == 0);
    const int fd = open(a.c_str(), O_CREAT | O_RDWR, 0600);  // open 1
    MUST(fd >= 0);
    MUST(close(open(a.c_str(), O_RDONLY)) == 0);                          // open 2, close 1
    MUST(open((directory + "/none").c_str(), O_RDONLY) < 0);              // open 3, ENOENT
    MUST(syscall(SYS_newfstatat, AT_FDCWD, a.c_str(), &status, 0) == 0);  // stat 1
    MUST(syscall(SYS_fstat, fd, &status) == 0);                           // stat 2
    MUST(syscall(SYS_statx, AT_FDCWD, b.c_str(), 0, 0, nullptr) < 0);     // stat 3, ENOENT or EFAULT
#ifdef SYS_stat
    MUST(syscall(SYS_stat, a.c_str(), &status) == 0);   // stat 4
    MUST(syscall(SYS_lstat, a.c_str(), &status) == 0);  // stat 5
#else
    for (int i = 0; i < 2; i++) MUST(syscall(SYS_newfstatat, AT_FDCWD, a.c_str(), &status, 0) == 0);
#endif
    MUST(rename(a.c_str(), b.c_str()) == 0);                                         // rename 1
    MUST(syscall(SYS_renameat2, AT_FDCWD, b.c_str(), AT_FDCWD, a.c_str(), 0) == 0);  // rename 2
    MUST(rename(b.c_str(), a.c_str()) < 0);                                          // rename 3, ENOENT
    MUST(unlink(a.c_str()) == 0);                                                    // unlink 1
    MUST(unlinkat(AT_FDCWD, a.c_str(), 0) < 0);                                      // unlink 2, ENOENT
    MUST(rmdir(directory.c_str()) == 0);                                             // unlink 3
    MUST(syscall(SYS_open_by_handle_at, AT_FDCWD, bad_address(), O_RDONLY) < 0);     // open 4, EFAULT
    int pipes[2];
    MUST(pipe(pipes) == 0 && close(pipes[0]) == 0);  // not a file
    MUST(close(fd) == 0);                            // close 2
    MUST(close(1000) < 0);                           // close 3, EBADF
  });
  collect();
  EXPECT_EQ(calls(box, "open"), 4U);
  EXPECT_EQ(calls(box, "close"), 3U);
  EXPECT_EQ(calls(box, "stat"), 5U);
  EXPECT_EQ(calls(box, "rename"), 3U);
  EXPECT_EQ(calls(box, "unlink"), 3U);
  EXPECT_EQ(errors(box, "open", "ENOENT"), 1);
  EXPECT_EQ(errors(box, "close", "EBADF"), 1);
  EXPECT_EQ(errors(box, "stat", "ENOENT") + errors(box, "stat", "EFAULT"), 1);
  EXPECT_EQ(errors(box, "rename", "ENOENT"), 1);
  EXPECT_EQ(errors(box, "unlink", "ENOENT"), 1);
  EXPECT_EQ(lost(), 0U);
}

TEST_F(IoCallsTest, FailuresBeyondTheCellsAreStillCounted) {
  Cgroup& box = selected("box", kIoStandard | IO_DETAIL);
  // More pairs of operation and error than a slot has cells, none of which a machine refuses to produce.
  box.run([] {
    const std::string long_name(300, 'n');
    const int file = scratch_file(4096), directory = open("/", O_RDONLY),
              readable = open("/proc/self/status", O_RDONLY);
    char byte = 0;
    struct stat status {};
    char* const bad = bad_address();
    read(-1, &byte, 1), read(directory, &byte, 1), read(file, bad, 1), pread(file, &byte, 1, -1);     // 4 keys
    write(-1, &byte, 1), write(file, bad, 1), pwrite(file, &byte, 1, -1), write(readable, &byte, 1);  // EBADF again: 3
    fsync(-1), fsync(readable);                                                                       // 2
    open("/none", O_RDONLY), open("/dev/null/x", O_RDONLY), open("/", O_WRONLY), open(bad, O_RDONLY), open("", O_CREAT);
    rename("/none", "/none2"), rename("/dev/null/x", "/none2"), rename(bad, "/none2");  // 4 + 3
    unlink("/none"), unlink("/dev/null/x"), unlink("/"), unlink(bad);                   // 4
    syscall(SYS_newfstatat, AT_FDCWD, "/none", &status, 0), syscall(SYS_newfstatat, AT_FDCWD, bad, &status, 0);
    open(long_name.c_str(), O_RDONLY), rename(long_name.c_str(), "/none2"), unlink(long_name.c_str());  // 3
    syscall(SYS_newfstatat, AT_FDCWD, long_name.c_str(), &status, 0);                                   // 1
    close(-1);
  });
  collect();
  int64_t named = 0, other = 0;
  for (const auto& [name, value] : totals_.values[slot_of(box)]) {
    if (!name.starts_with("sonde.file.operation.errors")) continue;
    (name == "sonde.file.operation.errors|_OTHER" ? other : named) += value;
  }
  EXPECT_EQ(named + other, 4 + 4 + 2 + 5 + 3 + 4 + 2 + 4 + 1);
  EXPECT_GT(other, 0);
}

}  // namespace
}  // namespace sonde::test
