// SPDX-License-Identifier: Apache-2.0
// A program at a cgroup that lets every packet through, or none: what firewalls and policies of other agents are.
#pragma once

#include "agent/base/fd.h"

namespace sonde::test {

// BPF_PROG_TYPE_CGROUP_SKB; invalid if the kernel refuses it.
Fd verdict_program(bool egress, bool let_through);

}  // namespace sonde::test
