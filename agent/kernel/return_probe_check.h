// SPDX-License-Identifier: Apache-2.0
// Do return probes end programs under seccomp? From 6.11 on the kernel's trampoline makes a system call of its own, which
// filters of before early 2025 did not know and refused: the probed program died. Found out on a child of our own.
#pragma once

#include <string>

#include "agent/kernel/function_probes.h"

namespace sonde {

// Empty: they are harmless. Otherwise what happened, a sentence. Forks once.
std::string check_return_probes(const FunctionProbes& probes);

}  // namespace sonde
