// SPDX-License-Identifier: Apache-2.0
// The table itself. Rows of one group stand together: the YAML that render_config writes follows the order.
#include "agent/config/setting_types.h"
#include "agent/module/module.h"
#include "agent/policy/label_syntax.h"

// A generic lambda from Config to one of its fields, const or not.
#define SONDE_FIELD(path) \
  [](auto& c) -> auto& { return c.path; }

namespace sonde {

namespace {

using namespace setting;

constexpr uint64_t kHour = 3600 * kSecond;
constexpr uint64_t kTiB = 1ULL << 40;
constexpr const char* kLoopback = "host:port on loopback, :port, or off";

const std::vector<std::pair<std::string_view, Level>> kLevelWords{
    {"None", Level::None}, {"Minimal", Level::Minimal}, {"Standard", Level::Standard}, {"Detailed", Level::Detailed}};

// A list of words in the field's own type.
Setting export_to() {
  static constexpr std::pair<std::string_view, ExportKind> kKinds[] = {
      {"otlp", ExportKind::Otlp}, {"prometheus", ExportKind::Prometheus}, {"file", ExportKind::File}};
  Setting s =
      row("export.to", "export", SettingType::List, "Where to export metrics; none: metrics are only served locally",
          {.otel = "OTEL_METRICS_EXPORTER", .alias = "EXPORT_MODE"});
  s.allowed = {"otlp", "prometheus", "file", "none"};
  s.range = "any of otlp, prometheus, file; or none";
  s.set = [words = s.allowed](Config& c, std::string_view text) -> Result<void> {
    std::vector<ExportKind> kinds;
    std::vector<std::string> items = split_list(text);
    if (items.empty()) return wrong_word(text, words);
    for (const std::string& item : items) {
      auto found = std::ranges::find(kKinds, std::string_view(item), [](const auto& k) { return k.first; });
      if (item == "none" && items.size() == 1) break;
      if (item == "none") return Error("must be none alone or a list without it");
      if (found == std::end(kKinds)) return wrong_word(item, words);
      if (std::ranges::find(kinds, found->second) == kinds.end()) kinds.push_back(found->second);
    }
    c.exports.to = std::move(kinds);
    return {};
  };
  s.get = [](const Config& c) {
    std::vector<std::string_view> names;
    for (ExportKind kind : c.exports.to) names.push_back(kKinds[static_cast<std::size_t>(kind)].first);
    return names.empty() ? "none" : join(names, ",");
  };
  return s;
}

Setting probes() {
  Setting s = row("defaultPolicy.probes", "probes", SettingType::List, "Probes of the default policy; empty: all",
                  {.reloadable = true});
  s.range = "see `sonde probes`";
  s.set = [](Config& c, std::string_view text) -> Result<void> {
    std::vector<std::string_view> known{"all"};
    for (const ModuleEntry& entry : modules()) {
      const ModuleInfo& info = entry.module->info();
      known.push_back(info.name);
      known.insert(known.end(), info.aliases.begin(), info.aliases.end());
    }
    std::vector<std::string> names = split_list(text);
    for (const std::string& name : names) {
      if (std::ranges::find(known, std::string_view(name)) == known.end()) return wrong_word(name, known);
    }
    c.default_policy.probes = std::move(names);
    return {};
  };
  s.get = [](const Config& c) { return join(c.default_policy.probes, ","); };
  return s;
}

Setting pod_labels() {
  Setting s = row("defaultPolicy.attributes.podLabels", "pod-labels", SettingType::List,
                  "Pod labels that the default policy exports", {.reloadable = true});
  s.range = "label keys";
  s.set = [](Config& c, std::string_view text) -> Result<void> {
    std::vector<std::string> keys = split_list(text);
    for (const std::string& key : keys) {
      if (!is_label_key(key)) return Error(fmt::format("'{}' is not a label key; patterns are not supported", key));
    }
    c.default_policy.pod_labels = std::move(keys);
    return {};
  };
  s.get = [](const Config& c) { return join(c.default_policy.pod_labels, ","); };
  return s;
}

Setting otlp_endpoint() {
  Setting s = text("export.otlp.endpoint", "otlp-endpoint", SONDE_FIELD(exports.otlp.endpoint),
                   "The OTLP receiver; default: http://localhost:4317 (grpc) or http://localhost:4318 (http/protobuf)",
                   {.otel = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT OTEL_EXPORTER_OTLP_ENDPOINT"});
  s.range = "http://host:port, https://host:port, host:port; for grpc any target";
  s.set = [](Config& c, std::string_view text) -> Result<void> {
    c.exports.otlp.endpoint = std::string(text);
    // Written out in full it is taken as it is; /v1/metrics is appended otherwise.
    c.exports.otlp.endpoint_is_complete = text.ends_with("/v1/metrics");
    return {};
  };
  return s;
}

Setting otlp_headers() {
  Setting s = row("export.otlp.headers", "otlp-headers", SettingType::Map,
                  "Headers to send with each request, for example authorization",
                  {.otel = "OTEL_EXPORTER_OTLP_METRICS_HEADERS OTEL_EXPORTER_OTLP_HEADERS", .secret = true});
  s.range = "k=v,k=v, percent-encoded";
  s.set = [](Config& c, std::string_view text) -> Result<void> {
    auto headers = parse_otlp_headers(text);
    if (!headers) return headers.error();
    c.exports.otlp.headers = std::move(*headers);
    return {};
  };
  s.get = [](const Config& c) { return format_pairs(c.exports.otlp.headers); };
  return s;
}

Setting resource_attributes() {
  Setting s = row("resourceAttributes", "resource-attributes", SettingType::Map, "Attributes for every Resource",
                  {.otel = "OTEL_RESOURCE_ATTRIBUTES"});
  s.range = "k=v,k=v, percent-encoded";
  s.set = [](Config& c, std::string_view text) -> Result<void> {
    auto pairs = parse_pairs(text);
    if (!pairs) return pairs.error();
    c.resource_attributes = std::move(*pairs);
    return {};
  };
  s.get = [](const Config& c) { return format_pairs(c.resource_attributes); };
  return s;
}

std::string otel(std::string_view name) {
  return fmt::format("OTEL_EXPORTER_OTLP_METRICS_{0} OTEL_EXPORTER_OTLP_{0}", name);
}

void add_general(std::vector<Setting>& t) {
  t.push_back(word<Profile>(
      "profile", "profile", SONDE_FIELD(profile),
      {{"production", Profile::Production}, {"development", Profile::Development}, {"testing", Profile::Testing}},
      "Set of defaults, see Profiles"));
  t.push_back(word<std::string>(
      "log.level", "log-level", SONDE_FIELD(log.level),
      {{"trace", "trace"}, {"debug", "debug"}, {"info", "info"}, {"warn", "warn"}, {"error", "error"}, {"off", "off"}},
      "Log level", {.otel = "OTEL_LOG_LEVEL", .alias = "LOG_LEVEL", .reloadable = true}));
  t.push_back(word<LogFormat>("log.format", "log-format", SONDE_FIELD(log.format),
                              {{"text", LogFormat::Text}, {"json", LogFormat::Json}}, "Log format"));
  t.push_back(duration("interval", "interval", SONDE_FIELD(interval_ns), 1, 10 * kMillisecond, kHour,
                       "Time between collections, unless a policy sets periodSeconds",
                       {.otel = "OTEL_METRIC_EXPORT_INTERVAL", .alias = "EXPORT_INTERVAL", .reloadable = true}));
  t.push_back(duration("duration", "duration", SONDE_FIELD(duration_ns), 1, 0, 24 * 365 * kHour,
                       "Flush and exit after this time; 0s: run until stopped"));
  t.push_back(text("policies", "policies", SONDE_FIELD(policies),
                   "Directory of policy files; changes are picked up automatically"));
  t.push_back(boolean("defaultPolicy.enabled", "default-policy", SONDE_FIELD(default_policy.enabled),
                      "Watch everything that no other policy selects", {.reloadable = true}));
  t.push_back(word<Level>("defaultPolicy.preset", "preset", SONDE_FIELD(default_policy.preset), kLevelWords,
                          "Level of the default policy", {.reloadable = true}));
  t.push_back(probes());
  t.push_back(pod_labels());
  t.push_back(word<Tristate>(
      "defaultPolicy.outsideContainers", "outside-containers", SONDE_FIELD(default_policy.outside_containers),
      {{"auto", Tristate::Auto}, {"true", Tristate::Yes}, {"false", Tristate::No}},
      "Policies without selectors also select cgroups outside containers; auto: only outside Kubernetes",
      {.reloadable = true}));
}

void add_export(std::vector<Setting>& t) {
  t.push_back(export_to());
  t.push_back(otlp_endpoint());
  t.push_back(word<OtlpProtocol>("export.otlp.protocol", "otlp-protocol", SONDE_FIELD(exports.otlp.protocol),
                                 {{"grpc", OtlpProtocol::Grpc}, {"http/protobuf", OtlpProtocol::HttpProtobuf}},
                                 "OTLP protocol", {.otel = otel("PROTOCOL")}));
  t.push_back(boolean("export.otlp.insecure", "otlp-insecure", SONDE_FIELD(exports.otlp.insecure),
                      "Do not use TLS for an endpoint given without http:// or https://", {.otel = otel("INSECURE")}));
  t.push_back(otlp_headers());
  t.push_back(word<OtlpCompression>("export.otlp.compression", "otlp-compression",
                                    SONDE_FIELD(exports.otlp.compression),
                                    {{"none", OtlpCompression::None}, {"gzip", OtlpCompression::Gzip}},
                                    "Compression of requests", {.otel = otel("COMPRESSION")}));
  t.push_back(duration("export.otlp.timeout", "otlp-timeout", SONDE_FIELD(exports.otlp.timeout_ns), 1, kMillisecond,
                       kHour, "Timeout of a request", {.otel = otel("TIMEOUT")}));
  t.push_back(word<OtlpTemporality>("export.otlp.temporality", "otlp-temporality",
                                    SONDE_FIELD(exports.otlp.temporality),
                                    {{"cumulative", OtlpTemporality::Cumulative},
                                     {"delta", OtlpTemporality::Delta},
                                     {"lowmemory", OtlpTemporality::LowMemory}},
                                    "Export totals since the start (cumulative) or differences (delta)",
                                    {.otel = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"}));
  t.push_back(word<OtlpHistograms>("export.otlp.histograms", "otlp-histograms", SONDE_FIELD(exports.otlp.histograms),
                                   {{"base2_exponential_bucket_histogram", OtlpHistograms::Exponential},
                                    {"explicit_bucket_histogram", OtlpHistograms::Explicit}},
                                   "Type of exported histograms",
                                   {.otel = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"}));
  t.push_back(text("export.otlp.tls.ca", "otlp-ca", SONDE_FIELD(exports.otlp.tls.ca),
                   "PEM file with the CAs for the receiver's certificate; default: the system's",
                   {.otel = otel("CERTIFICATE")}));
  t.push_back(text("export.otlp.tls.certificate", "otlp-certificate", SONDE_FIELD(exports.otlp.tls.certificate),
                   "PEM file with the client certificate", {.otel = otel("CLIENT_CERTIFICATE")}));
  t.push_back(text("export.otlp.tls.key", "otlp-key", SONDE_FIELD(exports.otlp.tls.key),
                   "PEM file with the client certificate's key", {.otel = otel("CLIENT_KEY")}));
  t.push_back(bytes("export.otlp.maxRequest", "otlp-max-request", SONDE_FIELD(exports.otlp.max_request_bytes), 4096,
                    64 << 20, "Larger requests are split; size before compression"));
  t.push_back(text("export.otlp.proxy", "otlp-proxy", SONDE_FIELD(exports.otlp.proxy),
                   "HTTP proxy for the receiver; empty: from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; "
                   "never used for receivers on this machine",
                   {.secret = true}));
  t.back().range = "http://host:port, http://user:password@host:port, none";
  t.push_back(duration("export.otlp.keepalive", "otlp-keepalive", SONDE_FIELD(exports.otlp.keepalive_ns), 1, 0,
                       24 * kHour, "Time between keepalive pings on an idle gRPC connection; 0s: none"));
  t.push_back(duration("export.otlp.retry.initial", "otlp-retry-initial", SONDE_FIELD(exports.otlp.retry.initial_ns), 1,
                       kMillisecond, kHour, "First delay after a transient failure"));
  t.push_back(duration("export.otlp.retry.max", "otlp-retry-max", SONDE_FIELD(exports.otlp.retry.max_ns), 1,
                       kMillisecond, kHour, "Longest delay"));
  t.push_back(duration("export.otlp.retry.giveUp", "otlp-retry-give-up", SONDE_FIELD(exports.otlp.retry.max_elapsed_ns),
                       1, kMillisecond, 24 * kHour, "Time after which a request is dropped and counted"));
  t.push_back(bytes("export.otlp.queue.memory", "otlp-queue-memory", SONDE_FIELD(exports.otlp.queue.max_bytes),
                    64 << 10, kTiB, "Maximum size of queued requests in memory"));
  t.push_back(integer("export.otlp.queue.batches", "otlp-queue-batches", SONDE_FIELD(exports.otlp.queue.max_batches), 1,
                      10'000, "Batches kept while the receiver is unavailable; newer totals replace older ones"));
  t.push_back(text("export.otlp.queue.directory", "otlp-queue-directory", SONDE_FIELD(exports.otlp.queue.directory),
                   "Directory that keeps queued requests across restarts; empty: memory only"));
  t.push_back(bytes("export.otlp.queue.disk", "otlp-queue-disk", SONDE_FIELD(exports.otlp.queue.max_disk_bytes),
                    64 << 10, kTiB, "Maximum size of queued requests on disk"));
  t.push_back(
      boolean("export.promote", "promote", SONDE_FIELD(exports.otlp.promote),
              "Also put cluster, node, workload, namespace, pod, container and selected labels on every point"));
  t.push_back(text("export.file.path", "file", SONDE_FIELD(exports.file.path),
                   "OTLP/JSON lines: a file, a directory, or - for standard output", {.alias = "OUTPUT_DIR"}));
  t.push_back(bytes("export.file.maxBytes", "file-max-bytes", SONDE_FIELD(exports.file.max_bytes), 0, kTiB,
                    "Size at which the file is rotated; 0B: never"));
  t.push_back(integer("export.file.keep", "file-keep", SONDE_FIELD(exports.file.max_files), 0, 1000,
                      "Number of rotated files to keep"));
  add_traces(t);
  t.push_back(word<PrometheusNaming>("prometheus.naming", "prometheus-naming", SONDE_FIELD(exports.prometheus.naming),
                                     {{"otel", PrometheusNaming::Otel}, {"legacy", PrometheusNaming::Legacy}},
                                     "legacy: also export the metric names of the tools that Sonde replaces"));
}

void add_kubelet(std::vector<Setting>& t) {
  t.push_back(text("podsApi.socket", "pods-api-socket", SONDE_FIELD(kubernetes.pods_api_socket),
                   "Socket of the kubelet's Pods API"));
  t.push_back(
      text("kubelet.address", "kubelet", SONDE_FIELD(kubernetes.kubelet_address),
           "Address of the node's kubelet, with :port if it is not 10250; in a pod: status.hostIP. Empty: the node "
           "name, and auto does not use the kubelet"));
  t.push_back(
      word<KubeletTlsMode>("kubelet.tls", "kubelet-tls", SONDE_FIELD(kubernetes.kubelet_tls),
                           {{"auto", KubeletTlsMode::Auto},
                            {"ca", KubeletTlsMode::Ca},
                            {"pin", KubeletTlsMode::Pin},
                            {"insecure", KubeletTlsMode::Insecure}},
                           "How the kubelet's certificate is verified: signed by kubelet.caFile (ca), identical to "
                           "kubelet.pinFile (pin), either (auto), or not at all (insecure)"));
  t.push_back(text("kubelet.caFile", "kubelet-ca", SONDE_FIELD(kubernetes.kubelet_ca_file),
                   "CA of the kubelet's serving certificate; default: the CA of the pod's service account"));
  t.push_back(text("kubelet.pinFile", "kubelet-pin", SONDE_FIELD(kubernetes.kubelet_pin_file),
                   "The kubelet's own serving certificate, for kubelets with a self-signed one"));
  t.push_back(text("kubelet.tokenFile", "kubelet-token-file", SONDE_FIELD(kubernetes.kubelet_token_file),
                   "Token for the kubelet, read for each request; default: the pod's own"));
  t.push_back(boolean("kubelet.sendTokenUnverified", "kubelet-send-token-unverified",
                      SONDE_FIELD(kubernetes.kubelet_send_token_unverified),
                      "With kubelet.tls insecure: send the token to an unverified kubelet"));
  t.push_back(duration("kubelet.period", "kubelet-period", SONDE_FIELD(kubernetes.kubelet_period_ns), 1, kSecond, kHour,
                       "How often to query the kubelet when nothing changes"));
}

void add_machine(std::vector<Setting>& t) {
  t.push_back(text("cgroupRoot", "cgroup-root", SONDE_FIELD(cgroup_root),
                   "Mount point of the cgroup v2 tree; default: detected"));
  t.push_back(
      text("stateDirectory", "state-directory", SONDE_FIELD(state_directory),
           "Directory for state that survives the agent: whether the node went down when it attached, and the locks "
           "by which an agent waits for the one it replaces; empty: no state is kept"));
  t.push_back(text("procRoot", "proc-root", SONDE_FIELD(proc_root), "Mount point of the host's /proc"));
  t.push_back(integer("target.pid", "target-pid", SONDE_FIELD(target.pid), 0, 4'194'304,
                      "Measure only this process and its children; 0: everything"));
  t.push_back(text("target.comm", "target-comm", SONDE_FIELD(target.comm),
                   "Like target.pid, but selects the process by command name"));
  t.push_back(word<IdentitySource>(
      "identity.source", "identity-source", SONDE_FIELD(identity_source),
      {{"auto", IdentitySource::Auto},
       {"podsApi", IdentitySource::PodsApi},
       {"kubelet", IdentitySource::Kubelet},
       {"apiServer", IdentitySource::ApiServer},
       {"cgroup", IdentitySource::Cgroup}},
      "Source of pod names: auto uses the first that works, in this order; cgroup uses only cgroup paths"));
  t.push_back(boolean("identity.apiServerFallback", "api-server-fallback", SONDE_FIELD(kubernetes.api_server_fallback),
                      "Let auto use the API server if the kubelet does not provide the pods"));
  add_kubelet(t);
  t.push_back(
      text("kubernetes.apiServer", "api-server", SONDE_FIELD(kubernetes.api_server),
           "API server for pods and policies: auto (the agent's own cluster if it runs in a pod), none, or a URL"));
  t.push_back(text("kubernetes.tokenFile", "api-token-file", SONDE_FIELD(kubernetes.token_file),
                   "Token for the API server, read for each request; default: the pod's own"));
  t.push_back(text("kubernetes.caFile", "api-ca", SONDE_FIELD(kubernetes.ca_file),
                   "CA of the API server's certificate; default: the pod's own"));
  t.push_back(text("kubernetes.policyCache", "policy-cache", SONDE_FIELD(kubernetes.policy_cache),
                   "File that keeps policies for a start while the API server is down; empty: not kept"));
  t.push_back(boolean(
      "kubernetes.report", "node-report", SONDE_FIELD(kubernetes.report),
      "Report the state of probes and policies in the node's SondeNode; if false, policy status does not count this node"));
  t.push_back(text("nodeName", "node-name", SONDE_FIELD(node_name), "Name of this node; default: the host name"));
  t.push_back(text("clusterName", "cluster-name", SONDE_FIELD(cluster_name), "Exported as k8s.cluster.name"));
  t.push_back(resource_attributes());
  t.push_back(boolean("tenancy.allowUserFunctions", "allow-user-functions", SONDE_FIELD(allow_user_functions),
                      "Allow MonitorPolicies to measure functions, if the build includes the probe"));
  t.push_back(address("listen.http", "http", SONDE_FIELD(listen.http),
                      "Health checks, and /metrics if prometheus is exported", {.alias = "HTTP_PORT"}));
  t.push_back(address("listen.httpLocal", "http-local", SONDE_FIELD(listen.http_local),
                      "Status, report, and /metrics of all tenants"));
  t.back().range = kLoopback;
  t.push_back(address("listen.grpc", "grpc", SONDE_FIELD(listen.grpc), "The gRPC interface", {.alias = "GRPC_PORT"}));
  t.back().range = kLoopback;
  t.push_back(text("listen.unixSocket", "unix-socket", SONDE_FIELD(listen.unix_socket),
                   "Unix socket for the gRPC interface; empty: none"));
}

void add_limits(std::vector<Setting>& t) {
  t.push_back(integer("limits.subjects", "max-subjects", SONDE_FIELD(limits.slots), 16, 1'000'000,
                      "Maximum number of containers, cgroups and processes watched at the same time"));
  t.push_back(integer("limits.histograms", "max-histograms", SONDE_FIELD(limits.histogram_rows), 16, 4'000'000,
                      "Maximum number of histograms in the kernel, 600 bytes each"));
  t.push_back(integer(
      "limits.processes", "max-processes", SONDE_FIELD(limits.processes), 16, 1'000'000,
      "Maximum number of processes measured individually, for granularity Process; at most half of limits.subjects"));
  t.push_back(integer("limits.seriesPerContainer", "series-per-container", SONDE_FIELD(series_per_container), 1,
                      100'000, "Maximum number of series per container, unless a policy sets it",
                      {.reloadable = true}));
  t.push_back(integer("limits.seriesPerNode", "series-per-node", SONDE_FIELD(series_per_node), 1, 10'000'000,
                      "Maximum number of series per node, unless a policy sets it", {.reloadable = true}));
  t.push_back(word<Level>("ceilings.level", "ceiling-level", SONDE_FIELD(ceilings.level), kLevelWords,
                          "Highest level a policy may set; opt-in metrics need Detailed", {.reloadable = true}));
  t.push_back(duration("ceilings.period", "ceiling-period", SONDE_FIELD(ceilings.min_period_ms), kMillisecond,
                       10 * kMillisecond, kHour, "Shortest period a policy may set", {.reloadable = true}));
  t.push_back(word<Granularity>("ceilings.granularity", "ceiling-granularity", SONDE_FIELD(ceilings.granularity),
                                {{"Workload", Granularity::Workload},
                                 {"Pod", Granularity::Pod},
                                 {"Container", Granularity::Container},
                                 {"Process", Granularity::Process}},
                                "Finest granularity a policy may set", {.reloadable = true}));
  t.push_back(integer("ceilings.seriesPerContainer", "ceiling-series-per-container",
                      SONDE_FIELD(ceilings.series_per_container), 1, 100'000,
                      "Highest seriesPerContainer a policy may set", {.reloadable = true}));
  t.push_back(integer("ceilings.seriesPerNode", "ceiling-series-per-node", SONDE_FIELD(ceilings.series_per_node), 1,
                      10'000'000, "Highest seriesPerNode a policy may set", {.reloadable = true}));
  t.push_back(integer("ceilings.traces.treesPerSecondPerNode", "ceiling-trees-per-second",
                      SONDE_FIELD(ceilings.trees_per_second), 1, 1'000,
                      "Highest limit on spans a policy may set, also for all policies together; namespaced ones have 0.2",
                      {.reloadable = true}));
  const auto tenants = [](std::string_view what) { return std::string(what) + " a namespaced policy may set"; };
  t.push_back(word<Level>("ceilings.namespaced.level", "ceiling-namespaced-level",
                          SONDE_FIELD(ceilings.namespaced.level), kLevelWords, tenants("Highest level"),
                          {.reloadable = true}));
  t.push_back(duration("ceilings.namespaced.period", "ceiling-namespaced-period",
                       SONDE_FIELD(ceilings.namespaced.min_period_ms), kMillisecond, 10 * kMillisecond, kHour,
                       tenants("Shortest period"), {.reloadable = true}));
  t.push_back(word<Granularity>("ceilings.namespaced.granularity", "ceiling-namespaced-granularity",
                                SONDE_FIELD(ceilings.namespaced.granularity),
                                {{"Workload", Granularity::Workload},
                                 {"Pod", Granularity::Pod},
                                 {"Container", Granularity::Container},
                                 {"Process", Granularity::Process}},
                                tenants("Finest granularity"), {.reloadable = true}));
  t.push_back(integer("ceilings.namespaced.seriesPerContainer", "ceiling-namespaced-series-per-container",
                      SONDE_FIELD(ceilings.namespaced.series_per_container), 1, 100'000,
                      tenants("Highest seriesPerContainer"), {.reloadable = true}));
  t.push_back(integer("overhead.milliCpu", "overhead-millicpu", SONDE_FIELD(overhead.milli_cpu), 0, 1'000'000,
                      "CPU budget for agent and BPF programs together, in thousandths of a CPU; 0: unlimited",
                      {.reloadable = true}));
  t.push_back(word<CleanupStrategy>("collection.cleanup", "cleanup", SONDE_FIELD(cleanup),
                                    {{"KeepRecent", CleanupStrategy::KeepRecent},
                                     {"ClearAfterRead", CleanupStrategy::ClearAfterRead},
                                     {"NoCleanup", CleanupStrategy::NoCleanup}},
                                    "How kernel memory is cleaned up, unless a policy sets it", {.reloadable = true}));
  t.push_back(duration("collection.idle", "idle", SONDE_FIELD(idle_seconds), kSecond, kSecond, 24 * kHour,
                       "KeepRecent: keys that have not changed for this long are removed", {.reloadable = true}));
}

}  // namespace

const std::vector<Setting>& settings() {
  static const std::vector<Setting> table = [] {
    std::vector<Setting> rows;
    add_general(rows);
    add_export(rows);
    add_machine(rows);
    add_limits(rows);
    return rows;
  }();
  return table;
}

}  // namespace sonde
