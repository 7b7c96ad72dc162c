// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/workloads.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string>

#include "agent/base/clock.h"

namespace sonde::bench {
namespace {

using Run = std::function<uint64_t(uint64_t)>;
constexpr std::size_t kPage = 4096;
constexpr uint64_t kFileBytes = 1 << 20;

void must(bool condition) {
  if (!condition) _exit(1);  // a worker: whoever asked gets no answer
}

// Times the whole; for work that needs nothing in between.
Run timed(std::function<void()> once) {
  return [once = std::move(once)](uint64_t n) {
    const uint64_t begin = monotonic_ns();
    for (uint64_t i = 0; i < n; ++i) once();
    return monotonic_ns() - begin;
  };
}

// A process that does `work` for ever and ends with its parent.
void beside(const std::function<void()>& work) {
  const pid_t parent = getpid();
  if (fork() != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  for (;;) work();
}

// A file that nobody else can open, in this directory.
int scratch(const char* directory, int flags) {
  std::string path = std::string(directory) + "/sonde-bench-XXXXXX";
  const int file = mkostemp(path.data(), O_CLOEXEC);
  if (file < 0) return -1;
  const std::string zeros(kFileBytes, 'x');
  const bool written =
      write(file, zeros.data(), zeros.size()) == static_cast<ssize_t>(zeros.size()) && fsync(file) == 0;
  const int opened = written ? open(path.c_str(), O_RDONLY | O_CLOEXEC | flags) : -1;
  unlink(path.c_str());
  close(file);
  return opened;
}

Run make_read() {
  const int file = scratch("/dev/shm", 0);
  if (file < 0) return {};
  return [file](uint64_t n) {
    char byte = 0;
    uint64_t spent = 0;
    while (n > 0) {
      const uint64_t part = n < kFileBytes ? n : kFileBytes;
      must(lseek(file, 0, SEEK_SET) == 0);
      const uint64_t begin = monotonic_ns();
      for (uint64_t i = 0; i < part; ++i) must(read(file, &byte, 1) == 1);
      spent += monotonic_ns() - begin;
      n -= part;
    }
    return spent;
  };
}

Run make_pages(int flags) {
  const int file = scratch("/var/tmp", flags);
  if (file < 0) return {};
  void* page = aligned_alloc(kPage, kPage);
  if (pread(file, page, kPage, 0) != static_cast<ssize_t>(kPage)) return {};
  return [file, page](uint64_t n) {
    const uint64_t begin = monotonic_ns();
    for (uint64_t i = 0; i < n; ++i) {
      must(pread(file, page, kPage, static_cast<off_t>(i * kPage % kFileBytes)) == static_cast<ssize_t>(kPage));
    }
    return monotonic_ns() - begin;
  };
}

// Each byte to and fro is two switches.
Run make_switch() {
  std::array<int, 2> there{}, back{};
  must(pipe2(there.data(), O_CLOEXEC) == 0 && pipe2(back.data(), O_CLOEXEC) == 0);
  beside([=] {
    char byte = 0;
    must(read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1);
  });
  return [=](uint64_t switches) {
    char byte = 0;
    const uint64_t begin = monotonic_ns();
    for (uint64_t i = 0; i < switches / 2; ++i) {
      must(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1);
    }
    return monotonic_ns() - begin;
  };
}

void futex(std::atomic<uint32_t>* word, int what, uint32_t value) {
  syscall(SYS_futex, word, what, value, nullptr, nullptr, 0);
}

// Waits until it is `turn`, then gives it to the other one.
void take_turn(std::atomic<uint32_t>* word, uint32_t turn) {
  while (*word != turn) futex(word, FUTEX_WAIT, 1 - turn);
  *word = 1 - turn;
  futex(word, FUTEX_WAKE, 1);
}

// Two processes take turns: one wait each.
Run make_futex() {
  void* shared = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  must(shared != MAP_FAILED);
  auto* word = new (shared) std::atomic<uint32_t>(0);
  beside([word] { take_turn(word, 1); });
  return [word](uint64_t waits) {
    const uint64_t begin = monotonic_ns();
    for (uint64_t i = 0; i < waits / 2; ++i) take_turn(word, 0);
    return monotonic_ns() - begin;
  };
}

Run make_tcp() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
            client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0 && listen(listener, 1) == 0);
  must(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  must(connect(client, reinterpret_cast<sockaddr*>(&address), length) == 0);
  const int server = accept(listener, nullptr, nullptr), one = 1;
  for (const int end : {client, server}) must(setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
  beside([server] {
    std::array<char, 64> message{};
    must(recv(server, message.data(), message.size(), MSG_WAITALL) == 64 && send(server, message.data(), 64, 0) == 64);
  });
  return timed([client] {
    std::array<char, 64> message{};
    must(send(client, message.data(), 64, 0) == 64 && recv(client, message.data(), message.size(), MSG_WAITALL) == 64);
  });
}

Run make_fault() {
  constexpr std::size_t kPages = 256;
  void* memory = mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(memory != MAP_FAILED && madvise(memory, kPages * kPage, MADV_NOHUGEPAGE) == 0);
  return [memory](uint64_t n) {
    auto* bytes = static_cast<volatile char*>(memory);
    uint64_t spent = 0;
    for (uint64_t done = 0; done < n; done += kPages) {
      const uint64_t part = n - done < kPages ? n - done : kPages;
      must(madvise(memory, kPages * kPage, MADV_DONTNEED) == 0);
      const uint64_t begin = monotonic_ns();
      for (std::size_t i = 0; i < part; ++i) bytes[i * kPage] = 1;
      spent += monotonic_ns() - begin;
    }
    return spent;
  };
}

Run make_fork() {
  return timed([] {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    must(child > 0 && waitpid(child, nullptr, 0) == child);
  });
}

}  // namespace

__attribute__((noinline, noclone)) uint64_t measured_call(uint64_t value) {
  __asm__ volatile("" : "+r"(value));  // so that no call is left out
  return value + 1;
}

Run make_workload(Workload kind) {
  switch (kind) {
    case Workload::Read: return make_read();
    case Workload::Page: return make_pages(0);
    case Workload::Direct: return make_pages(O_DIRECT);
    case Workload::Switch: return make_switch();
    case Workload::Futex: return make_futex();
    case Workload::Tcp: return make_tcp();
    case Workload::Fork: return make_fork();
    case Workload::Fault: return make_fault();
    case Workload::Call: return timed([] { measured_call(1); });
  }
  return {};
}

}  // namespace sonde::bench
