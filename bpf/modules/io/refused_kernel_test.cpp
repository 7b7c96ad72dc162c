// SPDX-License-Identifier: Apache-2.0
// Calls that seccomp or a tracer answers: the kernel tells of their end and never of their begin. Failures are counted,
// nothing is a loss.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <thread>

#include "tests/kernel/support/io_test.h"

namespace sonde::test {
namespace {

class IoRefusedTest : public IoTest {};

// The calling thread's calls of these numbers are answered so; its others go on. The listener's descriptor with flags for it.
struct Answer {
  int call;
  uint32_t action;
};
int answer_calls(const std::vector<Answer>& answers, unsigned flags = 0) {
  std::vector<sock_filter> program;
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  for (const Answer& answer : answers) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(answer.call), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, answer.action));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  return static_cast<int>(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter));
}

TEST_F(IoRefusedTest, WhatSeccompRefusesIsAnErrorAndNoLoss) {
  Cgroup& box = selected("box", kIoStandard | IO_DETAIL | IO_STREAM);
  Cgroup& other = cgroup("other");
  select(other, {});
  const auto work = [] {
    const int file = scratch_file(100);
    int pipes[2];
    char byte = 0;
    MUST(pipe(pipes) == 0);
    MUST(answer_calls({{SYS_pread64, SECCOMP_RET_ERRNO | EPERM},
                       {SYS_fsync, SECCOMP_RET_ERRNO | ENOSYS},
                       {SYS_openat, SECCOMP_RET_ERRNO | EPERM},
                       {SYS_readv, SECCOMP_RET_ERRNO | EPERM},
                       {SYS_pwrite64, SECCOMP_RET_ERRNO}}) == 0);
    for (int i = 0; i < 30; i++) {
      MUST(pread(file, &byte, 1, i) < 0 && errno == EPERM);
      MUST(read(file, &byte, 1) == 1);
      MUST(pwrite(file, &byte, 1, i) == 0);  // answered as if it had succeeded
    }
    for (int i = 0; i < 7; i++) MUST(fsync(file) < 0 && errno == ENOSYS);
    for (int i = 0; i < 5; i++) MUST(open("/", O_RDONLY) < 0 && errno == EPERM);
    MUST(readv(pipes[0], nullptr, 0) < 0 && errno == EPERM);  // no file
  };
  box.run(work);
  other.run(work);
  collect();
  EXPECT_EQ(errors(box, "read", "EPERM"), 30);
  EXPECT_EQ(errors(box, "fsync", "ENOSYS"), 7);
  EXPECT_EQ(errors(box, "open", "EPERM"), 5);
  EXPECT_EQ(calls(box, "read"), 30U);  // a refusal has no duration
  EXPECT_EQ(calls(box, "write"), 0U);
  EXPECT_EQ(calls(box, "fsync"), 0U);
  EXPECT_EQ(bytes(box, "read"), 30);
  EXPECT_EQ(bytes(box, "write"), 0);
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(lost(), 0U);
}

// A supervisor answers in the kernel's place: what its answers mean it alone knows.
TEST_F(IoRefusedTest, WhatASupervisorAnswersIsNeitherCountedNorLost) {
  Cgroup& box = selected("box", kIoStandard);
  box.run([] {
    constexpr int kCalls = 20;
    const int file = scratch_file(100);
    std::atomic<int> listener{-1};
    char byte = 0;
    std::thread supervisor([&] {
      while (listener < 0) usleep(100);
      for (int i = 0; i < kCalls; i++) {
        seccomp_notif asked{};
        MUST(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) == 0);
        seccomp_notif_resp answer{};
        answer.id = asked.id;
        answer.val = i % 2 ? 0 : 9;
        answer.error = i % 2 ? -EIO : 0;
        MUST(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0);
      }
    });
    const int fd = answer_calls({{SYS_pread64, SECCOMP_RET_USER_NOTIF}}, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    MUST(fd >= 0);
    listener = fd;
    for (int i = 0; i < kCalls; i++) {
      const ssize_t got = pread(file, &byte, 1, 0);
      MUST(i % 2 ? got < 0 && errno == EIO : got == 9);
    }
    supervisor.join();
  });
  collect();
  EXPECT_EQ(errors(box, "read", "EIO"), 10);
  EXPECT_EQ(calls(box, "read"), 0U);
  EXPECT_EQ(bytes(box, "read"), 0);
  EXPECT_EQ(lost(), 0U);
}

#if defined(__x86_64__)
// PTRACE_SYSEMU, as user-mode kernels do: the tracer answers every call.
TEST_F(IoRefusedTest, WhatATracerEmulatesIsNeitherCountedNorLost) {
  Cgroup& box = selected("box", kIoStandard);
  const pid_t child = box.start([] {
    const int file = scratch_file(100);
    char byte = 0;
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    for (int i = 0; i < 10; i++) MUST(pread(file, &byte, 1, 0) == 1);
    for (int i = 0; i < 3; i++) MUST(fsync(file) < 0 && errno == ENOSYS);
  });
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  int emulated = 0;
  while (emulated < 13) {
    ASSERT_EQ(ptrace(PTRACE_SYSEMU, child, nullptr, nullptr), 0);
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSTOPPED(status)) << status;
    user_regs_struct registers{};
    ASSERT_EQ(ptrace(PTRACE_GETREGS, child, nullptr, &registers), 0);
    if (registers.orig_rax == SYS_pread64) registers.rax = 1;  // else it stays ENOSYS
    ASSERT_EQ(ptrace(PTRACE_SETREGS, child, nullptr, &registers), 0);
    emulated += registers.orig_rax == SYS_pread64 || registers.orig_rax == SYS_fsync;
  }
  ASSERT_EQ(ptrace(PTRACE_DETACH, child, nullptr, nullptr), 0);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  collect();
  EXPECT_EQ(errors(box, "fsync", "ENOSYS"), 3);
  EXPECT_EQ(calls(box, "read") + calls(box, "fsync"), 0U);
  EXPECT_EQ(bytes(box, "read"), 0);
  EXPECT_EQ(lost(), 0U);
}
#endif

}  // namespace
}  // namespace sonde::test
