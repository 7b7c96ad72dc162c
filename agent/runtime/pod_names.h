// SPDX-License-Identifier: Apache-2.0
// Which sources of pods the configuration asks for: identity.source and what each of them needs.
#pragma once

#include <string>
#include <vector>

#include "agent/config/config.h"
#include "agent/kube/api_client.h"
#include "agent/kube/pod_source.h"
#include "agent/kube/pod_table.h"

namespace sonde {

struct PodNamesInputs {
  std::string node_name;
  kube::ApiOptions api;  // of the API server; empty url: there is none
  // Of the agent's own pod: its service account's files.
  std::string secrets = "/var/run/secrets/kubernetes.io/serviceaccount";
};

// Empty: names come from the cgroups' paths alone. The table must outlive the sources. Errors are of the configuration.
Result<std::vector<kube::PodSourceEntry>> pod_sources(const Config& config, const PodNamesInputs& inputs,
                                                      const kube::PodTable& table);

}  // namespace sonde
