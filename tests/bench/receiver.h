// SPDX-License-Identifier: Apache-2.0
// An OTLP receiver on loopback with TLS, which counts what it gets.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "opentelemetry/proto/collector/metrics/v1/metrics_service.grpc.pb.h"

namespace sonde::bench {

struct Received {
  uint64_t collections = 0;
  uint64_t requests = 0;
  uint64_t points = 0;
  uint64_t resources = 0;  // with container.id, over all collections
  uint64_t map_bytes = 0;  // kernel memory that the agent reports, the newest
};

class Receiver final : public opentelemetry::proto::collector::metrics::v1::MetricsService::Service {
 public:
  Receiver();
  ~Receiver() override;

  std::string endpoint() const;
  const std::string& authority_file() const { return authority_file_; }
  Received take();  // since the last call

 private:
  using Request = opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;
  grpc::Status Export(grpc::ServerContext*, const Request*,
                      opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceResponse*) override;

  std::mutex mutex_;
  Received received_;
  std::map<uint64_t, uint64_t> times_;  // containers by time of their points
  std::string authority_file_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace sonde::bench
