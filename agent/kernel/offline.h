// SPDX-License-Identifier: Apache-2.0
// Which programs of the probes a kernel would take that is not here, by its types alone: are their hooks there, and what they
// read? What only its verifier, its configuration or its rights refuse is not seen.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "agent/base/result.h"
#include "agent/module/module.h"

namespace sonde {

struct OfflineProgram {
  std::string name, hook;
  bool fits = true;
  std::string reason;  // why it does not
};

struct OfflineModule {
  std::string name;
  std::vector<OfflineProgram> programs;
};

// `file`: BTF as in /sys/kernel/btf/vmlinux, or an ELF file with a section .BTF (vmlinux). The core comes first.
Result<std::vector<OfflineModule>> check_offline(const std::string& file,
                                                 std::span<const ModuleEntry> modules = sonde::modules());

}  // namespace sonde
