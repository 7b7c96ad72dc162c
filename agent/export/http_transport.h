// SPDX-License-Identifier: Apache-2.0
// HTTP POST as the exporters need it. Implemented with the HTTP library in agent/api/http_client.h, since this layer
// does not know one.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sonde {

// Trust. Names and dates are checked if a CA signed the certificate; a pinned one must be identical.
enum class TlsTrust : uint8_t { Ca, Pin, CaOrPin, Anyone };

struct TlsFiles {
  std::string ca;           // PEM; empty: the system's
  std::string certificate;  // PEM, the client's; with `key`: mTLS
  std::string key;
  std::string pin = {};  // PEM: the certificates one of which the peer must show
  TlsTrust trust = TlsTrust::Ca;
  friend bool operator==(const TlsFiles&, const TlsFiles&) = default;
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// An HTTP proxy: asked for a tunnel where the peer speaks TLS, else for the request itself.
struct HttpVia {
  std::string host;  // without brackets
  std::string port;
  std::string authorization;  // value of Proxy-Authorization; may be empty
  friend bool operator==(const HttpVia&, const HttpVia&) = default;
};

struct HttpRequest {
  std::string url;  // http:// or https://
  HttpHeaders headers;
  std::string body;
  uint64_t timeout_ns = 0;  // for all of it: connect, send, receive
  TlsFiles tls;             // reloaded if a file has changed since the last request
  HttpVia via = {};         // without a host: directly
};

enum class HttpFailure : uint8_t {
  None,     // there is a response, whatever its status
  Connect,  // refused, unreachable, name not found
  Timeout,
  Tls,    // certificate or handshake
  Other,  // the connection broke, or the answer was not HTTP or too large
};

struct HttpResponse {
  HttpFailure failure = HttpFailure::None;
  std::string error;  // a sentence if there was no response
  int status = 0;
  HttpHeaders headers;  // names in lower case
  std::string body;     // at most 4 MiB
};

class HttpTransport {
 public:
  virtual ~HttpTransport() = default;
  // Blocks up to the timeout. Called from one thread at a time. Follows no redirects.
  virtual HttpResponse post(const HttpRequest& request) = 0;
};

}  // namespace sonde
