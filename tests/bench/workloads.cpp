// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/workloads.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <string>

#include "agent/base/clock.h"

namespace sonde::bench {

void must(bool condition) {
  if (!condition) _exit(1);
}

Run timed(std::function<void()> once) {
  return [once = std::move(once)](uint64_t n) {
    const uint64_t begin = monotonic_ns();
    for (uint64_t i = 0; i < n; ++i) once();
    return monotonic_ns() - begin;
  };
}

void run_alongside(const std::function<void()>& work) {
  const pid_t parent = getpid();
  if (fork() != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  for (;;) work();
}

int scratch_file(const char* directory, int flags) {
  std::string path = std::string(directory) + "/sonde-bench-XXXXXX";
  const int file = mkostemp(path.data(), O_CLOEXEC);
  if (file < 0) return -1;
  const std::string zeros(kScratchBytes, 'x');
  const bool written =
      write(file, zeros.data(), zeros.size()) == static_cast<ssize_t>(zeros.size()) && fsync(file) == 0;
  const int opened = written ? open(path.c_str(), O_RDONLY | O_CLOEXEC | flags) : -1;
  unlink(path.c_str());
  close(file);
  return opened;
}

Run read_bytes() {
  const int file = scratch_file("/dev/shm");
  if (file < 0) return {};
  return [file](uint64_t n) {
    char byte = 0;
    uint64_t spent = 0;
    while (n > 0) {
      const uint64_t part = n < kScratchBytes ? n : kScratchBytes;
      must(lseek(file, 0, SEEK_SET) == 0);
      const uint64_t begin = monotonic_ns();
      for (uint64_t i = 0; i < part; ++i) must(read(file, &byte, 1) == 1);
      spent += monotonic_ns() - begin;
      n -= part;
    }
    return spent;
  };
}

Run read_pages(int flags) {
  const int file = scratch_file("/var/tmp", flags);
  if (file < 0) return {};
  void* page = aligned_alloc(kPage, kPage);
  if (pread(file, page, kPage, 0) != static_cast<ssize_t>(kPage)) return {};
  return [file, page](uint64_t n) {
    const uint64_t begin = monotonic_ns();
    for (uint64_t i = 0; i < n; ++i) {
      must(pread(file, page, kPage, static_cast<off_t>(i * kPage % kScratchBytes)) == static_cast<ssize_t>(kPage));
    }
    return monotonic_ns() - begin;
  };
}

// Each byte back and forth is two switches.
Run switch_contexts() {
  std::array<int, 2> there{}, back{};
  must(pipe2(there.data(), O_CLOEXEC) == 0 && pipe2(back.data(), O_CLOEXEC) == 0);
  run_alongside([=] {
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

}  // namespace sonde::bench
