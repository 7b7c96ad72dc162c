// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/features.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "agent/base/fd.h"
#include "agent/base/mutex.h"
#include "agent/kernel/libbpf_log.h"

namespace sonde {
namespace {

// "return 0": the smallest program there is.
const bpf_insn kReturnZero[] = {
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0},
    {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
};

// Loading is not enough: some kernels load fentry programs and refuse the trampoline, so one is attached for a moment,
// to a function that hardly ever runs.
bool fentry_works(const btf* kernel) {
  const int function = btf__find_by_name_kind(kernel, "cgroup_get_from_id", BTF_KIND_FUNC);
  if (function < 0) return false;
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.expected_attach_type = BPF_TRACE_FENTRY;
  options.attach_btf_id = static_cast<__u32>(function);
  const Fd program(bpf_prog_load(BPF_PROG_TYPE_TRACING, "sonde_probe", "GPL", kReturnZero, 2, &options));
  if (!program) return false;
  const Fd link(bpf_raw_tracepoint_open(nullptr, program.get()));
  return static_cast<bool>(link);
}

// Programs that user space runs may sleep, and for long such programs were refused some kinds of maps.
bool sleepable_programs_take_queues() {
  const Fd queue(bpf_map_create(BPF_MAP_TYPE_QUEUE, "sonde_probe", 0, sizeof(uint32_t), 1, nullptr));
  if (!queue) return false;
  const bpf_insn code[] = {
      {.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .off = 0, .imm = queue.get()},
      {.code = 0, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
      kReturnZero[0],
      kReturnZero[1],
  };
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.prog_flags = BPF_F_SLEEPABLE;
  return static_cast<bool>(Fd(bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "sonde_probe", "GPL", code, 4, &options)));
}

// Some hardened kernels refuse those whose context can be written.
bool map_iterators_work(const btf* kernel) {
  const int function = btf__find_by_name_kind(kernel, "bpf_iter_bpf_map_elem", BTF_KIND_FUNC);
  if (function < 0) return false;
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.expected_attach_type = BPF_TRACE_ITER;
  options.attach_btf_id = static_cast<__u32>(function);
  return static_cast<bool>(Fd(bpf_prog_load(BPF_PROG_TYPE_TRACING, "sonde_probe", "GPL", kReturnZero, 2, &options)));
}

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// PREEMPT_DYNAMIC kernels say their choice in debugfs ("none (full) voluntary lazy"), which is often not readable;
// then the boot line, then the name of the build. Unknown counts as preemptible, the safe side.
bool may_preempt() {
  const std::string modes = first_line("/sys/kernel/debug/sched/preempt");
  if (const auto open = modes.find('('); open != std::string::npos) {
    const auto mode = modes.substr(open + 1, modes.find(')') - open - 1);
    return mode == "full" || mode == "lazy";
  }
  std::istringstream words(first_line("/proc/cmdline"));
  for (std::string word; words >> word;) {
    if (word == "preempt=none" || word == "preempt=voluntary") return false;
    if (word == "preempt=full" || word == "preempt=lazy") return true;
  }
  const std::string build = first_line("/proc/sys/kernel/version");
  return build.find("PREEMPT") != std::string::npos;
}

bool in_first_pid_namespace() {
  constexpr ino_t kFirst = 0xEFFFFFFC;  // PROC_PID_INIT_INO, include/linux/proc_ns.h
  struct stat own {};
  return stat("/proc/self/ns/pid", &own) == 0 && own.st_ino == kFirst;
}

bool has_type(const std::string& name, uint32_t kind) {
  const std::shared_ptr<btf> kernel = kernel_types();
  return kernel && btf__find_by_name_kind(kernel.get(), name.c_str(), kind) > 0;
}

}  // namespace

std::shared_ptr<btf> kernel_types() {
  static Mutex mutex;
  static std::weak_ptr<btf> known SONDE_GUARDED_BY(mutex);
  const MutexLock lock(mutex);
  if (auto types = known.lock()) return types;
  LogCapture log;  // the caller reports what is missing
  std::shared_ptr<btf> types(btf__load_vmlinux_btf(), btf__free);
  known = types;
  return types;
}

Result<Features> probe_features() {
  LogCapture log;
  const std::shared_ptr<btf> kernel = kernel_types();
  if (!kernel) {
    return Error(
        "this kernel has no BTF (/sys/kernel/btf/vmlinux is missing or unreadable): use a kernel built with "
        "CONFIG_DEBUG_INFO_BTF=y");
  }
  Features features;
  features.fentry = fentry_works(kernel.get());
  features.kprobe = access("/sys/bus/event_source/devices/kprobe", F_OK) == 0;
  features.map_iterators = map_iterators_work(kernel.get());
  features.preemptible = may_preempt();
  features.sleepable_queues = sleepable_programs_take_queues();
  features.first_pid_namespace = in_first_pid_namespace();
  features.has_function = [](std::string_view name) { return has_type(std::string(name), BTF_KIND_FUNC); };
  features.has_tracepoint = [](std::string_view name) {
    return has_type("btf_trace_" + std::string(name), BTF_KIND_TYPEDEF);
  };
  features.read_only_cast = features.has_function("bpf_rdonly_cast");
  return features;
}

}  // namespace sonde
