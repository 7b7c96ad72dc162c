// SPDX-License-Identifier: Apache-2.0
// HTTP as a client: for the OTLP/HTTP exporter and for `sonde status` and its like, which ask the agent. Peers are
// always verified; certificates are reloaded when their files change; connections are reused. Everything happens
// on the caller's thread. Why Boost.Beast and not cpprestsdk: docs/adr/0006-http.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "agent/base/result.h"
#include "agent/export/http_transport.h"

namespace sonde {

class HttpClient : public HttpTransport {
 public:
  static constexpr std::size_t kMaxResponse = 4 << 20;

  explicit HttpClient(std::size_t max_response = kMaxResponse);
  ~HttpClient() override;

  // From one thread at a time.
  HttpResponse post(const HttpRequest& request) override;
  HttpResponse get(const HttpRequest& request);  // the body is not sent

  uint64_t connections_opened() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// GET from the agent's loopback listener, for the command line. `address` is host:port. The error says what to do if
// no agent answers, or is the agent's own sentence if it answers anything but 200.
Result<std::string> get_from_agent(const std::string& address, const std::string& path, uint64_t timeout_ns);

}  // namespace sonde
