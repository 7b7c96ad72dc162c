// SPDX-License-Identifier: Apache-2.0
// Programs that look at every thread of the machine (bpf/include/sonde/threads.h), run by Module::begin, flush or refresh.
// Each exists up to three times; which one a module loads follows from what this kernel has and where the agent runs.
#pragma once

#include <string>

#include "agent/base/result.h"
#include "agent/module/module.h"

struct bpf_object;

namespace sonde {

// For ProgramSpec::needed of <name>_all, <name>_listed and <name>.
bool walks_by_kernel(const Features& features);
bool walks_by_list(const Features& features);
bool walks_by_iterator(const Features& features);

// For ProgramSpec::blind of <name>: empty unless none of the three shows the whole machine.
std::string cannot_walk(const Features& features);
// The same where there is no <name>_listed.
std::string cannot_walk_files(const Features& features);

// Where the machine's /proc is, for <name>_listed; "/proc" until said otherwise. Before modules load.
void set_machine_proc(std::string root);

// Runs whichever of `<name>_all`, `<name>_listed` and `<name>` the object has loaded; in silence if it has none: that is named
// as a gap. `list`: the map of thread ids.
Result<void> run_over_threads(bpf_object* object, const std::string& name, const char* list);

}  // namespace sonde
