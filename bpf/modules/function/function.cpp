// SPDX-License-Identifier: Apache-2.0
// The function probe in user space: its tables. Which functions, where they are and how they are attached is the agent's
// (agent/functions/functions.h), because policies say so.
#include "bpf/modules/function/function.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <string>

#include "agent/base/fd.h"
#include "agent/module/function_names.h"
#include "agent/module/module.h"
#include "agent/module/read_only.h"
#include "sonde/spans.h"

namespace sonde {
namespace {

enum Metric : uint8_t { kCalls, kErrors, kBytes, kDuration };

constexpr AttributeSpec kName[] = {
    {"sonde.function.name", "as declared in the policy; _OTHER beyond the limit per container"}};

constexpr LegacySpec kLegacyBytes[] = {
    {.to = {.name = "app_uprobe_bytes", .help = "Bytes of all declared functions."}}};
constexpr LegacySpec kLegacyCalls[] = {
    {.to = {.name = "app_uprobe_calls", .help = "Calls of all declared functions."}}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.function.calls",
     .unit = "{call}",
     .level = Level::OptIn,
     .description = "Calls of a function declared in a policy; for USDT, how often the tracepoint was hit.",
     .attributes = kName,
     .legacy = kLegacyCalls},
    {.name = "sonde.function.errors",
     .unit = "{call}",
     .level = Level::OptIn,
     .description = "Calls whose return value is an error according to the policy; by default -1 to -4095.",
     .attributes = kName},
    {.name = "sonde.function.bytes",
     .unit = "By",
     .level = Level::OptIn,
     .description = "Sum over all calls of the argument that the policy declares as the size.",
     .attributes = kName,
     .legacy = kLegacyBytes},
    {.name = "sonde.function.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::OptIn,
     .description = "Duration of calls, from entry to return.",
     .attributes = kName},
};

constexpr SeriesSpec kSeries[] = {
    {.metric = kCalls, .source = Source::Cells, .level = Level::OptIn, .flag = FUNCTION_CALLS},
    {.metric = kErrors, .source = Source::Cells, .level = Level::OptIn, .flag = FUNCTION_ERRORS},
    {.metric = kBytes, .source = Source::Cells, .level = Level::OptIn, .flag = FUNCTION_BYTES},
    {.metric = kDuration,
     .source = Source::KeyedHistogram,
     .level = Level::OptIn,
     .flag = FUNCTION_DURATION,
     .scale = 1e-9},
};

constexpr std::string_view kKernelGap = "declared kernel functions are not measured by kprobes";
constexpr std::string_view kTracedGap = "declared kernel functions are measured by kprobes, which cost more";

bool has_kprobes(const Features& features) { return features.kprobe; }
// Where tasks can be preempted in the middle of such a program the kernel leaves out runs: only if nothing else is there.
bool traces_functions(const Features& features) {
  return features.fentry && (!features.preemptible || !features.kprobe);
}

bool finds_mappings(const Features& features) { return features.has_function("bpf_find_vma"); }

constexpr ProgramSpec kPrograms[] = {
    {.program = "function_enter", .hook = "uprobe", .cost_ns = 500, .by_agent = true},
    {.program = "function_return", .hook = "uretprobe", .cost_ns = 800, .by_agent = true},
    {.program = "function_go_enter", .hook = "uprobe", .cost_ns = 500, .by_agent = true},
    {.program = "function_go_return", .hook = "uprobe on each return instruction", .cost_ns = 500, .by_agent = true},
    {.program = "function_traced_enter",
     .hook = "fentry",
     .gap = kTracedGap,
     .cost_ns = 80,
     .needed = traces_functions,
     .by_agent = true},
    {.program = "function_traced_return",
     .hook = "fexit",
     .gap = kTracedGap,
     .cost_ns = 80,
     .needed = traces_functions,
     .by_agent = true},
    {.program = "function_kernel_enter", .hook = "kprobe", .gap = kKernelGap, .needed = has_kprobes, .by_agent = true},
    {.program = "function_kernel_return",
     .hook = "kretprobe",
     .gap = kKernelGap,
     .needed = has_kprobes,
     .by_agent = true},
    {.program = "function_inode",
     .hook = "syscall",
     .flags = 0,
     .gap = "a file shared by several containers is probed once for each of them, which costs more",
     .needed = finds_mappings,
     .by_agent = true},
};

constexpr std::string_view kNotes[] = {
    "Only functions declared in a policy's `functions` are measured; includeMetrics alone has no effect.",
    "Functions are attached per file, so processes of other containers that run the same file also pay for the probe.",
    "Calls in progress when their function is attached are not measured.",
};

constexpr MeasureSpec kMeasures[] = {
    {"Calls", kCalls}, {"Errors", kErrors}, {"Bytes", kBytes}, {"Duration", kDuration}};

constexpr SpanSpec kSpans[] = {
    {SONDE_SPAN_FUNCTION, FUNCTION_DURATION},
};

constexpr ModuleInfo kInfo = {
    .name = "function",
    .summary = "Functions of programs and of the kernel that policies declare: calls, errors, bytes, duration",
    .metrics = kMetrics,
    .series = kSeries,
    .programs = kPrograms,
    .needs =
        "uprobes with cookies (Linux 5.15); kprobes for kernel functions; CAP_BPF, CAP_PERFMON, and CAP_SYS_PTRACE "
        "and CAP_CHECKPOINT_RESTORE to open files of containers",
    .cells = true,
    .keyed_histograms = true,
    .spans = kSpans,
    .measures = kMeasures,
    .notes = kNotes,
};

// linux/bpf.h of 6.6; Debian 12 has that of 6.1.
constexpr auto kTraceUprobeMulti = static_cast<bpf_attach_type>(48);
struct LinkCreateMulti {
  uint32_t prog_fd, target_fd, attach_type, flags;
  uint64_t path, offsets, ref_ctr_offsets, cookies;
  uint32_t count, multi_flags, pid, reserved;
};

// Whether one link can have many places. Tried with a path that is not a file: a kernel that supports such links
// returns EBADF, one that does not returns EINVAL.
bool supports_uprobe_multi() {
  const bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
                           {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.expected_attach_type = kTraceUprobeMulti;
  const Fd program(bpf_prog_load(BPF_PROG_TYPE_KPROBE, "sonde_probe", "GPL", code, 2, &options));
  if (!program) return false;
  const uint64_t offset = 0;
  LinkCreateMulti create{};
  create.prog_fd = static_cast<uint32_t>(program.get());
  create.attach_type = kTraceUprobeMulti;
  const char* no_file = "/";
  create.path = std::bit_cast<uint64_t>(no_file);
  create.offsets = std::bit_cast<uint64_t>(&offset);
  create.count = 1;
  const Fd link(static_cast<int>(syscall(SYS_bpf, BPF_LINK_CREATE, &create, sizeof(create))));
  return !link && errno == EBADF;
}

Result<void> choose_attachment(bpf_object* object) {
  if (!supports_uprobe_multi()) return {};
  for (const char* name : {"function_enter", "function_return", "function_go_enter", "function_go_return"}) {
    bpf_program* program = bpf_object__find_program_by_name(object, name);
    if (!program) return Error(std::string("the function object has no program ") + name);
    if (const int error = bpf_program__set_expected_attach_type(program, kTraceUprobeMulti))
      return Error::system("cannot select how functions are attached", -error);
  }
  return {};
}

class FunctionModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  CellSeries decode_cell(uint32_t key) const override {
    if (key == kOtherCells) return {kCalls, AttributeValues{"_OTHER"}};
    return {static_cast<uint8_t>(key & 3), AttributeValues{function_name(key >> 2)}};
  }

  CellSeries decode_keyed(uint32_t key) const override {
    if (key == kOtherCells) return {kDuration, AttributeValues{"_OTHER"}};
    return {kDuration, AttributeValues{function_name(key)}};
  }

  SpanWords decode_span(const sonde_span& span) const override { return {.function_name = function_name(span.detail)}; }

  Result<void> prepare(bpf_object* object, const Features& features, int) const override {
    bpf_map* asked = bpf_object__find_map_by_name(object, "function_asked");
    if (!asked) return Error("the function object lacks its maps");
    if (const int error = bpf_map__set_max_entries(asked, static_cast<uint32_t>(slots_of(object))))
      return Error::system("cannot size the table of requested functions", -error);
    if (auto chosen = choose_attachment(object); !chosen) return chosen;
    return set_read_only(object, "function_guard", features.has_function("bpf_preempt_disable"));
  }
};

}  // namespace

const Module& sonde_module_function() {
  static const FunctionModule module;
  return module;
}

}  // namespace sonde
