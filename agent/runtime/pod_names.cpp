// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/pod_names.h"

#include <unistd.h>

#include <utility>

#include "agent/base/clock.h"
#include "agent/kube/api_server_source.h"
#include "agent/kube/kubelet_source.h"
#include "agent/kube/pods_api_source.h"

namespace sonde {
namespace {

using kube::PodSink;
using kube::PodSource;
using kube::PodSourceEntry;

kube::KubeletTls tls_of(KubeletTlsMode mode) {
  switch (mode) {
    case KubeletTlsMode::Ca: return kube::KubeletTls::Ca;
    case KubeletTlsMode::Pin: return kube::KubeletTls::Pin;
    case KubeletTlsMode::Insecure: return kube::KubeletTls::Insecure;
    case KubeletTlsMode::Auto: break;
  }
  return kube::KubeletTls::Auto;
}

PodSourceEntry pods_api(const Config& config) {
  kube::PodsApiSourceOptions options;
  options.api.socket = config.kubernetes.pods_api_socket;
  options.api.list_every_ns = config.kubernetes.kubelet_period_ns;
  return {"podsApi", [options](PodSink& sink) -> std::unique_ptr<PodSource> {
            return std::make_unique<kube::PodsApiSource>(options, sink);
          }};
}

std::string or_own(const std::string& configured, const std::string& own) {
  if (!configured.empty()) return configured;
  return access(own.c_str(), R_OK) == 0 ? own : std::string();
}

Result<PodSourceEntry> kubelet(const Config& config, const PodNamesInputs& inputs, const kube::PodTable& table) {
  const KubernetesConfig& wanted = config.kubernetes;
  kube::KubeletOptions options;
  options.url = kube::kubelet_url(wanted.kubelet_address.empty() ? inputs.node_name : wanted.kubelet_address);
  if (options.url.empty()) {
    return Error("kubelet.address must be a host or an address, with :port if it is not 10250, not '" +
                 wanted.kubelet_address + "'");
  }
  options.tls = tls_of(wanted.kubelet_tls);
  options.ca_file = or_own(wanted.kubelet_ca_file, inputs.secrets + "/ca.crt");
  options.pin_file = wanted.kubelet_pin_file;
  options.token_file = or_own(wanted.kubelet_token_file, inputs.secrets + "/token");
  options.send_token_unverified = wanted.kubelet_send_token_unverified;
  options.period_ns = wanted.kubelet_period_ns;
  options.looks_for_some = [&table] { return table.looks_for_some(boottime_ns()); };
  return PodSourceEntry{"kubelet", [options](PodSink& sink) -> std::unique_ptr<PodSource> {
                          return std::make_unique<kube::KubeletSource>(options, sink);
                        }};
}

PodSourceEntry api_server(const PodNamesInputs& inputs) {
  return {"apiServer", [inputs](PodSink& sink) -> std::unique_ptr<PodSource> {
            return std::make_unique<kube::ApiServerSource>(inputs.api, inputs.node_name, sink);
          }};
}

}  // namespace

Result<std::vector<PodSourceEntry>> pod_sources(const Config& config, const PodNamesInputs& inputs,
                                                const kube::PodTable& table) {
  const KubernetesConfig& wanted = config.kubernetes;
  const bool api = !inputs.api.url.empty();
  std::vector<PodSourceEntry> entries;
  switch (config.identity_source) {
    case IdentitySource::Cgroup: return entries;
    case IdentitySource::PodsApi: entries.push_back(pods_api(config)); return entries;
    case IdentitySource::ApiServer:
      if (!api) return Error("identity.source is apiServer, but there is no API server: set kubernetes.apiServer");
      entries.push_back(api_server(inputs));
      return entries;
    case IdentitySource::Kubelet:
    case IdentitySource::Auto: break;
  }
  auto own = kubelet(config, inputs, table);
  if (!own) return own.error();
  if (config.identity_source == IdentitySource::Kubelet) {
    entries.push_back(std::move(*own));
    return entries;
  }
  const bool socket = access(wanted.pods_api_socket.c_str(), F_OK) == 0;
  if (!api && !socket && wanted.kubelet_address.empty()) return entries;  // no node of a cluster
  entries.push_back(pods_api(config));
  if (wanted.kubelet_address.empty()) own->make = {}, own->unused = "kubelet.address is not set";
  entries.push_back(std::move(*own));
  PodSourceEntry last = api_server(inputs);
  if (!api)
    last.make = {}, last.unused = "kubernetes.apiServer is none";
  else if (!wanted.api_server_fallback)
    last.make = {}, last.unused = "identity.apiServerFallback is false";
  entries.push_back(std::move(last));
  return entries;
}

}  // namespace sonde
