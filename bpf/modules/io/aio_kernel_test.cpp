// SPDX-License-Identifier: Apache-2.0
// The kernel's own asynchronous I/O (io_submit), of which ends are fetched by call or out of the ring.
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "tests/kernel/support/io_test.h"
#include "tests/kernel/support/span_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("IoFentryAioTest.*", Trait::Equipment);

class IoAioTest : public IoTest {
 protected:
  void requests_count_when_their_ends_are_fetched();
  void threads_that_share_a_context(uint8_t flags);
};
class IoFentryAioTest : public IoAioTest {
 protected:
  const char* alternative() const override { return "fentry"; }
};

constexpr int kDepth = 16;

class Context {
 public:
  Context() {
    if (syscall(SYS_io_setup, 64, &id_) != 0) _exit(errno == ENOSYS ? 77 : 1);
  }
  long submit(std::vector<iocb*> requests) {
    const long taken = syscall(SYS_io_submit, id_, requests.size(), requests.data());
    return taken < 0 ? -errno : taken;
  }
  std::vector<io_event> fetch(long n) {
    std::vector<io_event> events(static_cast<std::size_t>(n));
    MUST(syscall(SYS_io_getevents, id_, n, n, events.data(), nullptr) == n);
    return events;
  }
  // As QEMU and Seastar do: no call at all. struct aio_ring, fs/aio.c
  void take_out_of_the_ring(unsigned n) {
    auto* ring = reinterpret_cast<volatile unsigned*>(id_);  // id, nr, head, tail, magic, …; events from byte 32 on
    MUST(ring[4] == 0xa10a10a1);
    for (unsigned i = 0; i < n; i++) {
      while (ring[2] == ring[3]) usleep(100);
      const auto* event = reinterpret_cast<volatile io_event*>(id_ + 32) + ring[2];
      MUST(event->res >= 0);
      ring[2] = (ring[2] + 1) % ring[1];
    }
  }

 private:
  aio_context_t id_ = 0;
};

iocb aio(int opcode, int fd, const void* memory, std::size_t length, long offset = 0) {
  iocb request{};
  request.aio_lio_opcode = static_cast<__u16>(opcode);
  request.aio_fildes = static_cast<__u32>(fd);
  request.aio_buf = reinterpret_cast<uint64_t>(memory);
  request.aio_nbytes = length;
  request.aio_offset = offset;
  return request;
}

