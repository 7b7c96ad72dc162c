// SPDX-License-Identifier: Apache-2.0
#pragma once

struct bpf_object;

namespace sonde {

// libbpf looks for what the kernel itself does not have (a weak kfunc, a type) among the types of loaded kernel modules, which it
// may list with CAP_SYS_ADMIN only. Before 1.5 it gives up the whole object where that is refused, as it is in the chart's pod.
// None of ours is a module's: without the capability they are passed over. Before bpf_object__load().
void pass_over_module_types(bpf_object* object);

}  // namespace sonde
