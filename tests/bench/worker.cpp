// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/worker.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

namespace sonde::bench {
namespace {

void stand_still(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
  setpriority(PRIO_PROCESS, 0, -10);
}

[[noreturn]] void work(Workload make, int ask, int answer) {
  const auto workload = make();
  for (uint64_t n = 0; workload && read(ask, &n, sizeof(n)) == sizeof(n);) {
    const uint64_t ns = workload(n);
    if (write(answer, &ns, sizeof(ns)) != sizeof(ns)) break;
  }
  _exit(0);
}

}  // namespace

Worker::Worker(Workload workload, const std::string& cgroup_directory, int cpu) {
  signal(SIGPIPE, SIG_IGN);  // a worker that cannot do it is gone when it is asked
  int ask[2], answer[2];
  if (pipe2(ask, O_CLOEXEC) || pipe2(answer, O_CLOEXEC)) return;
  child_ = fork();
  if (child_ == 0) {
    close(ask[1]);
    close(answer[0]);
    std::ofstream(cgroup_directory + "/cgroup.procs") << getpid() << std::flush;
    stand_still(cpu);
    work(workload, ask[0], answer[1]);
  }
  close(ask[0]);
  close(answer[1]);
  ask_ = ask[1];
  answer_ = answer[0];
  run(100);  // it stands where it should, and everything is warm
}

Worker::~Worker() {
  close(ask_);  // it ends when nobody can ask any more
  close(answer_);
  waitpid(child_, nullptr, 0);
}

double Worker::run(uint64_t n) const {
  uint64_t ns = 0;
  if (write(ask_, &n, sizeof(n)) != sizeof(n) || read(answer_, &ns, sizeof(ns)) != sizeof(ns)) return -1;
  return static_cast<double>(ns) / static_cast<double>(n);
}

}  // namespace sonde::bench
