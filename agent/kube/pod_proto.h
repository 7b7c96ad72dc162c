// SPDX-License-Identifier: Apache-2.0
// A pod from the bytes of a core/v1 Pod, as the kubelet's Pods API gives it.
#pragma once

#include <string_view>

#include "agent/kube/pod.h"

namespace sonde::kube {

// The error says what is missing.
Result<Pod> parse_pod_proto(std::string_view bytes);
// Of a pod that is gone: all that may be there is names and UID. Empty: not even that.
std::string uid_of_pod_proto(std::string_view bytes);

}  // namespace sonde::kube