int run(const Cgroup& box, const std::function<void()>& work) {
  const pid_t child = box.start(work);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

void known_work() {
  Context context;
  std::array<char, 1000> data{};
  const int file = scratch_file(100'000, "/tmp");
  const iovec parts[2] = {{data.data(), 300}, {data.data() + 300, 400}};
  std::array<iocb, kDepth> all;
  std::vector<iocb*> list;
  const auto batch = [&](const iocb& request, long result) {
    list.clear();
    for (auto& one : all) one = request, list.push_back(&one);
    MUST(context.submit(list) == kDepth);
    for (const io_event& event : context.fetch(kDepth)) MUST(event.res == result);
  };
  for (int i = 0; i < 10; i++) {
    batch(aio(IOCB_CMD_PWRITE, file, data.data(), 1000), 1000);
    batch(aio(IOCB_CMD_PREAD, file, data.data(), 500), 500);
  }
  batch(aio(IOCB_CMD_PREADV, file, parts, 2), 700);
  batch(aio(IOCB_CMD_PWRITEV, file, parts, 2), 700);
  batch(aio(IOCB_CMD_FDSYNC, file, nullptr, 0), 0);
  batch(aio(IOCB_CMD_PREAD, file, bad_address(), 500), -EFAULT);
  // The second of them is refused: the first alone was begun. Then a refused first one.
  iocb good = aio(IOCB_CMD_PREAD, file, data.data(), 10), bad = aio(IOCB_CMD_PREAD, 1000, data.data(), 10);
  MUST(context.submit({&good, &bad}) == 1 && context.fetch(1)[0].res == 10);
  MUST(context.submit({&bad}) == -EBADF);
  int pipes[2];
  MUST(pipe(pipes) == 0);
  iocb stream = aio(IOCB_CMD_PWRITE, pipes[1], data.data(), 33);
  MUST(context.submit({&stream}) == 1 && context.fetch(1)[0].res == 33);
}

void IoAioTest::requests_count_when_their_ends_are_fetched() {
  Cgroup& box = selected("box", kIoStandard | IO_STREAM);
  Cgroup& other = cgroup("other");
  select(other, {});
  const int exit = run(box, known_work);
  if (exit == 77) GTEST_SKIP() << "this kernel has no aio";
  ASSERT_EQ(exit, 0);
  EXPECT_EQ(run(other, known_work), 0);
  collect();
  EXPECT_EQ(bytes(box, "write"), 10 * kDepth * 1000 + kDepth * 700);
  EXPECT_EQ(bytes(box, "read"), 10 * kDepth * 500 + kDepth * 700 + 10);
  EXPECT_EQ(calls(box, "write"), 11U * kDepth);
  EXPECT_EQ(calls(box, "read"), 12U * kDepth + 1);
  EXPECT_EQ(calls(box, "fsync"), 1U * kDepth);
  EXPECT_EQ(errors(box, "read", "EFAULT"), kDepth);
  EXPECT_EQ(errors(box, "read", "EBADF"), 1);
  EXPECT_EQ(stream_bytes(box, "pipe", "write"), 33);
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(lost(), 0U);
}

TEST_F(IoAioTest, RequestsCountWhenTheirEndsAreFetched) { requests_count_when_their_ends_are_fetched(); }
TEST_F(IoFentryAioTest, CountsTheSame) { requests_count_when_their_ends_are_fetched(); }

// A request takes from its submission to when its end is fetched.
TEST_F(IoAioTest, ASlowRequestAndFailedOnesAreSpans) {
  constexpr uint64_t kWait = 1'000'000'000;
  Spans spans(engine().module_object("io"));
  Cgroup& box = selected("box", kIoStandard);
  spans.ask(slot_of(box), {{SONDE_SPAN_READ, 800'000}}, {SONDE_SPAN_READ});
  const int exit = run(box, [] {
    Context context;
    std::array<char, 1000> data{};
    const int file = scratch_file(100'000, "/tmp");
    std::array<iocb, kDepth> all;
    std::vector<iocb*> list;
    for (auto& one : all) one = aio(IOCB_CMD_PREAD, file, bad_address(), 500), list.push_back(&one);
    MUST(context.submit(list) == kDepth);
    for (const io_event& event : context.fetch(kDepth)) MUST(event.res == -EFAULT);
    iocb slow = aio(IOCB_CMD_PREAD, file, data.data(), 700), quick = slow;
    MUST(context.submit({&quick}) == 1 && context.fetch(1)[0].res == 700);
    MUST(context.submit({&slow}) == 1);
    usleep(kWait / 1000);
    MUST(context.fetch(1)[0].res == 700);
  });
  if (exit == 77) GTEST_SKIP() << "this kernel has no aio";
  ASSERT_EQ(exit, 0);
  const auto sent = spans.take();
  ASSERT_EQ(sent.size(), std::size_t{kDepth + 1});
  for (const sonde_span& span : sent) {
    const bool slow = &span == &sent.back();
    EXPECT_EQ(span.operation, static_cast<uint32_t>(SONDE_SPAN_READ));
    EXPECT_EQ(span.slot, slot_of(box));
    EXPECT_EQ(span.error, slow ? 0 : EFAULT);
    EXPECT_EQ(span.bytes, slow ? 700U : 0U);
  }
  EXPECT_GE(duration_of(sent.back()), kWait);
}

TEST_F(IoAioTest, MinimalCountsBytes) {
  Cgroup& box = selected("box", IO_BYTES);
  const int exit = run(box, known_work);
  if (exit == 77) GTEST_SKIP() << "this kernel has no aio";
  ASSERT_EQ(exit, 0);
  collect();
  EXPECT_EQ(bytes(box, "write"), 10 * kDepth * 1000 + kDepth * 700);
  EXPECT_EQ(bytes(box, "read"), 10 * kDepth * 500 + kDepth * 700 + 10);
  EXPECT_EQ(on_files(box), static_cast<uint64_t>(bytes(box, "write") + bytes(box, "read")));
  EXPECT_EQ(lost(), 0U);
}

// Ends that no call hands over are counted when the program submits again; how long they took nobody has seen.
TEST_F(IoAioTest, EndsTakenOutOfTheRingCountWithoutTheirDuration) {
  Cgroup& box = selected("box", kIoStandard);
  const int exit = run(box, [] {
    Context context;
    std::array<char, 1000> data{};
    const int file = scratch_file(100'000, "/tmp");
    std::array<iocb, kDepth> all;
    for (int round = 0; round < 50; round++) {
      std::vector<iocb*> list;
      for (auto& one : all) one = aio(IOCB_CMD_PWRITE, file, data.data(), 100), list.push_back(&one);
      MUST(context.submit(list) == kDepth);
      context.take_out_of_the_ring(kDepth);
    }
    iocb last = aio(IOCB_CMD_PWRITE, file, data.data(), 7);
    MUST(context.submit({&last}) == 1 && context.fetch(1)[0].res == 7);
  });
  if (exit == 77) GTEST_SKIP() << "this kernel has no aio";
  ASSERT_EQ(exit, 0);
  collect();
  EXPECT_EQ(bytes(box, "write"), 50 * kDepth * 100 + 7);
  EXPECT_EQ(calls(box, "write"), 1U);
  EXPECT_EQ(lost(), 0U);
}

// One thread submits, another fetches: the ring's head moves before the call that fetches ends, and, if only bytes are asked,
// the end may be fetched before anybody has seen the begin.
void IoAioTest::threads_that_share_a_context(uint8_t flags) {
  Cgroup& box = selected("box", flags);
  Cgroup& other = cgroup("other");
  select(other, {});
  constexpr int kRequests = 20'000, kReused = 64;
  const auto work = [] {
    Context context;
    std::array<char, 100> data{};
    const int file = scratch_file(100'000, "/tmp");
    std::vector<iocb> all(kReused, aio(IOCB_CMD_PREAD, file, data.data(), 100));
    std::atomic<int> fetched = 0;
    std::thread fetcher([&] {
      for (int i = 0; i < kRequests; i++, fetched++) MUST(context.fetch(1)[0].res == 100);
    });
    for (int i = 0; i < kRequests; i++) {
      while (i - fetched >= kReused / 2) usleep(10);  // neither an iocb in flight again nor more than the ring holds
      MUST(context.submit({&all[static_cast<std::size_t>(i % kReused)]}) == 1);
    }
    fetcher.join();
  };
  const int exit = run(box, work);
  if (exit == 77) GTEST_SKIP() << "this kernel has no aio";
  ASSERT_EQ(exit, 0);
  EXPECT_EQ(run(other, work), 0);
  collect();
  EXPECT_EQ(bytes(box, "read"), kRequests * 100);
  EXPECT_EQ(calls(box, "read"), flags & IO_OPERATIONS ? uint64_t{kRequests} : 0U);
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(lost(), 0U);
}

TEST_F(IoAioTest, ThreadsThatShareAContextCountExactly) { threads_that_share_a_context(kIoStandard); }
TEST_F(IoFentryAioTest, ThreadsThatShareAContextCountExactly) { threads_that_share_a_context(kIoStandard); }
TEST_F(IoAioTest, ThreadsThatShareAContextCountBytesExactly) { threads_that_share_a_context(IO_BYTES); }

}  // namespace
}  // namespace sonde::test
