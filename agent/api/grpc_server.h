// SPDX-License-Identifier: Apache-2.0
// sonde.v1 and grpc.health.v1 on a loopback port and a unix socket (proto/sonde/v1/sonde.proto). What it tells comes
// from functions. It shows all tenants: the address must be a loopback one, the socket is mode 0600.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/api/event_hub.h"
#include "agent/api/health.h"
#include "agent/base/result.h"
#include "agent/export/prometheus_state.h"

namespace sonde {

struct GrpcServerOptions {
  std::string address = "127.0.0.1:19090";  // empty: no port
  std::string socket;                       // path; empty: none
  int max_streams = 8;                      // GetMetrics, StreamEvents and Watch together; RESOURCE_EXHAUSTED beyond
  uint64_t max_stream_ns = 3600ULL * 1'000'000'000;  // then a stream ends with DEADLINE_EXCEEDED
};

// May be called from several threads at once. An empty function: UNIMPLEMENTED.
struct GrpcProviders {
  std::function<std::vector<ResourceSeriesPtr>()> metrics;  // the newest values
  std::function<std::string()> status;                      // JSON
  std::function<std::string()> policies;                    // JSON array
  const HealthChecks* health = nullptr;
  EventHub* events = nullptr;  // null: the stream stays empty until the client ends it
};

class GrpcServer {
 public:
  GrpcServer(GrpcServerOptions options, GrpcProviders providers);
  ~GrpcServer();  // stops
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  Result<void> start();  // the error is one sentence that says what to do
  void stop(uint64_t timeout_ns = 2'000'000'000);
  uint16_t port() const;  // the one bound

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sonde
