// SPDX-License-Identifier: Apache-2.0
// The agent's listeners: health (and /metrics when pulled) for everyone, everything else on loopback, gRPC on loopback.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/api/endpoints.h"
#include "agent/api/event_hub.h"
#include "agent/api/grpc_server.h"
#include "agent/api/health.h"
#include "agent/base/result.h"
#include "agent/config/config.h"
#include "agent/export/prometheus_exporter.h"

namespace sonde {

struct ServerSources {
  PrometheusExporter* metrics = nullptr;
  std::function<std::string()> status, pods, report, policies;                               // JSON
  std::function<std::string(const std::string& pod, const std::string& container)> explain;  // likewise
  std::function<Result<void>()> alive, ready;
};

class Servers {
 public:
  static Result<std::unique_ptr<Servers>> start(const Config& config, ServerSources sources);
  ~Servers();

  void not_ready();                            // shutting down
  std::vector<std::string> addresses() const;  // for the log

 private:
  Servers() = default;
  std::atomic<bool> open_{false};  // all of them
  HealthChecks health_;
  EventHub events_;
  std::unique_ptr<HttpServer> everyone_, local_;
  std::unique_ptr<GrpcServer> grpc_;
  std::vector<std::string> addresses_;
};

}  // namespace sonde
