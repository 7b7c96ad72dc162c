// SPDX-License-Identifier: Apache-2.0
// What follows from the text of a function's declaration alone.
#pragma once

#include <string>
#include <string_view>

#include "agent/policy/policy.h"
#include "agent/symbols/image.h"

namespace sonde {

// Bits of bpf/modules/function/function.h: FUNCTION_CALLS and so on.
uint8_t measures_of(const FunctionRequest& request);
uint8_t error_rule_of(const FunctionRequest& request);

// Does it need a probe at the end?
bool needs_return(const FunctionRequest& request);

// Functions of the kernel that are never probed: what runs under the probe itself (locks, RCU, tracing, BPF, clocks),
// entry code and NMI; what does not return, if its return is asked for.
bool is_denied(std::string_view kernel_symbol, bool with_return);

// Of "module:function".
std::string_view module_of(std::string_view kernel_symbol);

}  // namespace sonde
