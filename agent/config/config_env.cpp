// SPDX-License-Identifier: Apache-2.0
// Profiles, environment and flags over the file.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

#include "agent/base/text.h"
#include "agent/config/config_layers.h"
#include "agent/config/setting_types.h"

namespace sonde {

namespace {

struct ProfileValue {
  std::string_view profile, setting, value;
};
// docs/ops/configuration.md has the same table.
constexpr ProfileValue kProfileValues[] = {
    {"development", "log.level", "debug"},
    {"development", "interval", "5s"},
    {"development", "overhead.milliCpu", "0"},
    {"testing", "log.level", "debug"},
    {"testing", "interval", "1s"},
    {"testing", "overhead.milliCpu", "0"},
    {"testing", "export.otlp.retry.initial", "200ms"},
    {"testing", "export.otlp.retry.max", "1s"},
};

// Set and not empty: an empty variable counts as unset.
std::optional<std::string> read(const GetEnv& env, std::string_view name) {
  auto value = env(name);
  if (!value || trim(*value).empty()) return {};
  return std::string(trim(*value));
}

// The words that other tools use.
std::string log_level(std::string_view text) {
  std::string word = lower(text);
  if (word == "warning") return "warn";
  if (word == "fatal" || word == "critical") return "error";
  if (word == "none") return "off";
  return word;
}

void set(Loading& loading, std::string_view name, std::string_view value, const std::string& source) {
  loading.set(*find_setting(name), value, source);
}

// Kubernetes gives every container such variables for a Service called sonde.
bool is_service_variable(std::string_view name) {
  return name.starts_with("SONDE_SERVICE_") || name == "SONDE_PORT" || name.starts_with("SONDE_PORT_") ||
         name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") ||
         name.find("_SERVICE_PORT_") != std::string_view::npos || name.find("_PORT_") != std::string_view::npos;
}

// What the environment says about spans: OTEL_EXPORTER_OTLP_TRACES_*. What it says about metrics alone does not concern them, so
// there they keep what the general variable or the file says.
void apply_otel_traces(Loading& loading, const GetEnv& env) {
  OtlpOptions file = loading.config.exports.otlp;
  const TlsFiles pair = std::exchange(file.tls, {.ca = file.tls.ca});
  const auto without_pair = [&env](std::string_view name) {
    return name.find("_CLIENT_") != std::string_view::npos ? std::nullopt : env(name);
  };
  const auto said = otlp_options_from_env(without_pair, file, OtlpSignal::Traces);
  if (!said) return loading.refuse(said.error().message());
  TracesConfig& traces = loading.config.exports.traces;
  const auto take = [&](std::string_view what, std::string_view setting, auto& field, const auto& value) {
    const std::string own = fmt::format("OTEL_EXPORTER_OTLP_TRACES_{}", what);
    if (read(env, own)) {
      field = value;
      loading.sources[fmt::format("export.traces.{}", setting)] = own;
    } else if (!field && read(env, fmt::format("OTEL_EXPORTER_OTLP_METRICS_{}", what))) {
      field = value;
    }
  };
  const auto file_of_pair = [&](std::string_view what, const std::string& in_file) {
    for (const char* prefix : {"OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"}) {
      if (auto value = read(env, std::string(prefix) + std::string(what))) return *value;
    }
    return in_file;
  };
  take("ENDPOINT", "endpoint", traces.endpoint_is_complete, said->endpoint_is_complete);
  take("ENDPOINT", "endpoint", traces.endpoint, said->endpoint);
  take("PROTOCOL", "protocol", traces.protocol, said->protocol);
  take("INSECURE", "insecure", traces.insecure, said->insecure);
  take("HEADERS", "headers", traces.headers, said->headers);
  take("COMPRESSION", "compression", traces.compression, said->compression);
  take("TIMEOUT", "timeout", traces.timeout_ns, said->timeout_ns);
  take("CERTIFICATE", "tls.ca", traces.ca, said->tls.ca);
  take("CLIENT_CERTIFICATE", "tls.certificate", traces.certificate, file_of_pair("CLIENT_CERTIFICATE", pair.certificate));
  take("CLIENT_KEY", "tls.key", traces.key, file_of_pair("CLIENT_KEY", pair.key));
}

}  // namespace

void Loading::refuse(std::string_view sentence) { problems.push_back(one_line(sentence, std::string::npos)); }

void Loading::set(const Setting& setting, std::string_view value, const std::string& where, const std::string& source) {
  auto done = setting.set(config, value);
  if (!done) {
    refuse(where + ": " + done.error().message());
    return;
  }
  sources[setting.name] = source.empty() ? where : source;
}

void apply_profile(Loading& loading, std::string_view profile) {
  for (const ProfileValue& value : kProfileValues) {
    if (value.profile == profile) set(loading, value.setting, value.value, fmt::format("profile {}", profile));
  }
}

void apply_otel(Loading& loading, const GetEnv& env) {
  if (auto level = read(env, "OTEL_LOG_LEVEL")) set(loading, "log.level", log_level(*level), "OTEL_LOG_LEVEL");
  if (auto interval = read(env, "OTEL_METRIC_EXPORT_INTERVAL")) {
    auto ns = parse_integer(*interval, 1, 3'600'000);
    if (ns) {
      set(loading, "interval", fmt::format("{}ms", *ns), "OTEL_METRIC_EXPORT_INTERVAL");
    } else {
      loading.refuse("OTEL_METRIC_EXPORT_INTERVAL: " + ns.error().message() + " (milliseconds)");
    }
  }
  if (auto exporters = read(env, "OTEL_METRICS_EXPORTER")) {
    set(loading, "export.to", *exporters, "OTEL_METRICS_EXPORTER");
  }
  if (auto to = read(env, "OTEL_TRACES_EXPORTER")) set(loading, "export.traces.to", *to, "OTEL_TRACES_EXPORTER");
  if (auto attributes = read(env, "OTEL_RESOURCE_ATTRIBUTES")) {
    set(loading, "resourceAttributes", *attributes, "OTEL_RESOURCE_ATTRIBUTES");
  }
  // Certificate and key may come from different layers: whether both are there is checked at the end.
  auto without_pair = [&env](std::string_view name) {
    return name.ends_with("_CLIENT_CERTIFICATE") || name.ends_with("_CLIENT_KEY") ? std::nullopt : env(name);
  };
  apply_otel_traces(loading, env);
  OtlpOptions base = loading.config.exports.otlp;
  TlsFiles pair = std::exchange(base.tls, {});
  auto otlp = otlp_options_from_env(without_pair, std::move(base));
  if (!otlp) {
    // A general variable is told once, though it concerns spans too.
    const std::string sentence = one_line(otlp.error().message(), std::string::npos);
    if (loading.problems.empty() || loading.problems.back() != sentence) loading.refuse(sentence);
    return;
  }
  if (otlp->tls.ca.empty()) otlp->tls.ca = pair.ca;
  otlp->tls.certificate = pair.certificate;
  otlp->tls.key = pair.key;
  loading.config.exports.otlp = std::move(*otlp);
  for (const Setting& setting : settings()) {
    if (!setting.name.starts_with("export.otlp.") || !setting.otel.starts_with("OTEL_EXPORTER_OTLP_")) continue;
    for (const std::string& name : split_list(setting.otel, ' ')) {
      auto value = read(env, name);
      if (!value) continue;
      if (name.find("_CLIENT_") != std::string::npos) set(loading, setting.name, *value, name);
      loading.sources[setting.name] = name;
      break;
    }
  }
}

void apply_aliases(Loading& loading, const GetEnv& env) {
  if (auto mode = read(env, "EXPORT_MODE")) {
    // There "grpc" means: served on the gRPC port, which is always so.
    auto words = split_list(lower(*mode));
    std::erase(words, "grpc");
    set(loading, "export.to", words.empty() ? "none" : join(words, ","), "EXPORT_MODE");
  }
  if (auto interval = read(env, "EXPORT_INTERVAL")) {
    auto ns = parse_duration(*interval, PlainNumber::Seconds);
    if (ns) {
      set(loading, "interval", format_duration(*ns), "EXPORT_INTERVAL");
    } else {
      loading.refuse("EXPORT_INTERVAL: " + ns.error().message());
    }
  }
  if (auto directory = read(env, "OUTPUT_DIR")) {
    set(loading, "export.file.path", directory->ends_with('/') ? *directory : *directory + "/", "OUTPUT_DIR");
  }
  if (auto level = read(env, "LOG_LEVEL")) set(loading, "log.level", log_level(*level), "LOG_LEVEL");
  for (auto [name, setting, host] :
       {std::tuple("HTTP_PORT", "listen.http", "[::]"), std::tuple("GRPC_PORT", "listen.grpc", "127.0.0.1")}) {
    auto text = read(env, name);
    if (!text) continue;
    if (auto port = parse_integer(*text, 0, 65535)) {
      set(loading, setting, fmt::format("{}:{}", host, *port), name);
    } else {
      loading.refuse(fmt::format("{}: {}", name, port.error().message()));
    }
  }
}

void apply_sonde_variables(Loading& loading, const GetEnv& env, const std::vector<std::string>& names) {
  std::vector<std::string> known{"SONDE_CONFIG"};
  for (const Setting& setting : settings()) {
    known.push_back(setting.env());
    if (auto value = read(env, known.back())) loading.set(setting, *value, known.back());
  }
  for (const std::string& name : names) {
    if (!name.starts_with("SONDE_") || is_service_variable(name)) continue;
    // No settings: the command reads them, to show what a broken program does and to choose how a probe attaches.
    if (name == "SONDE_BREAK_PROGRAM" || name == "SONDE_ALTERNATIVE") continue;
    if (std::ranges::find(known, name) != known.end()) continue;
    std::string_view near = nearest(name, known);
    loading.warnings.push_back(fmt::format("the variable {} has no effect{}", one_line(name),
                                           near.empty() ? "" : fmt::format(", did you mean {}", near)));
  }
}

void apply_flags(Loading& loading, const std::map<std::string, std::string>& flags) {
  for (const auto& [flag, value] : flags) {
    auto found = std::ranges::find(settings(), flag, &Setting::flag);
    // A script's variable that is not set, for example. For "nobody" there is no flag at all.
    if (trim(value).empty() || (flag == "target-pid" && value == "0")) {
      loading.refuse(fmt::format("--{}: {}; omit the flag instead", flag,
                                 value == "0" ? "0 is not a process" : "the value is empty"));
      continue;
    }
    if (found != settings().end()) {
      loading.set(*found, value, "--" + flag);
      continue;
    }
    std::vector<std::string> known;
    for (const Setting& setting : settings()) known.push_back(setting.flag);
    std::string_view near = nearest(flag, known);
    loading.refuse(
        fmt::format("there is no flag --{}{}", flag, near.empty() ? "" : fmt::format(", did you mean --{}", near)));
  }
}

}  // namespace sonde
