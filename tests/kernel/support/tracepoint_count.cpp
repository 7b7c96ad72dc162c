// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/support/tracepoint_count.h"

#include <gtest/gtest.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/kernel/support/held_process.h"

namespace sonde::test {

TracepointCount::TracepointCount(const std::string& tracepoint, const std::string& filter) {
  mount("none", "/sys/kernel/tracing", "tracefs", 0, nullptr);  // fails where it is already
  std::string folder = tracepoint;
  std::ranges::replace(folder, ':', '/');
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.size = sizeof(attributes);
  if (!(std::ifstream("/sys/kernel/tracing/events/" + folder + "/id") >> attributes.config)) return;
  for (const int cpu : usable_cpus()) {
    Fd event(static_cast<int>(syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
    if (!event || ioctl(event.get(), PERF_EVENT_IOC_SET_FILTER, filter.c_str())) {
      events_.clear();
      return;
    }
    events_.push_back(std::move(event));
  }
}

uint64_t TracepointCount::count() const {
  uint64_t sum = 0;
  for (const Fd& event : events_) {
    uint64_t count = 0;
    EXPECT_EQ(read(event.get(), &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
    sum += count;
  }
  return sum;
}

TracepointCount hits_unseen(const std::string& tracepoint) {
  if (std::getenv("SONDE_TEST_VM") || geteuid() != 0) return {};
  std::string filter;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/1/task")) {
    filter += (filter.empty() ? "common_pid == " : " || common_pid == ") + thread.path().filename().string();
  }
  TracepointCount hits(tracepoint, filter);
  EXPECT_TRUE(hits) << errno;
  return hits;
}

}  // namespace sonde::test
