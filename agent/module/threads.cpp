// SPDX-License-Identifier: Apache-2.0
#include "agent/module/threads.h"

#include <dirent.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <utility>

#include "agent/module/bpf_run.h"
#include "agent/module/mapped.h"
#include "sonde/abi.h"

namespace sonde {
namespace {

std::string& machine_proc() {
  static std::string root = "/proc";
  return root;
}

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};

// Calls `each` with every name that is a number. False: the directory cannot be read.
template <typename Each>
bool for_each_number(const std::string& path, const Each& each) {
  const std::unique_ptr<DIR, CloseDirectory> directory(opendir(path.c_str()));
  if (!directory) return false;
  while (const dirent* entry = readdir(directory.get())) {
    uint64_t number = 0;
    const char* end = entry->d_name + std::strlen(entry->d_name);
    const auto [stop, error] = std::from_chars(entry->d_name, end, number);
    if (error == std::errc() && stop == end) each(number);
  }
  return true;
}

// Gives the program of this name all threads, so many at a time. One that ends meanwhile is passed over by the kernel side; one
// that is made meanwhile tells of itself.
class Lister {
 public:
  Lister(bpf_object* object, const std::string& program, const char* list)
      : object_(object), program_(program), list_(list) {}

  Result<void> run() {
    auto tids = Mapped::map(object_, list_);
    if (!tids) return tids.error();
    tids_ = std::move(*tids);
    Result<void> done{};
    const auto process = [&](uint64_t pid) {
      const std::string tasks = machine_proc() + "/" + std::to_string(pid) + "/task";
      for_each_number(tasks, [&](uint64_t tid) {
        if (done) done = add(tid);
      });
    };
    if (!for_each_number(machine_proc(), process))
      return Error("cannot read " + machine_proc() + ", where all threads are listed");
    if (done && used_) done = flush();
    return done;
  }

 private:
  Result<void> add(uint64_t tid) {
    *tids_.at<uint64_t>(used_++) = tid;
    return used_ < tids_.entries() ? Result<void>{} : flush();
  }
  Result<void> flush() {
    for (std::size_t i = used_; i < tids_.entries(); ++i) *tids_.at<uint64_t>(static_cast<uint32_t>(i)) = 0;
    used_ = 0;
    return run_iterator(object_, program_.c_str());
  }

  bpf_object* object_;
  const std::string& program_;
  const char* list_;
  Mapped tids_;
  uint32_t used_ = 0;
};

}  // namespace

bool walks_by_kernel(const Features& features) {
  return features.sleepable_queues && features.has_function("bpf_iter_task_new") &&
         features.has_function("bpf_rcu_read_lock");
}

bool walks_by_list(const Features& features) {
  return !walks_by_kernel(features) && !features.first_pid_namespace && features.has_function("bpf_task_from_pid");
}

bool walks_by_iterator(const Features& features) { return !walks_by_kernel(features) && !walks_by_list(features); }

std::string cannot_walk(const Features& features) {
  if (!walks_by_iterator(features) || features.first_pid_namespace) return {};
  return "the agent has its own PID namespace, and this kernel hides the threads of other namespaces from it (Linux "
         "6.2 does not; hostPID: true also helps)";
}

std::string cannot_walk_files(const Features& features) {
  if (walks_by_kernel(features) || features.first_pid_namespace) return {};
  return "the agent has its own PID namespace, and this kernel hides the files of other namespaces from it (Linux "
         "6.7 does not; hostPID: true also helps)";
}

void set_machine_proc(std::string root) { machine_proc() = std::move(root); }

Result<void> run_over_threads(bpf_object* object, const std::string& name, const char* list) {
  const std::string all = name + "_all";
  const std::string listed = name + "_listed";
  if (program_fd(object, all.c_str()) >= 0) return run_program(object, all.c_str());
  if (program_fd(object, listed.c_str()) >= 0) return Lister(object, listed, list).run();
  return run_iterator(object, name.c_str());
}

}  // namespace sonde
