// SPDX-License-Identifier: Apache-2.0
// Why a kernel refuses perf events though the agent has PERFMON: values of kernel.perf_event_paranoid above 2 are a
// distribution's own (Debian's default is 3) and require SYS_ADMIN.
#pragma once

#include <string>

namespace sonde {

// kernel.perf_event_paranoid; -1 if it cannot be read (and -1 is a value of it: everything is allowed).
int perf_event_paranoid();

// `error` is the errno of perf_event_open(): a sentence that says what to do, or nothing if this is not the reason.
std::string perf_refusal(int error);

}  // namespace sonde
