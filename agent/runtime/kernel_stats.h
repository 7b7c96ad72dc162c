// SPDX-License-Identifier: Apache-2.0
// The kernel layer's figures in the form of the agent's own metrics.
#pragma once

#include "agent/kernel/engine.h"
#include "agent/pipeline/stats.h"
#include "agent/runtime/failures.h"
#include "agent/runtime/overhead.h"

namespace sonde {

// `functions_missed`: Functions::missed(), which adds to what the programs of function_module() missed.
KernelStats kernel_stats(const Engine& engine, const Overhead& overhead, const Failures& failures,
                         uint64_t functions_missed);

}  // namespace sonde
