// SPDX-License-Identifier: Apache-2.0
// A list of checks with a verdict and a remedy each: what `sonde doctor` and `sonde verify` print.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"
#include "agent/kernel/module_object.h"
#include "agent/module/module.h"

namespace sonde::cli {

enum class Verdict : uint8_t { Ok, Warning, Failure };

struct Check {
  std::string name;
  Verdict verdict = Verdict::Ok;
  std::string finding;  // what was seen
  std::string remedy;   // what to do about it; empty if all is well
};

// [+] ok, [!] warning, [-] failure; a remedy line below.
std::string checks_text(const std::vector<Check>& checks);
std::string checks_json(const std::vector<Check>& checks);
// 0 all well, 1 warnings, 2 failures.
int checks_code(const std::vector<Check>& checks);

// Capabilities that a probe names in ModuleInfo::needs, without CAP_.
std::vector<std::string> capabilities_of(const ModuleInfo& info);
// Those of them that a process with these effective capabilities (a mask) does not have. SYS_ADMIN stands in for BPF, PERFMON
// and CHECKPOINT_RESTORE. A name that the kernel does not know is missing.
std::vector<std::string> missing_capabilities(const ModuleInfo& info, uint64_t effective);

// Of this machine: kernel, rights, cgroups. Reads files only.
std::vector<Check> machine_checks(const std::string& cgroup_root, const std::string& proc_root);
// One probe as it loaded, for a process with these effective capabilities.
Check probe_check(const ModuleReport& report, const ModuleInfo& info, uint64_t effective);
// Of a kernel that is not here, by the BTF in this file.
Result<std::vector<Check>> offline_checks(const std::string& btf_file);
// Of the probes: loads each for a moment. A failure only where none works.
std::vector<Check> probe_checks();

}  // namespace sonde::cli
