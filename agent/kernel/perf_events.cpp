// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/perf_events.h"

#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string>

#include "agent/base/fd.h"

namespace sonde {
namespace {

struct NamedEvent {
  std::string_view name;  // as perf(1) calls them
  uint32_t type;
  uint64_t config;
};
constexpr std::array kEvents = {
    NamedEvent{"software/page-faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS},
    NamedEvent{"software/page-faults-min", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MIN},
    NamedEvent{"software/page-faults-maj", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MAJ},
    NamedEvent{"software/cpu-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK},
    NamedEvent{"hardware/cycles", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
    NamedEvent{"hardware/instructions", PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
};

constexpr std::string_view kPrefix = "perf_event/";

// ENODEV: the CPU is offline.
Fd open_event(const PerfEvent& event, int cpu) {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = event.type;
  attributes.config = event.config;
  attributes.sample_period = event.period;
  return Fd(static_cast<int>(syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
}

}  // namespace

Result<PerfEvent> parse_perf_event(std::string_view hook) {
  const auto unknown = [&] { return Error("there is no perf event " + std::string(hook)); };
  if (!hook.starts_with(kPrefix)) return unknown();
  std::string_view name = hook.substr(kPrefix.size());
  PerfEvent event;
  const auto first = name.find('/');
  const auto last = name.rfind('/');
  if (last != first) {
    const std::string_view period = name.substr(last + 1);
    const auto [end, error] = std::from_chars(period.data(), period.data() + period.size(), event.period);
    if (error != std::errc() || end != period.data() + period.size() || event.period == 0) return unknown();
    name = name.substr(0, last);
  }
  const auto known = std::ranges::find(kEvents, name, &NamedEvent::name);
  if (known == kEvents.end()) return unknown();
  event.type = known->type;
  event.config = known->config;
  return event;
}

Result<std::vector<bpf_link*>> attach_perf_event(const bpf_program* program, const PerfEvent& event) {
  std::vector<bpf_link*> links;
  int error = 0;
  const int cpus = libbpf_num_possible_cpus();
  for (int cpu = 0; cpu < cpus && !error; ++cpu) {
    Fd fd = open_event(event, cpu);
    if (!fd) {
      if (errno != ENODEV) error = errno;
      continue;
    }
    bpf_link* link = bpf_program__attach_perf_event(program, fd.get());
    if (link) {
      links.push_back(link);
      fd.release();  // it is the link's now
    } else {
      error = errno;
    }
  }
  if (!error && !links.empty()) return links;
  for (bpf_link* link : links) bpf_link__destroy(link);
  return Error::system("cannot open the perf event on each CPU", error ? error : ENODEV);
}

}  // namespace sonde
