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
constexpr const char* kLoopback = "host:port of the machine's loopback, :port, or off";

const std::vector<std::pair<std::string_view, Level>> kLevels{
    {"None", Level::None}, {"Minimal", Level::Minimal}, {"Standard", Level::Standard}, {"Detailed", Level::Detailed}};

// A list of words in the field's own type.
Setting export_to() {
  static constexpr std::pair<std::string_view, ExportKind> kKinds[] = {
      {"otlp", ExportKind::Otlp}, {"prometheus", ExportKind::Prometheus}, {"file", ExportKind::File}};
  Setting s = row("export.to", "export", SettingType::List, "Where metrics go; none: only the endpoints serve them",
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
                  "Pod labels that the default policy puts on its series", {.reloadable = true});
  s.range = "keys of labels";
  s.set = [](Config& c, std::string_view text) -> Result<void> {
    std::vector<std::string> keys = split_list(text);
    for (const std::string& key : keys) {
      if (!is_label_key(key)) return Error(fmt::format("'{}' is no key of a label; there are no patterns", key));
    }
    c.default_policy.pod_labels = std::move(keys);
    return {};
  };
  s.get = [](const Config& c) { return join(c.default_policy.pod_labels, ","); };
  return s;
}

Setting otlp_endpoint() {
  Setting s = text("export.otlp.endpoint", "otlp-endpoint", SONDE_FIELD(exports.otlp.endpoint),
                   "The receiver; empty: http://localhost:4317 (grpc) or http://localhost:4318 (http/protobuf)",
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
  Setting s =
      row("export.otlp.headers", "otlp-headers", SettingType::Map, "Headers of each request, for example authorization",
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
  Setting s = row("resourceAttributes", "resource-attributes", SettingType::Map, "Attributes on every Resource",
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
      "A set of other defaults, see below"));
  t.push_back(word<std::string>(
      "log.level", "log-level", SONDE_FIELD(log.level),
      {{"trace", "trace"}, {"debug", "debug"}, {"info", "info"}, {"warn", "warn"}, {"error", "error"}, {"off", "off"}},
      "What is logged", {.otel = "OTEL_LOG_LEVEL", .alias = "LOG_LEVEL", .reloadable = true}));
  t.push_back(word<LogFormat>("log.format", "log-format", SONDE_FIELD(log.format),
                              {{"text", LogFormat::Text}, {"json", LogFormat::Json}}, "How it is logged"));
  t.push_back(duration("interval", "interval", SONDE_FIELD(interval_ns), 1, 10 * kMillisecond, kHour,
                       "Time between collections where no policy says periodSeconds",
                       {.otel = "OTEL_METRIC_EXPORT_INTERVAL", .alias = "EXPORT_INTERVAL", .reloadable = true}));
  t.push_back(duration("duration", "duration", SONDE_FIELD(duration_ns), 1, 0, 24 * 365 * kHour,
                       "Stop after this time with a last flush; 0s: run until stopped"));
  t.push_back(
      text("policies", "policies", SONDE_FIELD(policies), "Directory of policy files, followed while it changes"));
  t.push_back(boolean("defaultPolicy.enabled", "default-policy", SONDE_FIELD(default_policy.enabled),
                      "Is everything watched that no other policy selects", {.reloadable = true}));
  t.push_back(word<Level>("defaultPolicy.preset", "preset", SONDE_FIELD(default_policy.preset), kLevels,
                          "Level of the default policy", {.reloadable = true}));
  t.push_back(probes());
  t.push_back(pod_labels());
  t.push_back(word<Tristate>("defaultPolicy.outsideContainers", "outside-containers",
                             SONDE_FIELD(default_policy.outside_containers),
                             {{"auto", Tristate::Auto}, {"true", Tristate::Yes}, {"false", Tristate::No}},
                             "Do policies without selectors take cgroups that are no container's; auto: outside "
                             "Kubernetes",
                             {.reloadable = true}));
}

void add_export(std::vector<Setting>& t) {
  t.push_back(export_to());
  t.push_back(otlp_endpoint());
  t.push_back(word<OtlpProtocol>("export.otlp.protocol", "otlp-protocol", SONDE_FIELD(exports.otlp.protocol),
                                 {{"grpc", OtlpProtocol::Grpc}, {"http/protobuf", OtlpProtocol::HttpProtobuf}},
                                 "How it is spoken to", {.otel = otel("PROTOCOL")}));
  t.push_back(boolean("export.otlp.insecure", "otlp-insecure", SONDE_FIELD(exports.otlp.insecure),
                      "No TLS for an endpoint without http:// or https://", {.otel = otel("INSECURE")}));
  t.push_back(otlp_headers());
  t.push_back(word<OtlpCompression>("export.otlp.compression", "otlp-compression",
                                    SONDE_FIELD(exports.otlp.compression),
                                    {{"none", OtlpCompression::None}, {"gzip", OtlpCompression::Gzip}},
                                    "Compression of requests", {.otel = otel("COMPRESSION")}));
  t.push_back(duration("export.otlp.timeout", "otlp-timeout", SONDE_FIELD(exports.otlp.timeout_ns), 1, kMillisecond,
                       kHour, "Time for one request", {.otel = otel("TIMEOUT")}));
  t.push_back(word<OtlpTemporality>(
      "export.otlp.temporality", "otlp-temporality", SONDE_FIELD(exports.otlp.temporality),
      {{"cumulative", OtlpTemporality::Cumulative},
       {"delta", OtlpTemporality::Delta},
       {"lowmemory", OtlpTemporality::LowMemory}},
      "Totals since the start, or differences", {.otel = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"}));
  t.push_back(word<OtlpHistograms>("export.otlp.histograms", "otlp-histograms", SONDE_FIELD(exports.otlp.histograms),
                                   {{"base2_exponential_bucket_histogram", OtlpHistograms::Exponential},
                                    {"explicit_bucket_histogram", OtlpHistograms::Explicit}},
                                   "Form of histograms",
                                   {.otel = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"}));
  t.push_back(text("export.otlp.tls.ca", "otlp-ca", SONDE_FIELD(exports.otlp.tls.ca),
                   "PEM file of the authorities that may sign the receiver's certificate; empty: the system's",
                   {.otel = otel("CERTIFICATE")}));
  t.push_back(text("export.otlp.tls.certificate", "otlp-certificate", SONDE_FIELD(exports.otlp.tls.certificate),
                   "PEM file of the agent's own certificate", {.otel = otel("CLIENT_CERTIFICATE")}));
  t.push_back(text("export.otlp.tls.key", "otlp-key", SONDE_FIELD(exports.otlp.tls.key), "PEM file of its key",
                   {.otel = otel("CLIENT_KEY")}));
  t.push_back(bytes("export.otlp.maxRequest", "otlp-max-request", SONDE_FIELD(exports.otlp.max_request_bytes), 4096,
                    64 << 20, "Size beyond which a request is split, before compression"));
  t.push_back(
      text("export.otlp.proxy", "otlp-proxy", SONDE_FIELD(exports.otlp.proxy),
           "HTTP proxy on the way to the receiver; empty: as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say; "
           "never for this machine itself",
           {.secret = true}));
  t.back().range = "http://host:port, http://user:password@host:port, none";
  t.push_back(duration("export.otlp.keepalive", "otlp-keepalive", SONDE_FIELD(exports.otlp.keepalive_ns), 1, 0,
                       24 * kHour, "Time between pings of an idle gRPC connection; 0s: none"));
  t.push_back(duration("export.otlp.retry.initial", "otlp-retry-initial", SONDE_FIELD(exports.otlp.retry.initial_ns), 1,
                       kMillisecond, kHour, "First wait after a failure that may pass"));
  t.push_back(duration("export.otlp.retry.max", "otlp-retry-max", SONDE_FIELD(exports.otlp.retry.max_ns), 1,
                       kMillisecond, kHour, "Longest wait"));
  t.push_back(duration("export.otlp.retry.giveUp", "otlp-retry-give-up", SONDE_FIELD(exports.otlp.retry.max_elapsed_ns),
                       1, kMillisecond, 24 * kHour, "Then the request is dropped and counted"));
  t.push_back(bytes("export.otlp.queue.memory", "otlp-queue-memory", SONDE_FIELD(exports.otlp.queue.max_bytes),
                    64 << 10, kTiB, "Requests that wait in memory"));
  t.push_back(integer("export.otlp.queue.batches", "otlp-queue-batches", SONDE_FIELD(exports.otlp.queue.max_batches), 1,
                      10'000, "Batches kept while the receiver is away; newer totals replace older ones"));
  t.push_back(text("export.otlp.queue.directory", "otlp-queue-directory", SONDE_FIELD(exports.otlp.queue.directory),
                   "Requests that wait are kept here over a restart; empty: in memory only"));
  t.push_back(bytes("export.otlp.queue.disk", "otlp-queue-disk", SONDE_FIELD(exports.otlp.queue.max_disk_bytes),
                    64 << 10, kTiB, "Requests that wait on disk"));
  t.push_back(boolean("export.promote", "promote", SONDE_FIELD(exports.otlp.promote),
                      "Put cluster, node, workload, namespace, pod, container and chosen labels on every point too"));
  t.push_back(text("export.file.path", "file", SONDE_FIELD(exports.file.path),
                   "OTLP/JSON lines: a file, a directory, or - for standard output", {.alias = "OUTPUT_DIR"}));
  t.push_back(bytes("export.file.maxBytes", "file-max-bytes", SONDE_FIELD(exports.file.max_bytes), 0, kTiB,
                    "Then the file is rotated; 0B: never"));
  t.push_back(integer("export.file.keep", "file-keep", SONDE_FIELD(exports.file.max_files), 0, 1000,
                      "Rotated files that are kept"));
  t.push_back(word<PrometheusNaming>("prometheus.naming", "prometheus-naming", SONDE_FIELD(exports.prometheus.naming),
                                     {{"otel", PrometheusNaming::Otel}, {"legacy", PrometheusNaming::Legacy}},
                                     "legacy: also the names of the tools that Sonde replaces"));
}

void add_kubelet(std::vector<Setting>& t) {
  t.push_back(text("podsApi.socket", "pods-api-socket", SONDE_FIELD(kubernetes.pods_api_socket),
                   "Socket of the kubelet's Pods API"));
  t.push_back(
      text("kubelet.address", "kubelet", SONDE_FIELD(kubernetes.kubelet_address),
           "Address of the node's kubelet, with :port if it is not 10250; in a pod: status.hostIP. Empty: the node's "
           "name, and auto leaves the kubelet out"));
  t.push_back(
      word<KubeletTlsMode>("kubelet.tls", "kubelet-tls", SONDE_FIELD(kubernetes.kubelet_tls),
                           {{"auto", KubeletTlsMode::Auto},
                            {"ca", KubeletTlsMode::Ca},
                            {"pin", KubeletTlsMode::Pin},
                            {"insecure", KubeletTlsMode::Insecure}},
                           "How the kubelet proves who it is: signed by kubelet.caFile, or by being the certificate "
                           "in kubelet.pinFile; auto: one of both; insecure: not at all"));
  t.push_back(text("kubelet.caFile", "kubelet-ca", SONDE_FIELD(kubernetes.kubelet_ca_file),
                   "Who signs the kubelet's serving certificate; empty: the CA of the pod's service account"));
  t.push_back(text("kubelet.pinFile", "kubelet-pin", SONDE_FIELD(kubernetes.kubelet_pin_file),
                   "The kubelet's serving certificate itself, as where it signs its own"));
  t.push_back(text("kubelet.tokenFile", "kubelet-token-file", SONDE_FIELD(kubernetes.kubelet_token_file),
                   "Token for the kubelet, read at each request; empty: the pod's own"));
  t.push_back(boolean("kubelet.sendTokenUnverified", "kubelet-send-token-unverified",
                      SONDE_FIELD(kubernetes.kubelet_send_token_unverified),
                      "With kubelet.tls insecure: give the token to whoever answers"));
  t.push_back(duration("kubelet.period", "kubelet-period", SONDE_FIELD(kubernetes.kubelet_period_ns), 1, kSecond, kHour,
                       "How often the kubelet is asked when nothing is new"));
}

void add_machine(std::vector<Setting>& t) {
  t.push_back(text("cgroupRoot", "cgroup-root", SONDE_FIELD(cgroup_root),
                   "Where the cgroup v2 tree is mounted; empty: it is found"));
  t.push_back(text("stateDirectory", "state-directory", SONDE_FIELD(state_directory),
                   "What outlives the agent is kept here: whether the node ended when it attached, and the locks by which an "
                   "agent waits for the one that it replaces; empty: nothing is"));
  t.push_back(text("procRoot", "proc-root", SONDE_FIELD(proc_root), "Where the machine's /proc is"));
  t.push_back(integer("target.pid", "target-pid", SONDE_FIELD(target.pid), 0, 4'194'304,
                      "Measure this process and its children only; 0: everything"));
  t.push_back(
      text("target.comm", "target-comm", SONDE_FIELD(target.comm), "The same, the process by its command's name"));
  t.push_back(
      word<IdentitySource>("identity.source", "identity-source", SONDE_FIELD(identity_source),
                           {{"auto", IdentitySource::Auto},
                            {"podsApi", IdentitySource::PodsApi},
                            {"kubelet", IdentitySource::Kubelet},
                            {"apiServer", IdentitySource::ApiServer},
                            {"cgroup", IdentitySource::Cgroup}},
                           "Who knows the pods: auto takes the best that works, in this order; cgroup is what the "
                           "paths tell"));
  t.push_back(boolean("identity.apiServerFallback", "api-server-fallback", SONDE_FIELD(kubernetes.api_server_fallback),
                      "May auto take the pods from the API server where the kubelet does not tell them"));
  add_kubelet(t);
  t.push_back(text("kubernetes.apiServer", "api-server", SONDE_FIELD(kubernetes.api_server),
                   "Where pods and policies come from: auto (the cluster that the agent is a pod of), none, or a URL"));
  t.push_back(text("kubernetes.tokenFile", "api-token-file", SONDE_FIELD(kubernetes.token_file),
                   "Token for the API server, read at each request; empty: the pod's own"));
  t.push_back(text("kubernetes.caFile", "api-ca", SONDE_FIELD(kubernetes.ca_file),
                   "Who signs the API server's certificate; empty: the pod's own"));
  t.push_back(text("kubernetes.policyCache", "policy-cache", SONDE_FIELD(kubernetes.policy_cache),
                   "Policies are kept in this file for a start without API server; empty: not kept"));
  t.push_back(boolean(
      "kubernetes.report", "node-report", SONDE_FIELD(kubernetes.report),
      "Tell in the node's SondeNode how probes and policies fare; without, the status of policies does not count "
      "this node"));
  t.push_back(text("nodeName", "node-name", SONDE_FIELD(node_name), "Name of this node; empty: the host name"));
  t.push_back(text("clusterName", "cluster-name", SONDE_FIELD(cluster_name), "Exported as k8s.cluster.name"));
  t.push_back(resource_attributes());
  t.push_back(boolean("tenancy.allowUserFunctions", "allow-user-functions", SONDE_FIELD(allow_user_functions),
                      "May a MonitorPolicy of a namespace measure functions, where the build has the probe"));
  t.push_back(address("listen.http", "http", SONDE_FIELD(listen.http),
                      "Health, and /metrics where prometheus is exported", {.alias = "HTTP_PORT"}));
  t.push_back(address("listen.httpLocal", "http-local", SONDE_FIELD(listen.http_local),
                      "Status, report and /metrics of all tenants"));
  t.back().range = kLoopback;
  t.push_back(address("listen.grpc", "grpc", SONDE_FIELD(listen.grpc), "The gRPC interface", {.alias = "GRPC_PORT"}));
  t.back().range = kLoopback;
  t.push_back(text("listen.unixSocket", "unix-socket", SONDE_FIELD(listen.unix_socket),
                   "The gRPC interface on a socket; empty: not served"));
}

void add_limits(std::vector<Setting>& t) {
  t.push_back(integer("limits.subjects", "max-subjects", SONDE_FIELD(limits.slots), 16, 1'000'000,
                      "Containers, cgroups and processes watched at a time"));
  t.push_back(integer("limits.histograms", "max-histograms", SONDE_FIELD(limits.histogram_rows), 16, 4'000'000,
                      "Histograms in the kernel, 600 bytes each"));
  t.push_back(
      integer("limits.processes", "max-processes", SONDE_FIELD(limits.processes), 16, 1'000'000,
              "Processes with numbers of their own, where a policy asks for them; at most half of limits.subjects"));
  t.push_back(integer("limits.seriesPerContainer", "series-per-container", SONDE_FIELD(series_per_container), 1,
                      100'000, "Series of one container where no policy says otherwise", {.reloadable = true}));
  t.push_back(integer("limits.seriesPerNode", "series-per-node", SONDE_FIELD(series_per_node), 1, 10'000'000,
                      "The same for the node", {.reloadable = true}));
  t.push_back(word<Level>("ceilings.level", "ceiling-level", SONDE_FIELD(ceilings.level), kLevels,
                          "The highest level a policy gets; opt-in metrics need Detailed", {.reloadable = true}));
  t.push_back(duration("ceilings.period", "ceiling-period", SONDE_FIELD(ceilings.min_period_ms), kMillisecond,
                       10 * kMillisecond, kHour, "The shortest period a policy gets", {.reloadable = true}));
  t.push_back(word<Granularity>(
      "ceilings.granularity", "ceiling-granularity", SONDE_FIELD(ceilings.granularity),
      {{"Workload", Granularity::Workload},
       {"Pod", Granularity::Pod},
       {"Container", Granularity::Container},
       {"Process", Granularity::Process}},
      "The finest granularity a policy gets", {.reloadable = true}));
  t.push_back(integer("ceilings.seriesPerContainer", "ceiling-series-per-container",
                      SONDE_FIELD(ceilings.series_per_container), 1, 100'000, "The most a policy gets",
                      {.reloadable = true}));
  t.push_back(integer("ceilings.seriesPerNode", "ceiling-series-per-node", SONDE_FIELD(ceilings.series_per_node), 1,
                      10'000'000, "The most a policy gets", {.reloadable = true}));
  const auto tenants = [](std::string_view what) { return std::string(what) + ", of policies of a namespace"; };
  t.push_back(word<Level>("ceilings.namespaced.level", "ceiling-namespaced-level",
                          SONDE_FIELD(ceilings.namespaced.level), kLevels, tenants("The highest level"),
                          {.reloadable = true}));
  t.push_back(duration("ceilings.namespaced.period", "ceiling-namespaced-period",
                       SONDE_FIELD(ceilings.namespaced.min_period_ms), kMillisecond, 10 * kMillisecond, kHour,
                       tenants("The shortest period"), {.reloadable = true}));
  t.push_back(word<Granularity>(
      "ceilings.namespaced.granularity", "ceiling-namespaced-granularity", SONDE_FIELD(ceilings.namespaced.granularity),
      {{"Workload", Granularity::Workload},
       {"Pod", Granularity::Pod},
       {"Container", Granularity::Container},
       {"Process", Granularity::Process}},
      tenants("The finest granularity"), {.reloadable = true}));
  t.push_back(integer("ceilings.namespaced.seriesPerContainer", "ceiling-namespaced-series-per-container",
                      SONDE_FIELD(ceilings.namespaced.series_per_container), 1, 100'000,
                      tenants("The most series of a container"), {.reloadable = true}));
  t.push_back(integer("overhead.milliCpu", "overhead-millicpu", SONDE_FIELD(overhead.milli_cpu), 0, 1'000'000,
                      "Budget of agent and BPF programs together in thousandths of a CPU; 0: none",
                      {.reloadable = true}));
  t.push_back(word<CleanupStrategy>("collection.cleanup", "cleanup", SONDE_FIELD(cleanup),
                                    {{"KeepRecent", CleanupStrategy::KeepRecent},
                                     {"ClearAfterRead", CleanupStrategy::ClearAfterRead},
                                     {"NoCleanup", CleanupStrategy::NoCleanup}},
                                    "How kernel memory is cleaned where no policy says otherwise",
                                    {.reloadable = true}));
  t.push_back(duration("collection.idle", "idle", SONDE_FIELD(idle_seconds), kSecond, kSecond, 24 * kHour,
                       "KeepRecent: keys that did not move for so long are removed", {.reloadable = true}));
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
