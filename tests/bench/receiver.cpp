// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/receiver.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "agent/base/file.h"
#include "tests/unit/export/otlp_certificates.h"

namespace sonde::bench {
namespace {

using opentelemetry::proto::metrics::v1::Metric;
using opentelemetry::proto::metrics::v1::ResourceMetrics;

uint64_t points_of(const Metric& metric) {
  if (metric.has_sum()) return static_cast<uint64_t>(metric.sum().data_points_size());
  if (metric.has_gauge()) return static_cast<uint64_t>(metric.gauge().data_points_size());
  return static_cast<uint64_t>(metric.exponential_histogram().data_points_size());
}

// Points of containers of one collection have one time.
uint64_t time_of(const ResourceMetrics& resource) {
  for (const auto& scope : resource.scope_metrics()) {
    for (const Metric& metric : scope.metrics()) {
      if (metric.sum().data_points_size() > 0) return metric.sum().data_points(0).time_unix_nano();
    }
  }
  return 0;
}

}  // namespace

Receiver::Receiver() {
  const test::Authority authority("Sonde benchmark");
  const test::Pem own = authority.issue("localhost");
  char name[] = "/tmp/sonde-bench-ca-XXXXXX";
  const int fd = mkstemp(name);
  if (fd >= 0) close(fd);
  authority_file_ = name;
  if (!write_file_atomically(authority_file_, authority.certificate()))
    throw std::runtime_error("cannot write to /tmp");
  grpc::SslServerCredentialsOptions tls;
  tls.pem_key_cert_pairs.push_back({own.key, own.certificate});
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls), &port_);
  builder.SetMaxReceiveMessageSize(16 << 20);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  if (!server_) throw std::runtime_error("the receiver cannot listen on loopback");
}

Receiver::~Receiver() {
  server_->Shutdown(std::chrono::system_clock::now());
  unlink(authority_file_.c_str());
}

std::string Receiver::endpoint() const { return "https://localhost:" + std::to_string(port_); }

Received Receiver::take() {
  const std::lock_guard lock(mutex_);
  // Whoever begins or ends has points of a time of its own: only what most have is a collection.
  uint64_t most = 0;
  for (const auto& [time, containers] : times_) most = std::max(most, containers);
  received_.collections =
      static_cast<uint64_t>(std::ranges::count_if(times_, [&](const auto& entry) { return entry.second * 2 > most; }));
  times_.clear();
  const uint64_t map_bytes = received_.map_bytes;
  const Received taken = std::exchange(received_, {});
  received_.map_bytes = map_bytes;
  return taken;
}

grpc::Status Receiver::Export(grpc::ServerContext*, const Request* request,
                              opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceResponse*) {
  const std::lock_guard lock(mutex_);
  ++received_.requests;
  for (const ResourceMetrics& resource : request->resource_metrics()) {
    const bool container = std::ranges::any_of(resource.resource().attributes(),
                                               [](const auto& attribute) { return attribute.key() == "container.id"; });
    if (container) {
      ++received_.resources;
      if (const uint64_t time = time_of(resource)) ++times_[time];
    }
    for (const auto& scope : resource.scope_metrics()) {
      for (const Metric& metric : scope.metrics()) {
        received_.points += points_of(metric);
        if (metric.name() != "sonde.map.memory") continue;
        received_.map_bytes = 0;
        for (const auto& point : metric.gauge().data_points()) {
          received_.map_bytes += static_cast<uint64_t>(point.as_int());
        }
      }
    }
  }
  return grpc::Status::OK;
}

}  // namespace sonde::bench
