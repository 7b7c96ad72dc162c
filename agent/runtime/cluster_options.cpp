// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/cluster_options.h"

#include <sys/utsname.h>

namespace sonde {

std::string host_name() {
  utsname name{};
  return uname(&name) == 0 ? name.nodename : "localhost";
}

std::string node_name(const Config& config) { return config.node_name.empty() ? host_name() : config.node_name; }

kube::ClusterOptions cluster_options(const Config& config, const GetEnv& env) {
  const KubernetesConfig& wanted = config.kubernetes;
  kube::ClusterOptions options;
  if (wanted.api_server == "auto") {
    options.api = kube::in_cluster([&](const std::string& name) { return env(name).value_or(""); });
  } else if (wanted.api_server != "none") {
    options.api.url = wanted.api_server;
  }
  if (options.api.url.empty()) return options;
  if (!wanted.token_file.empty()) options.api.token_file = wanted.token_file;
  if (!wanted.ca_file.empty()) options.api.ca_file = wanted.ca_file;
  options.api.user_agent = "sonde-agent/" SONDE_VERSION " (linux)";
  options.node_name = node_name(config);
  options.cache_file = wanted.policy_cache;
  options.report = wanted.report;
  return options;
}

}  // namespace sonde
