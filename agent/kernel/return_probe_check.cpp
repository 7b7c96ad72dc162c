// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/return_probe_check.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>

namespace sonde {
namespace {

// What the child calls with a return probe on it: different from every other function, and called through a pointer that may
// change, so that no compiler calls a copy of it.
int probed(int value) {
  __asm__ volatile("" : "+r"(value)::"memory");
  return value * 3 + 1;
}
int (*volatile probed_here)(int) = &probed;

// Place of an address in the file that is mapped there; false if it is mapped from none.
bool file_place(uint64_t address, uint64_t& offset, std::string& link) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uint64_t begin = 0, end = 0, from = 0;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %*4s %" SCNx64, &begin, &end, &from) != 3) continue;
    if (address < begin || address >= end || line.find('/') == std::string::npos) continue;
    offset = address - begin + from;
    link = line.substr(line.find('/'));
    return true;
  }
  return false;
}

// In strict mode the kernel allows reading, writing and the end; the end must be the plain one (exit, not exit_group).
[[noreturn]] void child() {
  int end = 0;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) end = 3;
  const int value = end ? 0 : probed_here(2);
  if (!end && value != 7) end = 4;
  syscall(SYS_exit, end);
  __builtin_unreachable();
}

}  // namespace

std::string check_return_probes(const FunctionProbes& probes) {
  ProbePlace place;
  std::string path;
  if (!file_place(std::bit_cast<uint64_t>(&probed), place.offset, path)) return "the agent does not find its own code";
  Fd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (!file) file = Fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  place.cookie = FUNCTION_INSTANCES - 1;  // not requested
  auto links = probes.attach(FunctionProgram::Return, file.get(), {&place, 1});
  if (!links) return links.error().message();
  const pid_t pid = fork();
  if (pid < 0) return "cannot fork";
  if (pid == 0) child();
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFSIGNALED(status)) return "a program under seccomp was ended by signal " + std::to_string(WTERMSIG(status));
  return "a program under seccomp ended with " + std::to_string(WEXITSTATUS(status));
}

}  // namespace sonde
