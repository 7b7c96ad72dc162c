// SPDX-License-Identifier: Apache-2.0
#include <linux/capability.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <spdlog/fmt/fmt.h>

#include "agent/base/capabilities.h"
#include "agent/base/file.h"
#include "agent/base/text.h"
#include "agent/cli/checks.h"
#include "agent/identity/cgroup_root.h"
#include "agent/kernel/engine.h"
#include "agent/runtime/obstacle.h"

namespace sonde::cli {
namespace {

// Content of a small file without white space at its ends; empty if it cannot be read.
std::string word_in(const std::string& path) {
  auto text = read_small_file(path);
  return text ? std::string(trim(*text)) : std::string();
}

Check kernel_check() {
  utsname name{};
  uname(&name);
  return {"kernel", Verdict::Ok, fmt::format("{} {} {}", name.sysname, name.release, name.machine), ""};
}

Check btf_check() {
  if (access("/sys/kernel/btf/vmlinux", R_OK) == 0) return {"BTF", Verdict::Ok, "/sys/kernel/btf/vmlinux", ""};
  return {"BTF", Verdict::Failure, "/sys/kernel/btf/vmlinux is missing or unreadable",
          "use a kernel built with CONFIG_DEBUG_INFO_BTF=y; without BTF nothing can be measured"};
}

bool has_capability(int capability) { return (effective_capabilities() >> capability & 1) != 0; }

struct Capability {
  std::string_view name;
  int number;
  bool by_admin;  // SYS_ADMIN stands in for it
};
constexpr Capability kCapabilities[] = {{"BPF", CAP_BPF, true},
                                        {"PERFMON", CAP_PERFMON, true},
                                        {"CHECKPOINT_RESTORE", CAP_CHECKPOINT_RESTORE, true},
                                        {"NET_ADMIN", CAP_NET_ADMIN, false},
                                        {"SYS_PTRACE", CAP_SYS_PTRACE, false},
                                        {"SYSLOG", CAP_SYSLOG, false}};

Check rights_check() {
  const auto bit = has_capability;
  if (bit(CAP_BPF) && bit(CAP_PERFMON)) return {"capabilities", Verdict::Ok, "BPF and PERFMON", ""};
  if (bit(CAP_SYS_ADMIN)) return {"capabilities", Verdict::Ok, "SYS_ADMIN includes BPF and PERFMON", ""};
  std::vector<std::string> missing;
  if (!bit(CAP_BPF)) missing.emplace_back("BPF");
  if (!bit(CAP_PERFMON)) missing.emplace_back("PERFMON");
  return {"capabilities", Verdict::Failure, "missing: " + join(missing),
          "run as root, or add the capabilities " + join(missing)};
}

Check cgroup_check(const std::string& configured, const std::string& proc_root) {
  auto root = find_cgroup_root({.configured = configured, .proc_root = proc_root});
  if (!root)
    return {"cgroups", Verdict::Failure, root.error().message(), "boot with systemd.unified_cgroup_hierarchy=1"};
  if (root->partial) {
    return {"cgroups", Verdict::Warning, "v2 at " + root->path + ", only part of the host's tree",
            "mount the host's /proc (SONDE_PROC_ROOT) or /sys/fs/cgroup to see all containers"};
  }
  return {"cgroups", Verdict::Ok, "v2 at " + root->path + (root->hybrid ? ", next to v1 (hybrid)" : ""), ""};
}

Check lockdown_check() {
  const std::string modes = word_in("/sys/kernel/security/lockdown");
  const auto open = modes.find('[');
  const std::string mode = open == std::string::npos ? "none" : modes.substr(open + 1, modes.find(']') - open - 1);
  if (mode != "confidentiality") return {"lockdown", Verdict::Ok, mode, ""};
  return {"lockdown", Verdict::Warning, mode + ": programs may not read kernel memory by address",
          "affected probes are listed below; boot with lockdown=integrity to use all"};
}

Check jit_check() {
  const std::string value = word_in("/proc/sys/net/core/bpf_jit_enable");
  if (value != "0") return {"BPF compiler", Verdict::Ok, "on", ""};
  return {"BPF compiler", Verdict::Warning, "off: programs are interpreted and cost several times as much",
          "sysctl net.core.bpf_jit_enable=1"};
}

// A pair of programs that every system call of the machine runs through, whoever makes it.
bool taxes_system_calls(const ModuleReport& report) {
  const auto loads = [&](std::string_view hook) {
    return std::ranges::any_of(report.programs, [hook](const ProgramReport& program) {
      return program.hook == hook && (program.state == ProgramState::Idle || program.state == ProgramState::Attached);
    });
  };
  return loads("tp_btf/sys_enter") && loads("tp_btf/sys_exit");
}

}  // namespace

std::vector<std::string> capabilities_of(const ModuleInfo& info) {
  std::vector<std::string> names;
  for (auto at = info.needs.find("CAP_"); at != std::string_view::npos; at = info.needs.find("CAP_", at + 1)) {
    const std::string_view rest = info.needs.substr(at + 4);
    names.emplace_back(rest.substr(0, rest.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_")));
  }
  return names;
}

std::vector<std::string> missing_capabilities(const ModuleInfo& info, uint64_t effective) {
  const auto has = [effective](int number) { return (effective >> number & 1) != 0; };
  std::vector<std::string> missing;
  for (const std::string& name : capabilities_of(info)) {
    const auto* known = std::ranges::find(kCapabilities, std::string_view(name), &Capability::name);
    const bool there =
        known != std::end(kCapabilities) && (has(known->number) || (known->by_admin && has(CAP_SYS_ADMIN)));
    if (!there) missing.push_back(name);
  }
  return missing;
}

Check probe_check(const ModuleReport& report, const ModuleInfo& info, uint64_t effective) {
  Check check;
  check.name = "probe " + report.name;
  // One that cannot be is a gap, not the end: the others measure.
  check.verdict =
      report.health == ModuleHealth::Ok || report.health == ModuleHealth::Disabled ? Verdict::Ok : Verdict::Warning;
  const auto missing = missing_capabilities(info, effective);
  const auto usable = std::ranges::count_if(report.programs, [](const auto& program) {
    return program.state == ProgramState::Idle || program.state == ProgramState::Attached;
  });
  check.finding = info.programs.empty() ? "reads files, has no BPF program" : fmt::format("{} programs load", usable);
  if (!report.alternative.empty()) check.finding += ", by " + report.alternative;
  if (!report.reasons.empty()) check.finding += "; " + join(report.reasons, "; ");
  if (taxes_system_calls(report)) {
    check.finding += "; while it is in use, every system call on this machine takes about 150 ns longer";
  }
  if (report.health == ModuleHealth::Failed)
    check.remedy = "the other probes work without it; its README lists what it needs";
  if (!missing.empty()) {
    check.finding += "; missing capabilities: " + join(missing);
    check.remedy = "add the capabilities " + join(missing) + "; its README says what is not measured without them";
    check.verdict = std::max(check.verdict, Verdict::Warning);
    return check;
  }
  if (report.health == ModuleHealth::Degraded)
    check.remedy = "the gaps are listed; everything else in this probe is exact";
  return check;
}

std::vector<Check> machine_checks(const std::string& cgroup_root, const std::string& proc_root) {
  return {kernel_check(),   btf_check(), rights_check(), cgroup_check(cgroup_root, proc_root),
          lockdown_check(), jit_check()};
}

std::vector<Check> probe_checks() {
  EngineOptions options;
  options.slots = 16;  // only to see whether it loads
  auto engine = Engine::start(options);
  if (!engine) {
    return {{"core", Verdict::Failure, engine.error().message(),
             core_remedy(may_load_programs(), engine.error().message())}};
  }
  const Features& features = (*engine)->features();
  std::vector<Check> checks;
  checks.push_back({"hooks", Verdict::Ok,
                    fmt::format("BTF tracepoints; fentry {}; kernel {}", features.fentry ? "works" : "is refused",
                                features.preemptible ? "may preempt" : "does not preempt"),
                    ""});
  const auto reports = (*engine)->modules();
  for (std::size_t i = 0; i < reports.size(); ++i) {
    checks.push_back(probe_check(reports[i], modules()[i].module->info(), effective_capabilities()));
  }
  if (std::ranges::all_of(reports, [](const ModuleReport& report) { return report.health == ModuleHealth::Failed; })) {
    checks.push_back(
        {"probes", Verdict::Failure, "none of them works on this machine", "fix the problems listed above"});
  }
  return checks;
}

}  // namespace sonde::cli
