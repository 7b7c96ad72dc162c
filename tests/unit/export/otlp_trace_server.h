// SPDX-License-Identifier: Apache-2.0
// Spans made by hand, and a real OTLP receiver of spans on loopback, whose answers a test decides.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "agent/pipeline/span.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h"
#include "tests/unit/export/otlp_server.h"

namespace sonde::test {

namespace pb {
using namespace opentelemetry::proto::collector::trace::v1;  // NOLINT
}  // namespace pb

inline Span slow_fsync(ResourcePtr whose, uint32_t number = 0) {
  Span span;
  span.operation = Span::Operation::Fsync;
  span.start_unix_ns = kStart + number * 1'000'000'000ULL;
  span.end_unix_ns = span.start_unix_ns + 250'000'000;
  span.pid = 4711;
  span.tid = 4712;
  span.comm = "walwriter";
  span.executable = "postgres";
  span.threshold = 0.1;
  span.policy = "slow-disks";
  span.trace_id[15] = 1;
  span.span_id[0] = 0xab;
  span.span_id[7] = static_cast<uint8_t>(number);
  span.resource = std::move(whose);
  return span;
}

inline std::shared_ptr<const SpanBatch> span_batch(std::vector<Span> spans) {
  auto batch = std::make_shared<SpanBatch>();
  batch->spans = std::move(spans);
  return batch;
}

// `count` of one Resource, told apart by their thread: number n is of thread n + 1, since 0 stands for no thread.
inline std::shared_ptr<const SpanBatch> many_spans(uint32_t count, uint32_t first = 0, const ResourcePtr& whose = resource(1)) {
  std::vector<Span> spans;
  for (uint32_t i = 0; i < count; ++i) {
    spans.push_back(slow_fsync(whose, i % 100));
    spans.back().tid = first + i + 1;
  }
  return span_batch(std::move(spans));
}

inline std::vector<const Span*> pointers(const SpanBatch& batch) {
  std::vector<const Span*> list;
  for (const Span& span : batch.spans) list.push_back(&span);
  return list;
}

// The numbers of all spans of a request, in order.
inline std::vector<int64_t> numbers_of(const pb::ExportTraceServiceRequest& request) {
  std::vector<int64_t> numbers;
  for (const auto& rs : request.resource_spans()) {
    for (const auto& ss : rs.scope_spans()) {
      for (const auto& span : ss.spans()) {
        for (const auto& kv : span.attributes()) {
          if (kv.key() == "thread.id") numbers.push_back(kv.value().int_value() - 1);
        }
      }
    }
  }
  return numbers;
}

class TraceServer final : public pb::TraceService::Service {
 public:
  // What to answer to the n-th request (from 0). The default is OK.
  using Answer =
      std::function<grpc::Status(size_t n, const pb::ExportTraceServiceRequest&, pb::ExportTraceServiceResponse*)>;
  struct Received {
    pb::ExportTraceServiceRequest request;
    std::multimap<std::string, std::string> metadata;
    bool accepted = false;
  };

  explicit TraceServer(Answer answer = {}) : answer_(std::move(answer)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    if (!server_ || port_ == 0) throw std::runtime_error("the test's server cannot listen");
  }
  ~TraceServer() override { server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200)); }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

  grpc::Status Export(grpc::ServerContext* context, const pb::ExportTraceServiceRequest* request,
                      pb::ExportTraceServiceResponse* response) override {
    size_t n = 0;
    {
      std::lock_guard lock(mutex_);
      n = received_.size();
      received_.push_back({*request, {}});
      for (const auto& [key, value] : context->client_metadata()) {
        received_.back().metadata.emplace(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
      }
    }
    grpc::Status status = answer_ ? answer_(n, *request, response) : grpc::Status::OK;
    std::lock_guard lock(mutex_);
    received_[n].accepted = status.ok();
    return status;
  }

  std::vector<Received> received() const {
    std::lock_guard lock(mutex_);
    return received_;
  }
  // Numbers of the spans in requests that were answered with OK.
  std::vector<int64_t> accepted() const {
    std::lock_guard lock(mutex_);
    std::vector<int64_t> numbers;
    for (const Received& one : received_) {
      if (!one.accepted) continue;
      for (const int64_t number : numbers_of(one.request)) numbers.push_back(number);
    }
    return numbers;
  }

 private:
  Answer answer_;
  mutable std::mutex mutex_;
  std::vector<Received> received_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace sonde::test
