// SPDX-License-Identifier: Apache-2.0
// What this process may do, as its capabilities say.
#pragma once

#include <cstdint>

namespace sonde {

// CapEff of /proc/self/status, a bit per capability (linux/capability.h); 0 if that cannot be read.
uint64_t effective_capabilities();

// May it load BPF programs: by BPF and PERFMON, or SYS_ADMIN in place of them, whoever its user is. In a user namespace of its
// own the kernel refuses it all the same.
bool may_load_programs();

}  // namespace sonde
