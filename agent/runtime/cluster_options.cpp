// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/cluster_options.h"

#include <sys/utsname.h>

namespace sonde {

std::string host_name() {
  utsname name{};
  return uname(&name) == 0 ? name.nodename : "localhost";
}

std::string node_name(const Config& config) { return config.node_name.empty() ? host_name() : config.node_name; }

Result<kube::ClusterOptions> cluster_options(const Config& config, const GetEnv& env) {
  const KubernetesConfig& wanted = config.kubernetes;
  kube::ClusterOptions options;
  if (wanted.api_server == "auto") {
    options.api = kube::in_cluster([&](const std::string& name) { return env(name).value_or(""); });
  } else if (wanted.api_server != "none") {
    options.api.url = wanted.api_server;
  }
  if (options.api.url.empty()) return options;
  if (!options.api.url.starts_with("https://") && !options.api.url.starts_with("http://")) {
    return Error("kubernetes.apiServer must be auto, none or a URL like https://host:6443, not '" + options.api.url +
                 "'");
  }
  if (!wanted.token_file.empty()) options.api.token_file = wanted.token_file;
  if (!wanted.ca_file.empty()) options.api.ca_file = wanted.ca_file;
  if (!options.api.token_file.empty() && options.api.url.starts_with("http://")) {
    return Error(
        "a token is not sent over plain HTTP: write https:// in kubernetes.apiServer or remove kubernetes.tokenFile");
  }
  options.api.user_agent = "sonde-agent/" SONDE_VERSION " (linux)";
  options.node_name = node_name(config);
  options.cache_file = wanted.policy_cache;
  options.report = wanted.report;
  return options;
}

}  // namespace sonde
