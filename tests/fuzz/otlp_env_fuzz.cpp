// SPDX-License-Identifier: Apache-2.0
// OTEL_EXPORTER_OTLP_* variables, one NAME=value a line; the prefix may be left out.
// Layers: export
#include <map>

#include "agent/export/otlp_options.h"
#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace sonde;
  fuzz::Input input(data, size);
  std::map<std::string, std::string, std::less<>> variables;
  while (!input.empty()) {
    std::string line = input.word();
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    std::string name = line.substr(0, equals);
    if (!name.starts_with("OTEL_")) name = "OTEL_EXPORTER_OTLP_" + name;
    variables[name] = line.substr(equals + 1);
  }
  const GetEnv env = [&](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  for (const OtlpSignal signal : {OtlpSignal::Metrics, OtlpSignal::Traces}) {
    const auto options = otlp_options_from_env(env, {}, signal);
    if (!options) {
      fuzz::require(!options.error().message().empty());
      continue;
    }
    options->uses_tls();
    options->grpc_target();
    const std::string url = options->http_url(signal);
    for (const auto& [name, value] : options->headers) {
      fuzz::require(!name.empty());
      for (const char c : name) fuzz::require(!(c >= 'A' && c <= 'Z'));
      fuzz::require(value.find_first_of("\r\n") == std::string::npos);  // no second header through the back door
    }
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(parse_otlp_headers(text));
  static_cast<void>(check_otlp_endpoint(text, OtlpProtocol::Grpc));
  static_cast<void>(check_otlp_endpoint(text, OtlpProtocol::HttpProtobuf));
  return 0;
}
