// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/containers.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include <spdlog/fmt/fmt.h>

#include "agent/base/clock.h"
#include "agent/identity/cgroup_root.h"

namespace sonde::bench {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "sonde-bench-";
constexpr uint32_t kContainersPerPod = 3;

struct Command {
  uint32_t count = 0;  // 0: rest
  uint64_t period_ns = 0;
};

std::string pod(const std::string& root, uint32_t i) {
  return fmt::format("{}/kubepods/burstable/pod0f0f0f0f-0000-4000-8000-{:012x}", root, i / kContainersPerPod);
}
std::string container(const std::string& root, uint32_t i) { return fmt::format("{}/{:064x}", pod(root, i), i); }

bool enter(const std::string& directory) {
  const int fd = open((directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
  const bool moved = fd >= 0 && write(fd, "0", 1) == 1;
  if (fd >= 0) close(fd);
  return moved;
}

// Some of each kind, so that a container's series of files, streams and scheduling move.
void do_some_work(const std::string& file) {
  static const std::string other = file + "-2";
  char block[4096] = {};
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  for (int i = 0; i < 4; ++i) (void)!pwrite(fd, block, sizeof(block), i * 4096);
  for (int i = 0; i < 4; ++i) (void)!pread(fd, block, sizeof(block), i * 4096);
  (void)!pread(fd, block, sizeof(block), -1);  // EINVAL
  fsync(fd);
  close(fd);
  struct stat about {};
  stat(file.c_str(), &about);
  rename(file.c_str(), other.c_str());
  unlink(other.c_str());
  unlink(other.c_str());  // ENOENT
  int ends[2];
  for (const bool sockets : {false, true}) {
    if (sockets ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends)) continue;
    (void)!write(ends[1], block, 64);
    (void)!read(ends[0], block, 64);
    close(ends[0]);
    close(ends[1]);
  }
  sched_yield();
  timespec moment{0, 1000};
  nanosleep(&moment, nullptr);
}

void round_through(const std::string& root, uint32_t count, const std::string& file) {
  for (uint32_t i = 0; i < count; ++i) {
    if (!enter(container(root, i))) _exit(1);
    do_some_work(file);
  }
  enter(fs::path(root).parent_path());
}

[[noreturn]] void run_worker(const std::string& root, int ask, int answer) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_TIMERSLACK, 1);
  const std::string file = fmt::format("/dev/shm/{}{}", kPrefix, getpid());
  Command command;
  uint64_t next = 0, longest = 0;
  while (true) {
    const uint64_t now = monotonic_ns();
    const int wait_ms = command.count ? static_cast<int>((next > now ? next - now : 0) / 1'000'000) : -1;
    pollfd waiting{ask, POLLIN, 0};
    if (poll(&waiting, 1, wait_ms) > 0) {
      if (read(ask, &command, sizeof(command)) != sizeof(command)) break;
      if (!command.count && write(answer, &longest, sizeof(longest)) != sizeof(longest)) break;
      longest = 0;
      next = monotonic_ns();
      continue;
    }
    const uint64_t begin = monotonic_ns();
    round_through(root, command.count, file);
    longest = std::max(longest, monotonic_ns() - begin);
    next = begin + command.period_ns;
  }
  unlink(file.c_str());
  _exit(0);
}

// Directories only: the files of a cgroup cannot be removed and need not be.
void remove_tree(const fs::path& directory) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) remove_tree(entry.path());
  }
  for (int i = 0; i < 50 && rmdir(directory.c_str()) != 0 && errno == EBUSY; ++i)
    usleep(10'000);  // a process just left
}

// Left behind by runs that were killed.
void clear_remains(const std::string& cgroup_root) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(cgroup_root, ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kPrefix)) continue;
    const int pid = std::atoi(name.c_str() + kPrefix.size());
    if (pid > 0 && kill(pid, 0) != 0) remove_tree(entry.path());
  }
}

}  // namespace

Result<Containers> Containers::prepare() {
  auto found = find_cgroup_root();
  if (!found) return found.error();
  clear_remains(found->path);
  const std::string root = fmt::format("{}/{}{}", found->path, kPrefix, getpid());
  std::error_code failed;
  fs::create_directories(root + "/kubepods/burstable", failed);
  if (failed) return Error(fmt::format("cannot make {}: {}", root, failed.message()));
  int ask[2], answer[2];
  if (pipe2(ask, O_CLOEXEC) || pipe2(answer, O_CLOEXEC)) return Error("no pipes are left");
  const pid_t worker = fork();
  if (worker == 0) {
    close(ask[1]);
    close(answer[0]);
    run_worker(root, ask[0], answer[1]);
  }
  close(ask[0]);
  close(answer[1]);
  return Containers(root, worker, ask[1], answer[0]);
}

Containers::Containers(Containers&& other) noexcept
    : root_(std::exchange(other.root_, {})),
      worker_(std::exchange(other.worker_, -1)),
      ask_(std::exchange(other.ask_, -1)),
      answer_(std::exchange(other.answer_, -1)),
      count_(other.count_) {}

Containers::~Containers() {
  if (root_.empty()) return;
  close(ask_);
  close(answer_);
  kill(worker_, SIGTERM);
  waitpid(worker_, nullptr, 0);
  unlink(fmt::format("/dev/shm/{}{}", kPrefix, worker_).c_str());
  remove_tree(root_);
}

Result<void> Containers::grow(uint32_t count) {
  for (; count_ < count; ++count_) {
    if (count_ % kContainersPerPod == 0) mkdir(pod(root_, count_).c_str(), 0755);
    if (mkdir(container(root_, count_).c_str(), 0755) != 0) {
      return Error(fmt::format("cannot make cgroup {}: {}", count_, std::strerror(errno)));
    }
  }
  return {};
}

void Containers::work(uint64_t period_ns) {
  const Command command{count_, period_ns};
  (void)!write(ask_, &command, sizeof(command));
}

uint64_t Containers::rest() {
  const Command command{};
  uint64_t longest = 0;
  if (write(ask_, &command, sizeof(command)) != sizeof(command)) return 0;
  if (read(answer_, &longest, sizeof(longest)) != sizeof(longest)) return 0;
  return longest;
}

}  // namespace sonde::bench
