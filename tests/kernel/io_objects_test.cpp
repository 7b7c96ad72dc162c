// SPDX-License-Identifier: Apache-2.0
// The io probe beside system calls: open files by the iterator, requests of io_uring.
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <atomic>
#include <cstring>
#include <filesystem>

#include "tests/kernel/support/io_test.h"

namespace sonde::test {
namespace {

class IoObjectsTest : public IoTest {};

// A ring without liburing: submit one request, wait for its completion.
class Ring {
 public:
  explicit Ring(unsigned flags = 0) {
    parameters_.flags = flags;
    fd_ = static_cast<int>(syscall(SYS_io_uring_setup, 8, &parameters_));
    if (fd_ < 0) return;
    const auto& sq = parameters_.sq_off;
    const auto& cq = parameters_.cq_off;
    sq_ = map(sq.array + parameters_.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    cq_ = map(cq.cqes + parameters_.cq_entries * sizeof(io_uring_cqe), IORING_OFF_CQ_RING);
    sqes_ = reinterpret_cast<io_uring_sqe*>(map(parameters_.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
  }

  int error() const { return fd_ < 0 ? errno : 0; }
  int fd() const { return fd_; }

  // The request's result.
  int run(const io_uring_sqe& request) {
    submit(request);
    auto* head = at(cq_, parameters_.cq_off.head);
    auto* tail = at(cq_, parameters_.cq_off.tail);
    while (head->load() == tail->load()) {
      if (syscall(SYS_io_uring_enter, fd_, 0, 1, IORING_ENTER_GETEVENTS, nullptr, 0) < 0) return -errno;
    }
    const auto* cqes = reinterpret_cast<const io_uring_cqe*>(cq_ + parameters_.cq_off.cqes);
    const int result = cqes[head->load() & (parameters_.cq_entries - 1)].res;
    head->fetch_add(1);
    return result;
  }

  void submit(const io_uring_sqe& request) {
    auto* tail = at(sq_, parameters_.sq_off.tail);
    const unsigned index = tail->load() & (parameters_.sq_entries - 1);
    sqes_[index] = request;
    reinterpret_cast<unsigned*>(sq_ + parameters_.sq_off.array)[index] = index;
    tail->fetch_add(1);
    MUST(syscall(SYS_io_uring_enter, fd_, 1, 0, 0, nullptr, 0) == 1);
  }

 private:
  char* map(std::size_t size, off_t what) {
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, what);
    MUST(memory != MAP_FAILED);
    return static_cast<char*>(memory);
  }
  static std::atomic<unsigned>* at(char* ring, unsigned offset) {
    return reinterpret_cast<std::atomic<unsigned>*>(ring + offset);
  }

  io_uring_params parameters_{};
  int fd_ = -1;
  char* sq_ = nullptr;
  char* cq_ = nullptr;
  io_uring_sqe* sqes_ = nullptr;
};

io_uring_sqe request(int opcode, int fd, const void* memory, unsigned length, uint64_t offset = 0) {
  io_uring_sqe sqe{};
  sqe.opcode = static_cast<__u8>(opcode);
  sqe.fd = fd;
  sqe.addr = reinterpret_cast<uint64_t>(memory);
  sqe.len = length;
  sqe.off = offset;
  return sqe;
}

class IoUringTest : public IoTest {
 protected:
  void SetUp() override {
    IoTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const Ring ring;
    if (ring.error()) GTEST_SKIP() << "io_uring_setup: " << strerror(ring.error());
    ::close(ring.fd());
  }
  int64_t opcode(const Cgroup& box, const char* name) { return total(box, "sonde.io_uring.operations", {name}); }
};

TEST_F(IoUringTest, RequestsCountInTheRowsOfFilesAndStreams) {
  Cgroup& box = selected("box", kIoDetailed & ~IO_DETAIL);
  box.run([] {
    Ring ring;
    std::array<char, 4096> data{};
    const int file = scratch_file(0);
    const iovec part{data.data(), 1000};
    int pipes[2];
    MUST(pipe(pipes) == 0);
    for (int i = 0; i < 100; i++) MUST(ring.run(request(IORING_OP_WRITE, file, data.data(), 4096)) == 4096);
    for (int i = 0; i < 50; i++) MUST(ring.run(request(IORING_OP_READ, file, data.data(), 4096)) == 4096);
    for (int i = 0; i < 10; i++) MUST(ring.run(request(IORING_OP_READV, file, &part, 1)) == 1000);
    for (int i = 0; i < 5; i++) MUST(ring.run(request(IORING_OP_FSYNC, file, nullptr, 0)) == 0);
    MUST(ring.run(request(IORING_OP_READ, file, bad_address(), 4096)) == -EFAULT);
    MUST(ring.run(request(IORING_OP_READ, 1000, data.data(), 4096)) == -EBADF);
    MUST(ring.run(request(IORING_OP_WRITE, pipes[1], data.data(), 77, ~0ULL)) == 77);
    MUST(ring.run(request(IORING_OP_NOP, -1, nullptr, 0)) == 0);
  });
  collect();
  EXPECT_EQ(bytes(box, "write"), 100 * 4096);
  EXPECT_EQ(bytes(box, "read"), 50 * 4096 + 10 * 1000);
  EXPECT_EQ(calls(box, "write"), 100U);
  EXPECT_EQ(calls(box, "read"), 62U);
  EXPECT_EQ(calls(box, "fsync"), 5U);
  EXPECT_EQ(errors(box, "read", "EFAULT"), 1);
  EXPECT_EQ(errors(box, "read", "EBADF"), 1);
  EXPECT_EQ(stream_bytes(box, "pipe", "write"), 77);
  EXPECT_EQ(waits(box, "pipe", "write").count, 1U);
  EXPECT_EQ(opcode(box, "write"), 101);
  EXPECT_EQ(opcode(box, "read"), 52);
  EXPECT_EQ(opcode(box, "readv"), 10);
  EXPECT_EQ(opcode(box, "fsync"), 5);
  EXPECT_EQ(opcode(box, "nop"), 1);
  EXPECT_EQ(losses("io", SONDE_LOSS_IN_FLIGHT), 0U);
}

// IOSQE_ASYNC: a kernel worker does the work; it is the submitter's nevertheless. A read that waits has its latency.
TEST_F(IoUringTest, WorkOfKernelWorkersAndLongWaitsBelongToTheSubmitter) {
  Cgroup& box = selected("box", kIoStandard | IO_STREAM);
  Cgroup& other = selected("other", kIoStandard | IO_STREAM);
  box.run([] {
    Ring ring;
    std::array<char, 512> data{};
    int pipes[2];
    MUST(pipe(pipes) == 0);
    const int file = scratch_file(512);
    for (int i = 0; i < 20; i++) {
      io_uring_sqe sqe = request(IORING_OP_READ, file, data.data(), 512);
      sqe.flags = IOSQE_ASYNC;
      MUST(ring.run(sqe) == 512);
    }
    const pid_t writer = fork();
    if (writer == 0) {
      usleep(500'000);  // much longer than what is asked for below: the reader may begin late
      _exit(write(pipes[1], data.data(), 10) == 10 ? 0 : 1);
    }
    MUST(ring.run(request(IORING_OP_READ, pipes[0], data.data(), 512, ~0ULL)) == 10);
    MUST(waitpid(writer, nullptr, 0) == writer);
  });
  collect();
  EXPECT_EQ(calls(box, "read"), 20U);
  EXPECT_EQ(bytes(box, "read"), 20 * 512);
  EXPECT_EQ(stream_bytes(box, "pipe", "read"), 10);
  const auto wait = waits(box, "pipe", "read");
  EXPECT_EQ(wait.count, 1U);
  EXPECT_GT(wait.sum, 50'000'000U);
  EXPECT_LT(wait.sum, 60'000'000'000U);
  EXPECT_EQ(everything(other), 0U);
}

TEST_F(IoUringTest, UnselectedRequestsCountNowhere) {
  Cgroup& box = selected("box", kIoDetailed);
  Cgroup& other = cgroup("other");
  select(other, {});
  other.run([] {
    Ring ring;
    char byte = 0;
    const int file = scratch_file(1);
    for (int i = 0; i < 100; i++) MUST(ring.run(request(IORING_OP_READ, file, &byte, 1)) == 1);
  });
  collect();
  EXPECT_EQ(everything(box), 0U);
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(losses("io"), 0U);
}

// Regular files and block devices among the descriptors of the calling process: what the iterator should find.
int64_t files_open() {
  int64_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    struct stat status {};
    const int fd = std::stoi(entry.path().filename());
    if (fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode))) count++;
  }
  return count;
}

TEST_F(IoObjectsTest, OpenFilesAreThoseOfAllProcesses) {
  Cgroup& box = selected("box", IO_OPEN_COUNT);
  Cgroup& idle = selected("idle", IO_OPEN_COUNT);
  Cgroup& other = cgroup("other");
  select(other, {});
  int ready[2], end[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(end), 0);
  const pid_t child = box.start([&] {
    ::close(end[1]);
    for (int i = 0; i < 100; i++) MUST(scratch_file(0) >= 0);
    int pipes[2];
    MUST(pipe(pipes) == 0);
    int64_t open_here = files_open();
    const pid_t grandchild = fork();  // has the same descriptors in a table of its own
    if (grandchild != 0) MUST(write(ready[1], &open_here, sizeof(open_here)) == sizeof(open_here));
    char byte;
    MUST(read(end[0], &byte, 1) == 0);
    if (grandchild != 0) MUST(waitpid(grandchild, nullptr, 0) == grandchild);
  });
  const pid_t elsewhere = other.start([&] {
    ::close(end[1]);
    char byte;
    MUST(scratch_file(0) >= 0 && read(end[0], &byte, 1) == 0);
  });
  int64_t each = 0;
  ASSERT_EQ(read(ready[0], &each, sizeof(each)), static_cast<ssize_t>(sizeof(each)));
  EXPECT_GE(each, 100);
  for (int i = 0; i < 2; i++) {  // not added up
    collect(true);
    EXPECT_EQ(total(box, "sonde.file.open_descriptors"), 2 * each);
    EXPECT_EQ(everything(idle) + everything(other), 0U);
  }
  ::close(end[1]);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_EQ(waitpid(elsewhere, &status, 0), elsewhere);
  EXPECT_EQ(status, 0);
  collect(true);
  EXPECT_EQ(total(box, "sonde.file.open_descriptors"), 0);
  for (const int fd : {ready[0], ready[1], end[0]}) ::close(fd);
}

TEST_F(IoObjectsTest, MissingIoUringHooksAreNamedAsGaps) {
  for (const auto& program : report_.programs) {
    EXPECT_TRUE(program.state != ProgramState::Failed || !program.gap.empty()) << program.name;
  }
}

}  // namespace
}  // namespace sonde::test
