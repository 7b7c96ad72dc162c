// SPDX-License-Identifier: Apache-2.0
// Programs that see the packets of sockets: attached to the root of the cgroup v2 tree, they run for every cgroup below.
#pragma once

#include <string>
#include <vector>

#include "agent/base/result.h"

struct bpf_link;
struct bpf_program;

namespace sonde {

// Where cgroup2 is mounted; empty: nowhere.
std::string mounted_cgroup_root();

// `root`: the directory; empty: where cgroup2 is mounted. Coexists with other programs (BPF_F_ALLOW_MULTI). The link is the
// caller's to destroy. Needs CAP_NET_ADMIN.
Result<std::vector<bpf_link*>> attach_to_root_cgroup(const bpf_program* program, const std::string& root);

}  // namespace sonde
