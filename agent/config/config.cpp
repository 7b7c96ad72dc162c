// SPDX-License-Identifier: Apache-2.0
#include "agent/config/config.h"

#include <spdlog/fmt/fmt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/base/file.h"
#include "agent/base/host_port.h"
#include "agent/base/loopback.h"
#include "agent/base/text.h"
#include "agent/config/config_layers.h"

extern char** environ;

namespace sonde {

namespace {

// The strongest of those who may name the profile.
std::string chosen_profile(const ConfigInputs& inputs, std::string_view file_text, const std::string& path) {
  if (auto flag = inputs.flags.find("profile"); flag != inputs.flags.end()) return lower(flag->second);
  if (auto variable = inputs.env("SONDE_PROFILE"); variable && !trim(*variable).empty()) {
    return lower(trim(*variable));
  }
  return lower(profile_in(file_text, path));
}

void check_readable(Loading& loading, std::string_view setting, const std::string& path) {
  if (path.empty() || ::access(path.c_str(), R_OK) == 0) return;
  loading.refuse(fmt::format("{}: {}", setting, Error::system("cannot read " + path, errno).message()));
}

void check_directory(Loading& loading, std::string_view setting, const std::string& path) {
  if (path.empty()) return;
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    loading.refuse(fmt::format("{}: {}", setting, Error::system("cannot read the directory " + path, errno).message()));
  } else if (!S_ISDIR(info.st_mode)) {
    loading.refuse(fmt::format("{}: {} is not a directory", setting, path));
  }
}

// A file of certificates that holds none is found out here, and not by the first request.
void check_pem(Loading& loading, std::string_view setting, const std::string& path) {
  const std::size_t before = loading.problems.size();
  check_readable(loading, setting, path);
  if (path.empty() || loading.problems.size() != before) return;
  auto text = read_small_file(path);
  if (text && text->find("-----BEGIN ") == std::string::npos) {
    loading.refuse(fmt::format("{}: {} contains no PEM data (no line with -----BEGIN)", setting, path));
  }
}

// The file, or the directory that the path ends in, is made; what is above it is not.
void check_output(Loading& loading, std::string_view setting, std::string path) {
  if (path == "-") return;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const auto slash = path.rfind('/');
  const std::string above = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  const std::size_t before = loading.problems.size();
  check_directory(loading, setting, above);
  if (loading.problems.size() != before) return;
  const bool there = ::access(path.c_str(), F_OK) == 0;
  if (::access(there ? path.c_str() : above.c_str(), W_OK) != 0) {
    loading.refuse(fmt::format("{}: {}", setting, Error::system("cannot write to " + path, errno).message()));
  }
}

// A /proc of the machine has a file `stat`; a directory that has none is none.
void check_proc(Loading& loading, std::string_view setting, const std::string& path) {
  const std::size_t before = loading.problems.size();
  check_directory(loading, setting, path);
  if (loading.problems.size() != before || ::access((path + "/stat").c_str(), R_OK) == 0) return;
  loading.refuse(fmt::format("{}: {} is not a /proc file system (it has no file stat)", setting, path));
}

// What shows all tenants listens on loopback: ":port" means that, too.
void check_loopback(Loading& loading, std::string_view setting, const std::string& address) {
  const auto parsed = parse_host_port(address);
  if (!parsed || !parsed->port || parsed->host.empty() || is_loopback_host(parsed->host)) return;
  loading.refuse(fmt::format(
      "{} exposes all tenants and only opens on loopback, not on {}: write 127.0.0.1{} (kubectl port-forward reaches "
      "it)",
      setting, address, ":" + *parsed->port));
}

// In a cluster the pod's own token is taken, if none is named: that is the cluster's own server, by HTTPS.
void check_api_server(Loading& loading, std::string_view setting, const KubernetesConfig& kubernetes) {
  const std::string& url = kubernetes.api_server;
  if (url == "auto" || url == "none" || url.starts_with("https://")) return;
  if (!url.starts_with("http://")) {
    loading.refuse(
        fmt::format("{} must be auto, none or a URL like https://host:6443, not '{}'", setting, one_line(url)));
  } else if (!kubernetes.token_file.empty()) {
    loading.refuse(
        fmt::format("{}: a token is not sent over plain HTTP: write https:// or remove kubernetes.tokenFile", setting));
  }
}

// The receiver of spans, as far as it is another one.
void check_traces(Loading& loading) {
  const TracesConfig& traces = loading.config.exports.traces;
  const OtlpOptions otlp = loading.config.exports.traces_otlp();
  if (traces.endpoint && !traces.endpoint->empty()) {
    if (auto good = check_otlp_endpoint(otlp.endpoint, otlp.protocol); !good) {
      loading.refuse("export.traces.endpoint: " + good.error().message());
    }
  }
  if (otlp.tls.certificate.empty() != otlp.tls.key.empty()) {
    loading.refuse(otlp.tls.key.empty() ? "export.traces.tls.certificate needs export.traces.tls.key as well"
                                        : "export.traces.tls.key needs export.traces.tls.certificate as well");
    return;
  }
  if (!loading.config.exports.traces_go_to(ExportKind::Otlp)) return;
  if (traces.ca) check_pem(loading, "export.traces.tls.ca", *traces.ca);
  if (traces.certificate) check_pem(loading, "export.traces.tls.certificate", *traces.certificate);
  if (traces.key) check_pem(loading, "export.traces.tls.key", *traces.key);
}

}  // namespace

