// SPDX-License-Identifier: Apache-2.0
// What this kernel can do, found out by trying and by looking into its BTF; never by its version.
#pragma once

#include <memory>

#include "agent/base/result.h"
#include "agent/module/module.h"

struct btf;

namespace sonde {

// BTF of the running kernel; null: it has none. Some 6 MiB, so it is there as long as somebody holds it, and read again for
// later callers. Any thread.
std::shared_ptr<btf> kernel_types();

// Error: no BTF (/sys/kernel/btf/vmlinux): CO-RE objects cannot be loaded at all.
Result<Features> probe_features();

}  // namespace sonde
