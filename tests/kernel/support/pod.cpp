// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/support/pod.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "agent/module/perf_paranoid.h"
#include "tests/kernel/support/kernel_test.h"

namespace sonde::test {
namespace {

// agent.capabilities in charts/sonde/values.yaml, with the two that it always has.
constexpr std::array kCapabilities = {CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN};
constexpr std::size_t kStack = 8 << 20;

// Without which no result means anything.
void must(bool done, const char* what) {
  if (done) return;
  std::perror(what);
  std::abort();
}

void drop_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  for (const int capability : kCapabilities) {
    const auto word = static_cast<std::size_t>(CAP_TO_INDEX(capability));
    sets[word].effective |= CAP_TO_MASK(capability);
    sets[word].permitted |= CAP_TO_MASK(capability);
  }
  must(syscall(SYS_capset, &header, sets.data()) == 0, "capset");
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
}

struct Call {
  const std::function<void()>* work;
  std::array<int, 3> namespaces;
};

}  // namespace

bool Pod::wanted() {
  const char* value = std::getenv("SONDE_TEST_AS_POD");
  return value && *value == '1';
}

bool Pod::has_no_perf_events() { return wanted() && perf_event_paranoid() > 2; }

Pod& Pod::get() {
  static Pod pod;
  return pod;
}

std::string Pod::inside(const std::string& path) const {
  return directory_ + "/cgroup" + path.substr(std::string("/sys/fs/cgroup").size());
}

std::string Pod::cgroup_root() const { return inside(sonde::test::cgroup_root()); }

Pod::Pod() : directory_("/tmp/sonde-pod-" + std::to_string(getpid())), maker_(getpid()) {
  std::filesystem::create_directories(directory_ + "/proc");
  std::filesystem::create_directories(directory_ + "/cgroup");
  int ready[2];
  must(pipe2(ready, O_CLOEXEC) == 0, "pipe");
  constexpr unsigned long kOwn = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWCGROUP;
  first_ = static_cast<pid_t>(syscall(SYS_clone, kOwn | SIGCHLD, 0, 0, 0, 0));
  if (first_ == 0) _exit(live(ready[1]));
  must(first_ > 0, "a process in namespaces of its own");
  ::close(ready[1]);
  char byte = 0;
  must(read(ready[0], &byte, 1) == 1, "the mounts of the pod");
  ::close(ready[0]);
  const auto name = [&](const char* kind) {
    Fd fd(open(("/proc/" + std::to_string(first_) + "/ns/" + kind).c_str(), O_RDONLY | O_CLOEXEC));
    must(static_cast<bool>(fd), kind);
    return fd;
  };
  pid_ = name("pid");
  mount_ = name("mnt");
  network_ = name("net");
  cgroup_ = name("cgroup");
  outside_ = Fd(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
}

Pod::~Pod() {
  if (getpid() != maker_) return;
  kill(first_, SIGKILL);
  waitpid(first_, nullptr, 0);
  std::filesystem::remove_all(directory_);
}

int Pod::live(int ready) const {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto bind = [](const char* from, const std::string& to) {
    return mount(from, to.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0 &&
           mount(nullptr, to.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0;
  };
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr)) return 1;
  if (!bind("/proc", directory_ + "/proc") || !bind("/sys/fs/cgroup", directory_ + "/cgroup")) return 2;
  if (mount("proc", "/proc", "proc", 0, nullptr)) return 3;
  if (write(ready, "r", 1) != 1) return 4;
  for (;;) pause();
}

int Pod::enter(void* argument) {
  const Call& call = *static_cast<const Call*>(argument);
  for (const int space : call.namespaces) must(setns(space, 0) == 0, "setns");
  drop_capabilities();
  (*call.work)();
  return 0;
}

void Pod::run(const std::function<void()>& work) {
  Call call{&work, {mount_.get(), network_.get(), cgroup_.get()}};
  void* stack =
      mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  must(stack != MAP_FAILED, "a stack");
  must(setns(pid_.get(), CLONE_NEWPID) == 0, "setns");  // of children only, and taken back below
  const pid_t process = clone(enter, static_cast<char*>(stack) + kStack, CLONE_VM | CLONE_VFORK | CLONE_FILES, &call);
  must(setns(outside_.get(), CLONE_NEWPID) == 0, "setns");
  must(process > 0, "clone");
  int status = -1;
  must(waitpid(process, &status, __WALL) == process, "waitpid");
  munmap(stack, kStack);
  EXPECT_EQ(status, 0) << "what ran in the pod did not end well";
}

PodProcess::PodProcess() {
  Pod& pod = Pod::get();  // by this thread: the pod ends with the thread that has made it
  thread_ = std::thread([this, &pod] { pod.run([this] { serve(); }); });
}

PodProcess::~PodProcess() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void PodProcess::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return work_ || ending_; });
    if (!work_) return;
    const auto* work = work_;
    lock.unlock();
    (*work)();
    lock.lock();
    work_ = nullptr;
    changed_.notify_all();
  }
}

void PodProcess::call(const std::function<void()>& work) {
  std::unique_lock lock(mutex_);
  work_ = &work;
  changed_.notify_all();
  changed_.wait(lock, [&] { return !work_; });
}

}  // namespace sonde::test
