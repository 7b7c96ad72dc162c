// SPDX-License-Identifier: Apache-2.0
// What this kernel can do, found out by trying and by looking into its BTF; never by its version.
#pragma once

#include <memory>

#include "agent/base/result.h"
#include "agent/module/module.h"

struct btf;

namespace sonde {

// Error: no BTF (/sys/kernel/btf/vmlinux): CO-RE objects cannot be loaded at all.
Result<Features> probe_features();

// The kernel's BTF as the newest Features have it, which live as long as their engine; null without any.
std::shared_ptr<const btf> kernel_types();

}  // namespace sonde
