// SPDX-License-Identifier: Apache-2.0
#include "agent/base/capabilities.h"

#include <linux/capability.h>

#include <cstdlib>
#include <string>

#include "agent/base/file.h"
#include "agent/base/text.h"

namespace sonde {

uint64_t effective_capabilities() {
  auto status = read_small_file("/proc/self/status");
  if (!status) return 0;
  for (const auto line : split(*status, '\n')) {
    if (line.starts_with("CapEff:")) return std::strtoull(std::string(trim(line.substr(7))).c_str(), nullptr, 16);
  }
  return 0;
}

bool may_load_programs() {
  const uint64_t effective = effective_capabilities();
  const auto has = [effective](int number) { return (effective >> number & 1) != 0; };
  return (has(CAP_BPF) && has(CAP_PERFMON)) || has(CAP_SYS_ADMIN);
}

}  // namespace sonde
