// SPDX-License-Identifier: Apache-2.0
#include "agent/symbols/confined.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstddef>
#include <fstream>

#include "agent/base/clock.h"

namespace sonde {
namespace {

constexpr uid_t kNobody = 65534;

// What reading, computing and answering need; anything else ends the process.
bool forbid_system_calls() {
#if defined(__aarch64__)
  constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#else
  constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#endif
  constexpr uint32_t kAllowed[] = {SYS_read,       SYS_pread64,      SYS_write,    SYS_mmap,  SYS_munmap,
                                   SYS_mremap,     SYS_brk,          SYS_madvise,  SYS_futex, SYS_exit,
                                   SYS_exit_group, SYS_rt_sigreturn, SYS_mprotect, SYS_close, SYS_rt_sigprocmask};
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArch, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
  };
  for (const uint32_t number : kAllowed) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

uint64_t address_space() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

bool limit(int resource, rlim_t value) {
  const rlimit both{value, value};
  return setrlimit(static_cast<__rlimit_resource>(resource), &both) == 0;
}

// The user is given up where that is allowed, capabilities in any case.
bool give_up_rights() {
  if (geteuid() == 0 && setgroups(0, nullptr) == 0 && setresgid(kNobody, kNobody, kNobody) == 0) {
    if (setresuid(kNobody, kNobody, kNobody) != 0) return false;
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) return false;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

// Leaves open only `keep`, in this order, as 0, 1, …
bool keep_only(std::initializer_list<int> keep) {
  int above = 1000;
  std::vector<int> moved;
  for (const int fd : keep) {
    const int copy = fcntl(fd, F_DUPFD, above);
    if (copy < 0) return false;
    moved.push_back(copy);
    above = copy + 1;
  }
  int next = 0;
  for (const int fd : moved) {
    if (dup2(fd, next++) < 0) return false;
  }
  return syscall(SYS_close_range, static_cast<unsigned>(next), ~0U, 0) == 0;
}

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

[[noreturn]] void confined_child(int file, int out, const Confinement& limits, uint64_t memory,
                                 const std::function<std::string(int)>& work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Giving memory back, glibc opens a file in /proc to see whether it may, in threads that are not the first. It keeps it.
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  const bool ready = keep_only({file, out}) && limit(RLIMIT_AS, memory + limits.memory) && limit(RLIMIT_CPU, 2) &&
                     limit(RLIMIT_CORE, 0) && limit(RLIMIT_FSIZE, 0) && give_up_rights() && limit(RLIMIT_NPROC, 0) &&
                     limit(RLIMIT_NOFILE, 2) && forbid_system_calls();
  if (!ready) _exit(2);
  write_all(1, work(0));
  _exit(0);
}

// A child that has until its deadline.
class Child {
 public:
  Child(pid_t pid, std::chrono::milliseconds deadline)
      : pid_(pid), until_ns_(monotonic_ns() + static_cast<uint64_t>(deadline.count()) * 1'000'000) {}
  ~Child() { end(); }

  // Waits until `fd` is readable; false: it is too late.
  bool readable(int fd) const {
    for (;;) {
      const uint64_t now = monotonic_ns();
      if (now >= until_ns_) return false;
      pollfd one{fd, POLLIN, 0};
      const int n = poll(&one, 1, static_cast<int>((until_ns_ - now) / 1'000'000 + 1));
      if (n > 0) return true;
      if (n < 0 && errno != EINTR) return false;
    }
  }
  int end() {
    if (pid_ <= 0) return status_;
    kill(pid_, SIGKILL);  // at its end it has exited, and this does nothing
    while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status_;
  }

 private:
  pid_t pid_;
  uint64_t until_ns_;
  int status_ = 0;
};

constexpr std::size_t kControlBytes = CMSG_SPACE(sizeof(int));

void send_file(int socket, std::string_view told, int file) {
  alignas(cmsghdr) char control[kControlBytes] = {};
  iovec data{const_cast<char*>(told.data()), told.size()};  // NOLINT: only read
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  *reinterpret_cast<int*>(CMSG_DATA(header)) = file;
  (void)!sendmsg(socket, &message, MSG_NOSIGNAL);
}

// 1: one came; 0: there are no more.
int receive_file(int socket, GivenFile& given) {
  alignas(cmsghdr) char control[kControlBytes] = {};
  char told[kMostTold];
  iovec data{told, sizeof(told)};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (n <= 0) return 0;
  given.told.assign(told, static_cast<std::size_t>(n));
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS) return 0;
  given.file = Fd(*reinterpret_cast<const int*>(CMSG_DATA(header)));
  return 1;
}

}  // namespace

Result<std::string> run_confined(int file, const Confinement& limits, const std::function<std::string(int)>& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Error::system("cannot make a pipe", errno);
  const Fd in(ends[0]);
  Fd out(ends[1]);
  const uint64_t memory = address_space();
  const pid_t pid = fork();
  if (pid < 0) return Error::system("cannot fork", errno);
  if (pid == 0) confined_child(file, out.get(), limits, memory, work);
  out = Fd();
  Child child(pid, limits.deadline);
  std::string answer;
  for (;;) {
    char bytes[4096];
    if (!child.readable(in.get())) return Error("it took too long");
    const ssize_t n = ::read(in.get(), bytes, sizeof(bytes));
    if (n == 0) break;
    if (n < 0 && errno != EINTR) return Error::system("cannot read its answer", errno);
    if (n > 0) answer.append(bytes, static_cast<std::size_t>(n));
    if (answer.size() > limits.answer) return Error("its answer is too long");
  }
  return answer;
}

Result<void> run_opener(std::chrono::milliseconds deadline, std::size_t most, std::vector<GivenFile>& given,
                        const std::function<void(const Give&)>& work) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return Error::system("cannot make a socket", errno);
  const Fd in(ends[0]);
  Fd out(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return Error::system("cannot fork", errno);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    work([&](std::string_view told, int given_file) { send_file(out.get(), told, given_file); });
    _exit(0);
  }
  out = Fd();
  const Child child(pid, deadline);
  while (given.size() < most) {
    GivenFile one;
    if (!child.readable(in.get())) return Error("it took too long");
    if (!receive_file(in.get(), one)) break;
    given.push_back(std::move(one));
  }
  return {};
}

}  // namespace sonde
