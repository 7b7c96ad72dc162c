// SPDX-License-Identifier: Apache-2.0
// A small HTTP/1.1 server for health checks, scrapes and local tools: bounded, dual stack, no TLS (confidential data
// is only on loopback). Connections run on cpprestsdk's thread pool (http_pool.h); docs/adr/0006-http.md explains why
// its listener is not used. Handlers are functions without access to sockets; they may run concurrently.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/base/result.h"

namespace sonde {

struct WebRequest {
  std::string method;                                      // GET, HEAD
  std::string path;                                        // decoded, without the query
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
  std::string accept;
  std::string accept_encoding;
  std::string user_agent;
  std::string scrape_timeout;            // X-Prometheus-Scrape-Timeout-Seconds
  std::string peer;                      // address of the client, without port
  std::weak_ptr<const void> connection;  // valid as long as the connection

  bool has(std::string_view key) const;
  std::string_view get(std::string_view key) const;  // the first; empty if absent
};

struct WebReply {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string content_encoding;
  std::string body;
  std::function<void()> on_sent = {};  // called when everything has been sent
  bool comes_again = false;            // the connection may be idle for idle_timeout_again_ns
};

using WebHandler = std::function<WebReply(const WebRequest&)>;

struct HttpServerOptions {
  std::string address = "127.0.0.1:18081";    // host:port, [::]:port, :port (all addresses); port 0: any free one
  std::string purpose = "local";              // for messages: "the local listener"
  std::size_t max_connections = 64;           // further ones get 503 and are closed
  std::size_t max_header_bytes = 16 * 1024;   // including the request line; otherwise 431
  std::size_t max_body_bytes = 4 * 1024;      // no handler reads one; otherwise 413
  std::size_t max_url_bytes = 2 * 1024;       // otherwise 414
  uint64_t idle_timeout_ns = 30'000'000'000;  // for a request to arrive, and for an answer to be accepted
  uint64_t idle_timeout_again_ns = 330'000'000'000;  // between two scrapes on one connection
};

struct HttpServerStats {
  uint64_t requests = 0;
  uint64_t refused = 0;  // connections beyond the limit
  uint64_t failed = 0;   // malformed, too large or timed out
};

class HttpServer {
 public:
  explicit HttpServer(HttpServerOptions options);
  ~HttpServer();  // stops
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Before start(). GET and HEAD only. A path that ends in '/' (other than "/") serves everything below it.
  void route(std::string path, WebHandler handler);

  // Binds and listens. `[::]` is dual stack; on a machine without IPv6 it becomes 0.0.0.0. The error message says
  // what to do.
  Result<void> start();
  // Stops accepting, waits this long for running handlers, closes all connections.
  void stop(uint64_t timeout_ns = 2'000'000'000);

  uint16_t port() const;        // the bound port; 0 before start()
  std::string address() const;  // "http://[::]:18080", for the log
  HttpServerStats stats() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace sonde
