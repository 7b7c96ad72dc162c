// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/support/held_process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>

namespace sonde::test {
namespace {

constexpr unsigned char kEnd = 255;

// The number at the end of the line that begins with `key`.
uint64_t field(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(line.find_last_of(" \t:") + 1));
  }
  return 0;
}

char state_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const auto end = line.rfind(')');
  return end == std::string::npos || end + 2 >= line.size() ? '?' : line[end + 2];
}

}  // namespace

TaskFigures TaskFigures::operator-(const TaskFigures& before) const {
  return {oncpu_ns - before.oncpu_ns,   wait_ns - before.wait_ns,         arrivals - before.arrivals,
          voluntary - before.voluntary, involuntary - before.involuntary, migrations - before.migrations};
}

TaskFigures& TaskFigures::operator+=(const TaskFigures& other) {
  oncpu_ns += other.oncpu_ns;
  wait_ns += other.wait_ns;
  arrivals += other.arrivals;
  voluntary += other.voluntary;
  involuntary += other.involuntary;
  migrations += other.migrations;
  return *this;
}

TaskFigures figures_of(const std::string& directory) {
  TaskFigures figures;
  std::ifstream(directory + "/schedstat") >> figures.oncpu_ns >> figures.wait_ns >> figures.arrivals;
  figures.voluntary = field(directory + "/status", "voluntary_ctxt_switches");
  figures.involuntary = field(directory + "/status", "nonvoluntary_ctxt_switches");
  figures.migrations = field(directory + "/sched", "se.nr_migrations");
  return figures;
}

TaskFigures figures_of(pid_t pid) { return figures_of("/proc/" + std::to_string(pid)); }

bool has_migration_figures() { return access("/proc/self/sched", R_OK) == 0; }

namespace {

// To a process that may have been killed: that is this test's failure, and not the end of all.
bool tell(int pipe, unsigned char number) {
  const auto before = signal(SIGPIPE, SIG_IGN);
  const bool told = write(pipe, &number, 1) == 1;
  signal(SIGPIPE, before);
  return told;
}

}  // namespace

HeldProcess::HeldProcess(const Cgroup& cgroup, std::vector<std::function<void()>> steps) {
  int commands[2];
  int answers[2];
  EXPECT_EQ(pipe2(commands, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(answers, O_CLOEXEC), 0);
  pid_ = cgroup.start([&] {
    ::close(commands[1]);
    for (unsigned char number = 0; read(commands[0], &number, 1) == 1;) {
      if (number == kEnd) break;
      if (number < steps.size()) steps[number]();
      if (write(answers[1], &number, 1) != 1) break;
    }
  });
  ::close(commands[0]);
  ::close(answers[1]);
  commands_ = Fd(commands[1]);
  answers_ = Fd(answers[0]);
  wait_until_asleep();
}

HeldProcess::~HeldProcess() {
  // Closing the pipe would not do: processes made later hold it too.
  EXPECT_TRUE(tell(commands_.get(), kEnd));
  int status = -1;
  EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "an expectation failed in a step, status " << status;
}

void HeldProcess::begin(std::size_t step) { EXPECT_TRUE(tell(commands_.get(), static_cast<unsigned char>(step))); }

void HeldProcess::finish() {
  unsigned char number = 0;
  EXPECT_EQ(read(answers_.get(), &number, 1), 1);
  wait_until_asleep();
}

// Its state says asleep a moment before it has left the CPU; then its switches stand still.
void HeldProcess::wait_until_asleep() const {
  for (int quiet = 0, i = 0; quiet < 3 && i < 12'000; ++i) {
    const uint64_t before = figures_of(pid_).voluntary;
    usleep(5'000);
    quiet = state_of(pid_) == 'S' && figures_of(pid_).voluntary == before ? quiet + 1 : 0;
  }
}

SharedNumber::SharedNumber()
    : number_(
          static_cast<int*>(mmap(nullptr, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
  if (number_ == MAP_FAILED) std::abort();
}

SharedNumber::~SharedNumber() { munmap(number_, sizeof(int)); }

bool SharedNumber::wait_for(int value) const {
  for (int i = 0; i < 60'000 && get() != value; ++i) usleep(1'000);
  return get() == value;
}

bool wait_until_blocked_in(pid_t pid, long system_call) {
  const std::string path = "/proc/" + std::to_string(pid) + "/syscall";
  for (int i = 0; i < 60'000; ++i) {
    long number = -1;  // "running" is none
    if (std::ifstream(path) >> number && number == system_call) return true;
    usleep(1'000);
  }
  return false;
}

int64_t thread_cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void burn_ms(int milliseconds) {
  const auto end = thread_cpu_ns() + int64_t{milliseconds} * 1'000'000;
  while (thread_cpu_ns() < end) {
  }
}

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  EXPECT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
}

std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set)) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

bool be_realtime(int priority) {
  sched_param parameter{};
  parameter.sched_priority = priority;
  return sched_setscheduler(0, SCHED_FIFO, &parameter) == 0;
}

}  // namespace sonde::test
