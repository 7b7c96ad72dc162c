// SPDX-License-Identifier: Apache-2.0
// What reading a pod from JSON and from protobuf has in common. Internal to agent/kube.
#pragma once

#include <string>
#include <string_view>

#include "agent/kube/pod.h"

namespace sonde::kube {

bool is_over(std::string_view phase);

// Is a container that ended with this exit code done for good, in a pod that is not over? An ephemeral one is, and an init
// container that succeeded; any other may be started again.
bool is_finished(ContainerType type, int exit_code);

// containerd://<id>, cri-o://<id>, docker://<id> → <id>
std::string bare_id(const std::string& id);

// The pod's controller and, as far as its name tells, the controller's own. Needs the labels.
void add_owner(Pod& pod, Owner controller);

// UID, name and namespace must be there; the UID of a static pod's mirror becomes that of the static pod. Needs the annotations.
Result<void> settle_identity(Pod& pod);

}  // namespace sonde::kube
