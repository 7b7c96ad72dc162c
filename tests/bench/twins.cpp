// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/twins.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "agent/base/fd.h"
#include "agent/kernel/cgroup_programs.h"
#include "agent/kernel/perf_events.h"

namespace sonde::bench {
namespace {

struct Target {
  bpf_prog_type type;
  bpf_attach_type attach;
  std::string name;
};

std::optional<Target> target_of(const std::string& hook) {
  struct Kind {
    std::string_view prefix;
    bpf_prog_type type;
    bpf_attach_type attach;
  };
  static constexpr Kind kKinds[] = {{"tp_btf/", BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP},
                                    {"fentry/", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY},
                                    {"fexit/", BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT},
                                    {"raw_tp/", BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_RAW_TP},
                                    {"raw_tracepoint/", BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_RAW_TP},
                                    {"tp/", BPF_PROG_TYPE_TRACEPOINT, BPF_PERF_EVENT},
                                    {"cgroup_skb/ingress", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS},
                                    {"cgroup_skb/egress", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS},
                                    {"perf_event/", BPF_PROG_TYPE_PERF_EVENT, BPF_PERF_EVENT}};
  for (const Kind& kind : kKinds) {
    if (!hook.starts_with(kind.prefix)) continue;
    std::string rest = hook.substr(kind.prefix.size());
    return Target{kind.type, kind.attach, rest.empty() ? hook : std::move(rest)};
  }
  return std::nullopt;
}

// return 0, or 1, which lets a packet through
constexpr std::array<bpf_insn, 2> nothing_but(int answer) {
  return {{{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = answer},
           {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}}};
}

Fd load(const Target& target) {
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  if (target.type == BPF_PROG_TYPE_TRACING) {
    const int id = libbpf_find_vmlinux_btf_id(target.name.c_str(), target.attach);
    if (id < 0) return {};
    options.attach_btf_id = static_cast<uint32_t>(id);
  }
  if (target.type == BPF_PROG_TYPE_TRACING || target.type == BPF_PROG_TYPE_CGROUP_SKB) {
    options.expected_attach_type = target.attach;
  }
  const auto code = nothing_but(target.type == BPF_PROG_TYPE_CGROUP_SKB);
  return Fd(bpf_prog_load(target.type, "empty_twin", "GPL", code.data(), code.size(), &options));
}

Fd open_event(uint32_t type, uint64_t config, uint64_t period, int cpu) {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = type;
  attributes.config = config;
  attributes.sample_period = period;
  return Fd(static_cast<int>(syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
}

// "syscalls/sys_exit_read": by the number that tracefs gives it.
Fd open_tracepoint(const std::string& name) {
  for (const char* root : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
    uint64_t number = 0;
    if (!(std::ifstream(std::string(root) + "/events/" + name + "/id") >> number)) continue;
    return open_event(PERF_TYPE_TRACEPOINT, number, 1, 0);
  }
  return {};
}

// Where programs of this kind are linked to: one place, or one for each CPU. None: the program knows it already.
std::vector<Fd> places_of(const Target& target) {
  std::vector<Fd> places;
  if (target.type == BPF_PROG_TYPE_CGROUP_SKB) {
    places.emplace_back(open(mounted_cgroup_root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  } else if (target.type == BPF_PROG_TYPE_TRACEPOINT) {
    places.push_back(open_tracepoint(target.name));
  } else if (target.type == BPF_PROG_TYPE_PERF_EVENT) {
    const auto event = parse_perf_event("perf_event/" + target.name);
    const int cpus = event ? libbpf_num_possible_cpus() : 0;
    for (int cpu = 0; cpu < cpus; ++cpu) places.push_back(open_event(event->type, event->config, event->period, cpu));
  }
  return places;
}

std::vector<Fd> attach(const Target& target, const Fd& program) {
  std::vector<Fd> links;
  for (const Fd& place : places_of(target)) {
    if (place) links.emplace_back(bpf_link_create(program.get(), place.get(), target.attach, nullptr));
  }
  if (target.type == BPF_PROG_TYPE_TRACING) links.emplace_back(bpf_raw_tracepoint_open(nullptr, program.get()));
  if (target.type == BPF_PROG_TYPE_RAW_TRACEPOINT) {
    links.emplace_back(bpf_raw_tracepoint_open(target.name.c_str(), program.get()));
  }
  return links;
}

}  // namespace

bool has_twin(const std::string& hook) { return target_of(hook).has_value(); }

Variant empty_twins(const std::string& name, const std::vector<std::string>& hooks) {
  struct Twin {
    Target target;
    Fd program;
    std::vector<Fd> links;
  };
  auto twins = std::make_shared<std::vector<Twin>>();
  for (const std::string& hook : hooks) {
    if (auto target = target_of(hook)) {
      Fd program = load(*target);
      twins->push_back({std::move(*target), std::move(program), {}});
    }
  }
  return {name,
          [twins] {
            bool all = !twins->empty();
            for (Twin& twin : *twins) {
              twin.links = attach(twin.target, twin.program);
              all = all && !twin.links.empty() &&
                    std::ranges::all_of(twin.links, [](const Fd& link) { return bool(link); });
            }
            return all;
          },
          [twins] {
            for (Twin& twin : *twins) twin.links.clear();
          },
          false,
          true,
          [twins] {
            std::vector<ProgramRuns> runs;
            for (const Twin& twin : *twins) {
              bpf_prog_info info{};
              __u32 size = sizeof(info);
              if (bpf_obj_get_info_by_fd(twin.program.get(), &info, &size)) continue;
              runs.push_back({"", twin.target.name, info.run_cnt, info.run_time_ns, 0, 0});
            }
            return runs;
          }};
}

}  // namespace sonde::bench
