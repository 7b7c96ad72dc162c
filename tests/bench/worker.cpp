// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/worker.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "agent/base/clock.h"

namespace sonde::bench {
namespace {

constexpr const char* kFile = "/dev/shm/sonde-bench";
constexpr uint64_t kFileBytes = 1 << 20;

void stand_still(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
  setpriority(PRIO_PROCESS, 0, -10);
}

uint64_t read_bytes(int file, uint64_t n) {
  char byte = 0;
  uint64_t spent = 0;
  while (n > 0) {
    const uint64_t part = n < kFileBytes ? n : kFileBytes;
    if (lseek(file, 0, SEEK_SET) != 0) _exit(1);
    const uint64_t begin = monotonic_ns();
    for (uint64_t i = 0; i < part; ++i) {
      if (read(file, &byte, 1) != 1) _exit(1);
    }
    spent += monotonic_ns() - begin;
    n -= part;
  }
  return spent;
}

// Each byte to and fro is two switches.
uint64_t hand_over(int to, int from, uint64_t switches) {
  char byte = 0;
  const uint64_t begin = monotonic_ns();
  for (uint64_t i = 0; i < switches / 2; ++i) {
    if (write(to, &byte, 1) != 1 || read(from, &byte, 1) != 1) _exit(1);
  }
  return monotonic_ns() - begin;
}

[[noreturn]] void work(Worker::Kind kind, int ask, int answer) {
  int there[2], back[2];
  const int file = open(kFile, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0 || ftruncate(file, kFileBytes) || pipe(there) || pipe(back)) _exit(1);
  if (kind == Worker::Kind::Switch && fork() == 0) {
    char byte = 0;
    close(there[1]);
    close(ask);
    while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1) continue;
    _exit(0);
  }
  for (uint64_t n = 0; read(ask, &n, sizeof(n)) == sizeof(n);) {
    const uint64_t ns = kind == Worker::Kind::Read ? read_bytes(file, n) : hand_over(there[1], back[0], n);
    if (write(answer, &ns, sizeof(ns)) != sizeof(ns)) break;
  }
  _exit(0);
}

}  // namespace

Worker::Worker(Kind kind, const std::string& cgroup_directory, int cpu) {
  int ask[2], answer[2];
  if (pipe2(ask, O_CLOEXEC) || pipe2(answer, O_CLOEXEC)) return;
  child_ = fork();
  if (child_ == 0) {
    close(ask[1]);
    close(answer[0]);
    std::ofstream(cgroup_directory + "/cgroup.procs") << getpid() << std::flush;
    stand_still(cpu);
    work(kind, ask[0], answer[1]);
  }
  close(ask[0]);
  close(answer[1]);
  ask_ = ask[1];
  answer_ = answer[0];
  run(1000);  // it stands where it should, and everything is warm
}

Worker::~Worker() {
  close(ask_);  // it ends when nobody can ask any more
  close(answer_);
  waitpid(child_, nullptr, 0);
  unlink(kFile);
}

double Worker::run(uint64_t n) const {
  uint64_t ns = 0;
  if (write(ask_, &n, sizeof(n)) != sizeof(n) || read(answer_, &ns, sizeof(ns)) != sizeof(ns)) return -1;
  return static_cast<double>(ns) / static_cast<double>(n);
}

}  // namespace sonde::bench
