// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/offline.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "agent/kernel/bpf_code.h"
#include "agent/kernel/core.h"
#include "agent/kernel/core_types.h"
#include "agent/kernel/libbpf_log.h"

namespace sonde {
namespace {

struct FreeTypes {
  void operator()(btf* types) const { btf__free(types); }
};
using TypesPtr = std::unique_ptr<btf, FreeTypes>;

// Tracepoints that older kernels have under another name: before 6.3, before 5.18. The modules choose it when they are loaded.
bool has_tracepoint(const CoreTypes& kernel, const std::string& name) {
  if (kernel.has_tracepoint(name)) return true;
  if (name == "io_uring_submit_req") return kernel.has_tracepoint("io_uring_submit_sqe");
  return name == "writeback_dirty_folio" && kernel.has_tracepoint("writeback_dirty_page");
}

std::string missing_hook(const CoreTypes& kernel, const std::string& section) {
  const auto slash = section.find('/');
  if (slash == std::string::npos) return {};
  const std::string kind = section.substr(0, slash), name = section.substr(slash + 1);
  if (kind == "tp_btf" || kind == "raw_tp") return has_tracepoint(kernel, name) ? "" : "there is no tracepoint " + name;
  if (kind == "iter" || kind == "iter.s")
    return kernel.has_function("bpf_iter_" + name) ? "" : "there is no iterator " + name;
  const bool function = kind == "fentry" || kind == "fexit" || kind == "kprobe" || kind == "kretprobe";
  return !function || kernel.has_function(name) ? "" : "there is no function " + name;
}

class Checker {
 public:
  Checker(const CoreTypes& kernel, std::span<const unsigned char> object)
      : kernel_(kernel),
        code_(object),
        types_(btf__new(code_.content(".BTF").data(), static_cast<uint32_t>(code_.content(".BTF").size()))) {
    if (!types_) return;
    for (auto& [section, list] : core_relocations(types_.get(), code_.content(".BTF.ext"))) {
      for (CoreRelocation& one : list) {
        const bool there = kernel_.has(types_.get(), one);
        const BpfCode::Place place{section, one.instruction};
        answers_[place] = is_question(one) ? std::optional<int64_t>(there) : std::nullopt;
        if (!is_question(one) && !there) missing_.emplace(place, text_of(types_.get(), one));
      }
    }
  }

  OfflineProgram check(const std::string& name, const std::string& hook) const {
    OfflineProgram result{name, hook, true, ""};
    const auto place = code_.program(name);
    if (!types_ || !place) return {name, hook, false, "the object is damaged"};
    result.reason = missing_hook(kernel_, place->section);
    if (result.reason.empty()) result.reason = missing_type(*place);
    result.fits = result.reason.empty();
    return result;
  }

 private:
  // What the program reads and the kernel has not.
  std::string missing_type(const BpfCode::Place& begin) const {
    if (missing_.empty()) return {};
    for (const BpfCode::Place& place : code_.reachable(begin, answers_)) {
      if (const auto found = missing_.find(place); found != missing_.end()) return "there is no " + found->second;
    }
    return {};
  }

  const CoreTypes& kernel_;
  BpfCode code_;
  TypesPtr types_;
  BpfCode::Answers answers_;
  std::map<BpfCode::Place, std::string> missing_;
};

OfflineModule check_core(const CoreTypes& kernel) {
  OfflineModule core{"core", {}};
  const Checker checker(kernel, core_object_bytes());
  for (const auto& [name, hook] : {std::pair("core_cgroup_mkdir", "tp_btf/cgroup_mkdir"),
                                   {"core_cgroup_rmdir", "tp_btf/cgroup_rmdir"},
                                   {"core_cgroup_attach_task", "tp_btf/cgroup_attach_task"},
                                   {"core_sched_switch", "tp_btf/sched_switch"},
                                   {"core_process_exit", "tp_btf/sched_process_exit"}}) {
    core.programs.push_back(checker.check(name, hook));
  }
  return core;
}

}  // namespace

Result<std::vector<OfflineModule>> check_offline(const std::string& file, std::span<const ModuleEntry> modules) {
  LogCapture log;
  const TypesPtr types(btf__parse(file.c_str(), nullptr));
  if (!types && errno >= __LIBBPF_ERRNO__START) {  // libbpf's own numbers mean nothing to strerror()
    return Error("there are no kernel types (BTF) in " + file +
                 ": give a vmlinux with a .BTF section, or a copy of /sys/kernel/btf/vmlinux");
  }
  if (!types) return Error::system("cannot read kernel types (BTF) from " + file, errno);
  const CoreTypes kernel(types.get());
  std::vector<OfflineModule> checked{check_core(kernel)};
  for (const ModuleEntry& entry : modules) {
    const ModuleInfo& info = entry.module->info();
    OfflineModule& module = checked.emplace_back(OfflineModule{std::string(info.name), {}});
    const Checker checker(kernel, entry.object);
    for (const ProgramSpec& spec : info.programs) {
      module.programs.push_back(checker.check(std::string(spec.program), std::string(spec.hook)));
    }
  }
  return checked;
}

}  // namespace sonde
