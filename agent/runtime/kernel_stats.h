// SPDX-License-Identifier: Apache-2.0
// The kernel layer's figures in the form of the agent's own metrics.
#pragma once

#include "agent/kernel/engine.h"
#include "agent/pipeline/stats.h"
#include "agent/runtime/failures.h"
#include "agent/runtime/overhead.h"

namespace sonde {

KernelStats kernel_stats(const Engine& engine, const Overhead& overhead, const Failures& failures);

}  // namespace sonde
