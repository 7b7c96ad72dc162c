// SPDX-License-Identifier: Apache-2.0
// The kernel tests as the chart's pod (SONDE_TEST_AS_POD=1): whatever the engine does it does in a PID, mount, network and
// cgroup namespace of its own, with the pod's capabilities and the machine's /proc and cgroups where the pod has them mounted.
// The test itself and its workloads stay outside.
//
// Each call is made by a process that shares this one's memory and descriptors (as vfork's child does), so the engine is an
// ordinary object of the test. Pod::run() has a process for one call; what starts threads needs a PodProcess.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "agent/base/fd.h"

namespace sonde::test {

class Pod {
 public:
  static bool wanted();
  static Pod& get();  // made at the first call

  void run(const std::function<void()>& work);
  // As seen from inside.
  std::string proc_root() const { return directory_ + "/proc"; }
  std::string cgroup_root() const;
  std::string inside(const std::string& path) const;  // of one below /sys/fs/cgroup

  // Debian's kernels open perf events only to SYS_ADMIN, which a pod has not, unless kernel.perf_event_paranoid is 2 or
  // less: what needs them is then a named gap. True if tests have to expect that.
  static bool has_no_perf_events();

  Pod(const Pod&) = delete;
  Pod& operator=(const Pod&) = delete;

 private:
  Pod();
  ~Pod();
  int live(int ready) const;  // its first process
  static int enter(void* call);

  std::string directory_;  // what is mounted is below it, inside only
  pid_t maker_;            // a child that leaves by exit() ends nothing
  pid_t first_ = -1;
  Fd outside_;  // this process's own PID namespace
  Fd pid_, mount_, network_, cgroup_;
};

// A process of the pod that stays: threads started in its calls are the pod's and live on until it ends.
class PodProcess {
 public:
  PodProcess();
  ~PodProcess();  // by then those threads must have ended
  PodProcess(const PodProcess&) = delete;
  PodProcess& operator=(const PodProcess&) = delete;

  // From one thread at a time; returns when `work` has.
  void call(const std::function<void()>& work);

 private:
  void serve();

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* work_ = nullptr;  // to be done
  bool ending_ = false;
  std::thread thread_;  // of the test; waits until the process has ended
};

}  // namespace sonde::test
