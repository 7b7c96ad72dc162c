// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/twins.h"

#include <unistd.h>

#include <iterator>
#include <memory>
#include <optional>
#include <string_view>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "agent/base/fd.h"

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
                                    {"raw_tracepoint/", BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_RAW_TP}};
  for (const Kind& kind : kKinds) {
    if (!hook.starts_with(kind.prefix)) continue;
    return Target{kind.type, kind.attach, hook.substr(kind.prefix.size())};
  }
  return std::nullopt;
}

// return 0
constexpr bpf_insn kNothing[] = {
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0},
    {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};

Fd load(const Target& target) {
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  if (target.type == BPF_PROG_TYPE_TRACING) {
    const int id = libbpf_find_vmlinux_btf_id(target.name.c_str(), target.attach);
    if (id < 0) return {};
    options.attach_btf_id = static_cast<uint32_t>(id);
    options.expected_attach_type = target.attach;
  }
  return Fd(bpf_prog_load(target.type, "empty_twin", "GPL", kNothing, std::size(kNothing), &options));
}

// Both kinds are attached by this call; a tracing program knows its place already.
Fd attach(const Target& target, const Fd& program) {
  return Fd(
      bpf_raw_tracepoint_open(target.type == BPF_PROG_TYPE_TRACING ? nullptr : target.name.c_str(), program.get()));
}

}  // namespace

bool has_twin(const std::string& hook) { return target_of(hook).has_value(); }

Variant empty_twins(const std::string& name, const std::vector<std::string>& hooks) {
  struct Twin {
    Target target;
    Fd program;
    Fd link;
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
              twin.link = attach(twin.target, twin.program);
              all = all && twin.link.get() >= 0;
            }
            return all;
          },
          [twins] {
            for (Twin& twin : *twins) twin.link = {};
          },
          false, true};
}

}  // namespace sonde::bench
