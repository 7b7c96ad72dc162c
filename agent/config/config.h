// SPDX-License-Identifier: Apache-2.0
// The agent's configuration as plain data, merged from flags, environment and file. Every field is one row of the
// table in settings.h, which names, checks and documents it. Defaults are defined here.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/result.h"
#include "agent/export/otlp_options.h"
#include "agent/policy/estimate.h"
#include "agent/policy/resolve.h"

namespace sonde {

enum class Profile : uint8_t { Production, Development, Testing };
enum class LogFormat : uint8_t { Text, Json };
enum class ExportKind : uint8_t { Otlp, Prometheus, File };
enum class PrometheusNaming : uint8_t { Otel, Legacy };
enum class IdentitySource : uint8_t { Auto, PodsApi, Kubelet, ApiServer, Cgroup };
enum class KubeletTlsMode : uint8_t { Auto, Ca, Pin, Insecure };
enum class Tristate : uint8_t { Auto, No, Yes };

struct LogConfig {
  std::string level = "info";  // trace, debug, info, warn, error, off: spdlog's words
  LogFormat format = LogFormat::Text;
};

struct FileExportConfig {
  std::string path = "sonde-metrics.jsonl";
  uint64_t max_bytes = 100ULL << 20;  // size at which it is rotated
  uint32_t max_files = 5;             // rotated files to keep
};

struct PrometheusConfig {
  PrometheusNaming naming = PrometheusNaming::Otel;
};

enum class TracesTo : uint8_t { Auto, Otlp, File, None };

// Spans. What is not set here is as for metrics: of `otlp`, but never what OTEL_EXPORTER_OTLP_METRICS_* alone have said.
struct TracesConfig {
  TracesTo to = TracesTo::Auto;  // Auto: where metrics are pushed, by OTLP and to the file
  std::optional<std::string> endpoint;
  std::optional<bool> endpoint_is_complete;
  std::optional<OtlpProtocol> protocol;
  std::optional<bool> insecure;
  std::optional<std::vector<std::pair<std::string, std::string>>> headers;
  std::optional<OtlpCompression> compression;
  std::optional<uint64_t> timeout_ns;
  std::optional<std::string> ca, certificate, key;
  uint64_t queue_bytes = 4ULL << 20;
  uint32_t queue_spans = 2048;
  uint32_t request_spans = 512;
};

struct ExportConfig {
  std::vector<ExportKind> to = {ExportKind::Otlp};  // empty: nothing is sent, metrics are only served
  OtlpOptions otlp;                                 // otlp.promote is export.promote
  TracesConfig traces;
  FileExportConfig file;
  PrometheusConfig prometheus;

  // For the receiver of spans.
  OtlpOptions traces_otlp() const;
  bool traces_go_to(ExportKind kind) const;
};

struct DefaultPolicyConfig {
  bool enabled = true;
  Level preset = Level::Standard;
  std::vector<std::string> probes;  // names or aliases; empty: all
  // Pod labels exported on its series, for filtering.
  std::vector<std::string> pod_labels = {"app.kubernetes.io/name", "app"};
  // Cgroups outside containers, for policies without selectors. Auto: only outside Kubernetes.
  Tristate outside_containers = Tristate::Auto;
};

struct TargetConfig {  // one process tree instead of the whole machine
  uint32_t pid = 0;
  std::string comm;
};

struct ListenConfig {  // host:port; empty: not served
  std::string http = "[::]:18080";
  std::string http_local = "127.0.0.1:18081";
  std::string grpc = "127.0.0.1:19090";
  std::string unix_socket;
};

struct KubernetesConfig {
  std::string api_server = "auto";  // auto: of the agent's own cluster; none; or a URL
  std::string token_file;           // empty: the pod's own
  std::string ca_file;              // empty: the pod's own
  std::string policy_cache;         // file; empty: not kept
  bool report = true;               // write the node's SondeNode
  bool api_server_fallback = true;  // use the API server if the kubelet does not provide the pods
  std::string pods_api_socket = "/var/lib/kubelet/pods-api/pods-api.sock";
  std::string kubelet_address;  // host[:port]; empty: the node's name
  KubeletTlsMode kubelet_tls = KubeletTlsMode::Auto;
  std::string kubelet_ca_file;  // empty: the pod's own
  std::string kubelet_pin_file = "/var/lib/kubelet/pki/kubelet.crt";
  std::string kubelet_token_file;  // empty: the pod's own
  bool kubelet_send_token_unverified = false;
  uint64_t kubelet_period_ns = 10'000'000'000;
};

struct OverheadConfig {
  uint32_t milli_cpu = 200;  // agent and BPF programs together, over the node; 0: no budget
};

struct Config {
  Profile profile = Profile::Production;
  LogConfig log;
  ExportConfig exports;
  uint64_t interval_ns = 30'000'000'000;  // of collections, unless a policy sets it
  uint64_t duration_ns = 0;               // 0: until stopped; followed by a last flush
  std::string policies;                   // directory; empty: the default policy only
  DefaultPolicyConfig default_policy;
  std::string cgroup_root;  // empty: detected
  std::string proc_root = "/proc";
  std::string state_directory;  // state that survives the agent and reboots; empty: none
  TargetConfig target;
  KernelLimits limits;
  int series_per_container = 200;
  int series_per_node = 20'000;
  Ceilings ceilings;
  OverheadConfig overhead;
  CleanupStrategy cleanup = CleanupStrategy::KeepRecent;
  int idle_seconds = 300;
  ListenConfig listen;
  IdentitySource identity_source = IdentitySource::Auto;
  std::string node_name;                                                 // empty: the host name
  std::string cluster_name;                                              // empty: not exported
  std::vector<std::pair<std::string, std::string>> resource_attributes;  // on every Resource
  bool allow_user_functions = false;
  KubernetesConfig kubernetes;

  // For resolve(): defaults and ceilings; `in_kubernetes` determines what Auto means.
  ResolveContext resolve_context(bool in_kubernetes, uint64_t now_ns) const;
  // The default policy, or none if it is switched off.
  std::vector<Policy> default_policies() const;
};

// Sources of values, highest precedence first: flags, SONDE_*, the aliases (EXPORT_MODE, …), OTEL_*, file, profile.
struct ConfigInputs {
  std::string file;                          // --config; empty: SONDE_CONFIG, else none
  std::map<std::string, std::string> flags;  // flag name without dashes → value
  GetEnv env = process_environment();
  std::vector<std::string> env_names;  // all variables, for warnings about unknown SONDE_*; may be empty
};
ConfigInputs process_inputs();  // with environment, without flags

struct LoadedConfig {
  Config config;
  std::map<std::string, std::string> sources;  // setting → "--interval", "SONDE_INTERVAL", "sonde.yaml:3", "default"
  std::vector<std::string> warnings;           // sentences
};

// Reads and checks everything. The error has one message per line, each with the location and what to write
// instead.
Result<LoadedConfig> load_config(const ConfigInputs& inputs);

// The effective configuration as a YAML file that load_config accepts, each value with its source as a comment; secrets
// are shown as <redacted>.
std::string render_config(const LoadedConfig& loaded);

// Names of the settings in which they differ, in table order; settings.h shows which need a restart.
std::vector<std::string> changed_settings(const Config& before, const Config& after);

}  // namespace sonde
