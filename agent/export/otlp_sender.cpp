// SPDX-License-Identifier: Apache-2.0
#include "agent/export/otlp_sender.h"

#include <spdlog/fmt/fmt.h>

namespace sonde {

Result<std::unique_ptr<OtlpSender>> make_otlp_sender(const OtlpOptions& options, OtlpSignal signal,
                                                     std::shared_ptr<HttpTransport> http) {
  if (auto checked = check_otlp_endpoint(options.endpoint.empty() ? "localhost" : options.endpoint, options.protocol);
      !checked) {
    return checked.error().with("OTLP endpoint");
  }
  if (options.protocol == OtlpProtocol::Grpc) {
    auto made = make_grpc_sender(options, signal);
    if (!made) return made.error().with("OTLP over gRPC");
    return made;
  }
  if (!http) return Error("OTLP over HTTP needs an HTTP client");
  auto made = make_http_sender(options, signal, std::move(http));
  if (!made) return made.error().with("OTLP over HTTP");
  return made;
}

std::string otlp_destination(const OtlpOptions& options, OtlpSignal signal) {
  if (options.protocol == OtlpProtocol::HttpProtobuf) return options.http_url(signal) + " (http/protobuf)";
  return fmt::format("{} (grpc{})", options.endpoint.empty() ? "http://localhost:4317" : options.endpoint,
                     options.uses_tls() ? ", TLS" : "");
}

}  // namespace sonde