OtlpOptions ExportConfig::traces_otlp() const {
  constexpr std::string_view kOfMetrics = "/v1/metrics";
  OtlpOptions options = otlp;
  if (traces.endpoint) {
    options.endpoint = *traces.endpoint;
    options.endpoint_is_complete = traces.endpoint_is_complete.value_or(false);
  } else if (options.endpoint_is_complete && options.endpoint.ends_with(kOfMetrics)) {
    options.endpoint.resize(options.endpoint.size() - kOfMetrics.size());
    options.endpoint_is_complete = false;
  }
  options.protocol = traces.protocol.value_or(otlp.protocol);
  options.insecure = traces.insecure.value_or(otlp.insecure);
  options.headers = traces.headers.value_or(otlp.headers);
  options.compression = traces.compression.value_or(otlp.compression);
  options.timeout_ns = traces.timeout_ns.value_or(otlp.timeout_ns);
  options.tls.ca = traces.ca.value_or(otlp.tls.ca);
  options.tls.certificate = traces.certificate.value_or(otlp.tls.certificate);
  options.tls.key = traces.key.value_or(otlp.tls.key);
  return options;
}

bool ExportConfig::traces_go_to(ExportKind kind) const {
  if (kind == ExportKind::Prometheus) return false;
  if (traces.to == TracesTo::Auto) return std::ranges::find(to, kind) != to.end();
  return traces.to == (kind == ExportKind::Otlp ? TracesTo::Otlp : TracesTo::File);
}

