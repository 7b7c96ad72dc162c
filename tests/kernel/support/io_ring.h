// SPDX-License-Identifier: Apache-2.0
// Rings and requests of io_uring for tests.
#pragma once

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <atomic>
#include <cstring>

#include "tests/kernel/support/io_test.h"

namespace sonde::test {

// A ring without liburing.
class Ring {
 public:
  explicit Ring(unsigned entries = 8, unsigned flags = 0) {
    parameters_.flags = flags;
    fd_ = static_cast<int>(syscall(SYS_io_uring_setup, entries, &parameters_));
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
    put(request);
    submit(1);
    return next();
  }
  void put(const io_uring_sqe& request) {
    auto* tail = at(sq_, parameters_.sq_off.tail);
    const unsigned index = tail->load() & (parameters_.sq_entries - 1);
    sqes_[index] = request;
    reinterpret_cast<unsigned*>(sq_ + parameters_.sq_off.array)[index] = index;
    tail->fetch_add(1);
  }
  void submit(unsigned n) { MUST(syscall(SYS_io_uring_enter, fd_, n, 0, 0, nullptr, 0) == static_cast<long>(n)); }
  // Waits for the next completion: its result.
  int next() {
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

inline io_uring_sqe request(int opcode, int fd, const void* memory, unsigned length, uint64_t offset = 0) {
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

}  // namespace sonde::test
