// SPDX-License-Identifier: Apache-2.0
// What this kernel can do, found out by trying and by looking into its BTF; never by its version.
#pragma once

#include "agent/base/result.h"
#include "agent/module/module.h"

namespace sonde {

// Error: no BTF (/sys/kernel/btf/vmlinux): CO-RE objects cannot be loaded at all.
Result<Features> probe_features();

}  // namespace sonde