void check_together(Loading& loading) {
  const Config& config = loading.config;
  const OtlpOptions& otlp = config.exports.otlp;
  auto add = [&](const std::string& sentence) { loading.refuse(sentence); };
  // Whoever said it last is told.
  auto said = [&](const std::string& setting) {
    auto found = loading.sources.find(setting);
    return found == loading.sources.end() ? setting : fmt::format("{} ({})", setting, found->second);
  };
  if (!otlp.endpoint.empty()) {
    if (auto good = check_otlp_endpoint(otlp.endpoint, otlp.protocol); !good) {
      add(said("export.otlp.endpoint") + ": " + good.error().message());
    }
  }
  if (otlp.tls.certificate.empty() != otlp.tls.key.empty()) {
    add(otlp.tls.key.empty() ? "export.otlp.tls.certificate needs export.otlp.tls.key as well"
                             : "export.otlp.tls.key needs export.otlp.tls.certificate as well");
  } else {
    check_traces(loading);
  }
  if (std::ranges::find(config.exports.to, ExportKind::Otlp) != config.exports.to.end()) {
    check_pem(loading, said("export.otlp.tls.ca"), otlp.tls.ca);
    const bool pair = !otlp.tls.certificate.empty() && !otlp.tls.key.empty();  // half a pair is told already
    const auto check = pair ? check_pem : check_readable;
    check(loading, said("export.otlp.tls.certificate"), otlp.tls.certificate);
    check(loading, said("export.otlp.tls.key"), otlp.tls.key);
    if (!otlp.queue.directory.empty()) check_output(loading, said("export.otlp.queue.directory"), otlp.queue.directory);
  }
  if (std::ranges::find(config.exports.to, ExportKind::File) != config.exports.to.end()) {
    check_output(loading, said("export.file.path"), config.exports.file.path);
  }
  if (otlp.retry.initial_ns > otlp.retry.max_ns) add("export.otlp.retry.initial is longer than export.otlp.retry.max");
  check_directory(loading, said("policies"), config.policies);
  check_directory(loading, said("cgroupRoot"), config.cgroup_root);
  check_proc(loading, said("procRoot"), config.proc_root);
  check_api_server(loading, said("kubernetes.apiServer"), config.kubernetes);
  check_loopback(loading, said("listen.httpLocal"), config.listen.http_local);
  check_loopback(loading, said("listen.grpc"), config.listen.grpc);
  if (config.target.pid != 0 && !config.target.comm.empty()) {
    add("target.pid and target.comm are mutually exclusive: set only one of them");
  }
  if (!config.default_policy.enabled && config.policies.empty()) {
    loading.warnings.push_back("nothing is measured: defaultPolicy.enabled is false and there are no policies");
  }
}

ConfigInputs process_inputs() {
  ConfigInputs inputs;
  for (char** entry = environ; entry && *entry; ++entry) {
    std::string_view text(*entry);
    inputs.env_names.emplace_back(text.substr(0, text.find('=')));
  }
  return inputs;
}

Result<LoadedConfig> load_config(const ConfigInputs& inputs) {
  Loading loading;
  std::string path = inputs.file, text;
  if (path.empty()) path = inputs.env("SONDE_CONFIG").value_or("");
  if (!path.empty()) {
    auto content = read_small_file(path);
    if (!content) return content.error().with("the configuration");
    text = std::move(*content);
  }
  std::string profile = chosen_profile(inputs, text, path);
  apply_profile(loading, profile);
  if (!path.empty()) apply_file(loading, path, text, profile);
  apply_otel(loading, inputs.env);
  apply_aliases(loading, inputs.env);
  apply_sonde_variables(loading, inputs.env, inputs.env_names);
  apply_flags(loading, inputs.flags);
  check_together(loading);
  if (!loading.problems.empty()) return Error(join(loading.problems, "\n"));
  LoadedConfig loaded{std::move(loading.config), std::move(loading.sources), std::move(loading.warnings)};
  for (const Setting& setting : settings()) loaded.sources.try_emplace(setting.name, "default");
  return loaded;
}

ResolveContext Config::resolve_context(bool in_kubernetes, uint64_t now_ns) const {
  ResolveContext context;
  // A period of less than a second is for measuring Sonde itself; policies speak in seconds.
  context.defaults.period_ms = static_cast<uint32_t>(std::max<uint64_t>(interval_ns / 1'000'000, 1));
  context.defaults.cleanup = cleanup;
  context.defaults.idle_seconds = idle_seconds;
  context.defaults.series_per_container = series_per_container;
  context.defaults.series_per_node = series_per_node;
  context.ceilings = ceilings;
  context.cgroups_outside_containers = default_policy.outside_containers == Tristate::Auto
                                           ? !in_kubernetes
                                           : default_policy.outside_containers == Tristate::Yes;
  context.allow_user_functions = allow_user_functions;
  context.now_ns = now_ns;
  return context;
}

std::vector<Policy> Config::default_policies() const {
  if (!default_policy.enabled) return {};
  Policy policy = sonde::default_policy(default_policy.preset, default_policy.probes);
  policy.pod_labels = default_policy.pod_labels;
  return {std::move(policy)};
}

}  // namespace sonde
