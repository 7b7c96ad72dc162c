// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/perf_events.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string>
#include <utility>

#include "agent/base/clock.h"
#include "agent/module/perf_paranoid.h"

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
  attributes.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED;
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

void CpuEvents::DestroyLink::operator()(bpf_link* link) const { bpf_link__destroy(link); }

int CpuEvents::attach_to(int cpu) {
  Fd fd = open_event(event_, cpu);
  if (!fd) return errno;
  OnCpu on;
  on.event = Fd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!on.event) return errno;
  on.link.reset(bpf_program__attach_perf_event(program_, fd.get()));
  if (!on.link) return errno;
  fd.release();  // it is the link's now
  on.asked_ns = monotonic_ns();
  cpus_[cpu] = std::move(on);
  return 0;
}

Result<CpuEvents> CpuEvents::attach(const bpf_program* program, const PerfEvent& event) {
  CpuEvents events;
  events.program_ = program;
  events.event_ = event;
  int error = 0;
  const int cpus = libbpf_num_possible_cpus();
  for (int cpu = 0; cpu < cpus && !error; ++cpu) {
    error = events.attach_to(cpu);
    if (error == ENODEV) error = 0;
  }
  if (!error && !events.empty()) return events;
  if (const std::string why = perf_refusal(error); !why.empty()) return Error("cannot open the perf event: " + why);
  return Error::system("cannot open the perf event on each CPU", error ? error : ENODEV);
}

// The time for which it has been enabled stands still once its CPU has gone, also after that is back. So it has to have risen by
// what has passed since it was read the last time, but for what two clocks may differ by.
bool CpuEvents::runs(OnCpu& on) {
  constexpr uint64_t kClocksDiffer =
      20'000'000;                 // ns: without a stable TSC the scheduler's clock is good to some ticks
  std::array<uint64_t, 2> now{};  // value, time enabled
  const uint64_t begin = monotonic_ns();
  if (read(on.event.get(), now.data(), sizeof(now)) != static_cast<ssize_t>(sizeof(now))) return false;
  const uint64_t rose = now[1] - std::exchange(on.enabled, now[1]);
  const uint64_t passed = begin - std::exchange(on.asked_ns, monotonic_ns());  // at least
  return rose + passed / 1000 + kClocksDiffer >= passed;
}

std::size_t CpuEvents::follow() {
  std::size_t attached = 0;
  const int cpus = libbpf_num_possible_cpus();
  for (int cpu = 0; cpu < cpus; ++cpu) {
    const auto on = cpus_.find(cpu);
    if (on != cpus_.end()) {
      if (runs(on->second)) continue;
      cpus_.erase(on);
    }
    attached += attach_to(cpu) == 0;
  }
  return attached;
}

}  // namespace sonde
