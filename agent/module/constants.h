// SPDX-License-Identifier: Apache-2.0
// Constants of a BPF object (`const volatile …`, its read-only data), set between open and load: see Module::prepare.
#pragma once

#include <cstdint>
#include <string_view>

#include "agent/base/result.h"

struct bpf_object;

namespace sonde {

// Integers of 1, 2, 4 or 8 bytes. Fails if the object has none of that name.
Result<void> set_constant(bpf_object* object, std::string_view name, uint64_t value);

}  // namespace sonde
