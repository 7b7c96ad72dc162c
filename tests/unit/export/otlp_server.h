// SPDX-License-Identifier: Apache-2.0
// A real OTLP receiver on loopback, whose answers a test decides.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.grpc.pb.h"
#include "tests/unit/export/otlp_support.h"

namespace sonde::test {

inline grpc::Status with_retry_info(grpc::StatusCode code, const std::string& message, uint64_t delay_ns) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(static_cast<int64_t>(delay_ns / 1'000'000'000));
  info.mutable_retry_delay()->set_nanos(static_cast<int32_t>(delay_ns % 1'000'000'000));
  google::rpc::Status status;
  status.set_code(code);
  status.add_details()->PackFrom(info);
  return {code, message, status.SerializeAsString()};
}

class OtlpServer final : public pb::MetricsService::Service {
 public:
  // What to answer to the n-th request (from 0). The default is OK.
  using Answer =
      std::function<grpc::Status(size_t n, const pb::ExportMetricsServiceRequest&, pb::ExportMetricsServiceResponse*)>;
  struct Received {
    pb::ExportMetricsServiceRequest request;
    std::multimap<std::string, std::string> metadata;
    std::chrono::steady_clock::time_point at;
  };

  explicit OtlpServer(Answer answer = {}, std::shared_ptr<grpc::ServerCredentials> credentials = nullptr, int port = 0)
      : answer_(std::move(answer)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port),
                             credentials ? credentials : grpc::InsecureServerCredentials(), &port_);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    if (!server_ || port_ == 0) throw std::runtime_error("the test's server cannot listen");
  }
  ~OtlpServer() override { server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200)); }

  int port() const { return port_; }
  std::string url(const char* scheme = "http") const {
    return std::string(scheme) + "://127.0.0.1:" + std::to_string(port_);
  }

  grpc::Status Export(grpc::ServerContext* context, const pb::ExportMetricsServiceRequest* request,
                      pb::ExportMetricsServiceResponse* response) override {
    size_t n = 0;
    {
      std::lock_guard lock(mutex_);
      n = received_.size();
      Received one{*request, {}, std::chrono::steady_clock::now()};
      for (const auto& [key, value] : context->client_metadata()) {
        one.metadata.emplace(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
      }
      received_.push_back(std::move(one));
    }
    grpc::Status status = answer_ ? answer_(n, *request, response) : grpc::Status::OK;
    std::lock_guard lock(mutex_);
    if (status.ok()) accepted_.push_back(n);
    return status;
  }

  std::vector<Received> received() const {
    std::lock_guard lock(mutex_);
    return received_;
  }
  // Points of the requests that were answered with OK.
  std::vector<std::string> accepted() const {
    std::lock_guard lock(mutex_);
    std::vector<std::string> points;
    for (size_t n : accepted_) {
      for (auto& point : number_points(received_[n].request)) points.push_back(point);
    }
    return points;
  }

 private:
  Answer answer_;
  mutable std::mutex mutex_;
  std::vector<Received> received_;
  std::vector<size_t> accepted_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// Waits up to ten seconds.
template <typename Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 2'000; i++) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

}  // namespace sonde::test
