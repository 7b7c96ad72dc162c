// SPDX-License-Identifier: Apache-2.0
// Requests of io_uring: each opcode counts as what the table says, whoever does the work and however its end is told.
#include <bpf/btf.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <algorithm>
#include <cctype>

#include "bpf/modules/io/names_tables.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/io_ring.h"
#include "tests/kernel/support/span_test.h"

namespace sonde::test {
namespace {

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

TEST_F(IoUringTest, AFailedRequestIsASpanOfTheSubmittersProcess) {
  Spans spans(engine().module_object("io"));
  Cgroup& box = selected("box", kIoStandard);
  spans.ask(slot_of(box), {{SONDE_SPAN_READ, 1'000'000}, {SONDE_SPAN_FSYNC, 1'000'000}}, {SONDE_SPAN_READ});
  const pid_t child = box.start([] {
    Ring ring;
    std::array<char, 4096> data{};
    const int file = scratch_file(4096);
    MUST(ring.run(request(IORING_OP_READ, file, data.data(), 4096)) == 4096);
    for (const bool by_worker : {false, true}) {
      io_uring_sqe sqe = request(IORING_OP_READ, file, bad_address(), 4096);
      if (by_worker) sqe.flags = IOSQE_ASYNC;
      MUST(ring.run(sqe) == -EFAULT);
    }
    MUST(ring.run(request(IORING_OP_FSYNC, 1000, nullptr, 0)) == -EBADF);
  });
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  const auto sent = spans.take();
  ASSERT_EQ(sent.size(), 2U);
  for (const sonde_span& span : sent) {
    EXPECT_EQ(span.operation, static_cast<uint32_t>(SONDE_SPAN_READ));
    EXPECT_EQ(span.slot, slot_of(box));
    EXPECT_EQ(span.error, EFAULT);
    if (engine().features().first_pid_namespace) {
      EXPECT_EQ(span.tgid, static_cast<uint32_t>(child));
    }
  }
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

// The running kernel's own list: what it has we have, under its name.
TEST_F(IoUringTest, EachOpcodeOfThisKernelIsInTheTable) {
  btf* kernel = btf__load_vmlinux_btf();
  ASSERT_NE(kernel, nullptr);
  const int id = btf__find_by_name_kind(kernel, "io_uring_op", BTF_KIND_ENUM);
  ASSERT_GT(id, 0);
  const btf_type* type = btf__type_by_id(kernel, static_cast<uint32_t>(id));
  int known = 0;
  for (int i = 0; i < btf_vlen(type); i++) {
    std::string name = btf__name_by_offset(kernel, btf_enum(type)[i].name_off);
    const auto number = static_cast<std::size_t>(btf_enum(type)[i].val);
    if (name == "IORING_OP_LAST") continue;
    ASSERT_TRUE(name.starts_with("IORING_OP_")) << name;
    name.erase(0, strlen("IORING_OP_"));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    ASSERT_LT(number, std::size_t{IO_KNOWN_OPCODES}) << name << " is new: say in opcodes.h what it counts as";
    EXPECT_EQ(kOpcodeNames[number], name);
    known++;
  }
  EXPECT_GE(known, 40);
  btf__free(kernel);
}

io_uring_sqe splice_request(int in, uint64_t at, int out, uint64_t to, unsigned length, unsigned flags = 0) {
  io_uring_sqe sqe = request(IORING_OP_SPLICE, out, nullptr, length, to);
  sqe.splice_off_in = at;
  sqe.splice_fd_in = in;
  sqe.splice_flags = flags;
  return sqe;
}

TEST_F(IoUringTest, SpliceCountsOnBothSidesAndTeeOnItsOutput) {
  Cgroup& box = selected("box", kIoStandard | IO_STREAM);
  box.run([] {
    Ring ring;
    constexpr uint64_t kNowhere = ~0ULL;
    const int from = scratch_file(8192), to = scratch_file(0);
    int one[2], two[2];
    MUST(pipe(one) == 0 && pipe(two) == 0);
    MUST(ring.run(splice_request(from, 0, one[1], kNowhere, 3000)) == 3000);
    io_uring_sqe tee_request = splice_request(one[0], 0, two[1], 0, 2000);
    tee_request.opcode = IORING_OP_TEE;
    MUST(ring.run(tee_request) == 2000);
    MUST(ring.run(splice_request(one[0], kNowhere, to, 0, 3000)) == 3000);
    MUST(ring.run(splice_request(1000, kNowhere, one[1], kNowhere, 10)) == -EBADF);
    // Of a registered file, which no descriptor names: a pipe if the output is none.
    const int registered[2] = {two[0], from};
    MUST(syscall(SYS_io_uring_register, ring.fd(), IORING_REGISTER_FILES, registered, 2) == 0);
    MUST(ring.run(splice_request(0, kNowhere, to, 0, 2000, SPLICE_F_FD_IN_FIXED)) == 2000);
    MUST(ring.run(splice_request(1, 0, one[1], kNowhere, 500, SPLICE_F_FD_IN_FIXED)) == 500);
  });
  collect();
  EXPECT_EQ(bytes(box, "read"), 3000);
  EXPECT_EQ(bytes(box, "write"), 3000 + 2000);
  EXPECT_EQ(calls(box, "read"), 2U);  // the failure too
  EXPECT_EQ(calls(box, "write"), 2U);
  EXPECT_EQ(errors(box, "read", "EBADF"), 1);
  EXPECT_EQ(stream_bytes(box, "pipe", "write"), 3000 + 2000 + 500);
  EXPECT_EQ(stream_bytes(box, "pipe", "read"), 3000 + 2000);
  EXPECT_EQ(losses("io", IO_LOSS_NOT_FOLLOWED), 1U);  // what a registered input of a pipe is
  EXPECT_EQ(lost(), 1U);
}

TEST_F(IoUringTest, AMultishotReadIsAReadAtEachCompletion) {
  Cgroup& box = selected("box", kIoStandard | IO_STREAM);
  constexpr int kReads = 5;
  SharedNumber seen;
  const pid_t child = box.start([&] {
    Ring ring;
    std::array<char, 16 * 64> buffers{};
    io_uring_sqe provide = request(IORING_OP_PROVIDE_BUFFERS, 16, buffers.data(), 64);
    provide.buf_group = 7;
    MUST(ring.run(provide) >= 0);
    int pipes[2];
    MUST(pipe(pipes) == 0);
    constexpr int kReadMultishot = 49;
    io_uring_sqe multishot = request(kReadMultishot, pipes[0], nullptr, 0, ~0ULL);
    multishot.flags = IOSQE_BUFFER_SELECT;
    multishot.buf_group = 7;
    multishot.user_data = 4711;
    ring.put(multishot);
    ring.submit(1);
    const pid_t writer = fork();
    if (writer == 0) {
      for (int i = 0; i < kReads; i++) {
        while (seen.get() < i) usleep(1'000);  // else one read may get what was written twice
        usleep(20'000);
        MUST(write(pipes[1], "0123456789", 10) == 10);
      }
      while (seen.get() < kReads) usleep(1'000);
      usleep(20'000);
      _exit(0);
    }
    ::close(pipes[1]);
    for (int i = 0; i < kReads; i++) {
      const int got = ring.next();
      if (i == 0 && got == -EINVAL) _exit(77);
      MUST(got == 10);
      seen.set(i + 1);
    }
    MUST(ring.next() == 0);  // the end
    MUST(waitpid(writer, nullptr, 0) == writer);
  });
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "this kernel has no multishot reads";
  ASSERT_EQ(status, 0);
  collect();
  EXPECT_EQ(stream_bytes(box, "pipe", "read"), kReads * 10);
  const auto wait = waits(box, "pipe", "read");
  EXPECT_EQ(wait.count, kReads + 1U);
  EXPECT_GT(wait.sum, kReads * 15'000'000U);  // each from the end of the one before: they do not overlap
  EXPECT_LT(wait.sum, 60'000'000'000U);
  EXPECT_EQ(on_files(box), 0U);
  EXPECT_EQ(lost(), 0U);
}

// Twice as many requests as the queue holds, and again, before one completion is taken out.
void overflow(int rounds, bool same_name) {
  constexpr unsigned kEntries = 32, kAtOnce = 4 * kEntries;
  Ring ring(kEntries);
  std::array<char, 10> data{};
  const int file = scratch_file(100);
  uint64_t name = 0;
  for (int round = 0; round < rounds; round++) {
    for (unsigned i = 0; i < kAtOnce; i++) {
      io_uring_sqe sqe = request(IORING_OP_READ, file, data.data(), 10);
      sqe.user_data = same_name ? 5 : ++name;
      ring.put(sqe);
      if ((i + 1) % kEntries == 0) ring.submit(kEntries);
    }
    for (unsigned i = 0; i < kAtOnce; i++) MUST(ring.next() == 10);
  }
}

TEST_F(IoUringTest, CompletionsThatFindTheQueueFullCount) {
  Cgroup& box = selected("box", kIoStandard);
  Cgroup& other = cgroup("other");
  select(other, {});
  constexpr int kRounds = 40, kReads = kRounds * 4 * 32;
  other.run([] { overflow(kRounds, false); });
  box.run([] { overflow(kRounds, false); });
  collect();
  EXPECT_EQ(calls(box, "read"), uint64_t{kReads});
  EXPECT_EQ(bytes(box, "read"), kReads * 10);
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(lost(), 0U);
}

// Nothing tells which of them has ended: one is counted, and each that is not is a loss.
TEST_F(IoUringTest, OverflowsOfOneNameAreCountedOrLost) {
  Cgroup& box = selected("box", kIoStandard);
  constexpr int kRounds = 40, kReads = kRounds * 4 * 32;
  box.run([] { overflow(kRounds, true); });
  collect();
  const uint64_t counted = calls(box, "read"), missing = losses("io", SONDE_LOSS_IN_FLIGHT);
  EXPECT_GE(counted, kReads / 2U);
  EXPECT_EQ(bytes(box, "read"), static_cast<int64_t>(counted) * 10);
  EXPECT_GE(counted + missing, uint64_t{kReads});
  EXPECT_LE(counted + missing, kReads + 1U);
}

TEST_F(IoUringTest, WhatCannotBeFollowedIsALoss) {
  Cgroup& box = selected("box", kIoStandard);
  box.run([] {
    Ring ring;
    std::array<char, 100> data{};
    const int file = scratch_file(0), null = open("/dev/null", O_RDWR);
    io_uring_sqe silent = request(IORING_OP_WRITE, file, data.data(), 100);
    silent.flags = IOSQE_CQE_SKIP_SUCCESS;
    ring.put(silent);
    ring.submit(1);
    const int result = ring.run(request(IORING_OP_URING_CMD, null, nullptr, 0));
    MUST(result == 0 || result == -EOPNOTSUPP);
    if (result != 0) ring.put(silent), ring.submit(1);  // /dev/null takes no commands here: one more of the other
    MUST(ring.run(request(IORING_OP_NOP, -1, nullptr, 0)) == 0);
  });
  collect();
  EXPECT_EQ(losses("io", IO_LOSS_NOT_FOLLOWED), 2U);
  EXPECT_EQ(lost(), 2U);
  EXPECT_EQ(on_files(box), 0U);
}

}  // namespace
}  // namespace sonde::test
