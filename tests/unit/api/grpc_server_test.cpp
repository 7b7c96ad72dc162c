// SPDX-License-Identifier: Apache-2.0
#include "agent/api/grpc_server.h"

#include <grpcpp/grpcpp.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <future>
#include <thread>

#include "agent/base/clock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "sonde/v1/sonde.grpc.pb.h"
#include "tests/unit/api/certificate_support.h"
#include "tests/unit/export/prometheus_support.h"

namespace sonde::api_test {
namespace {

using namespace prometheus_test;

class GrpcServerTest : public testing::Test {
 protected:
  void start(GrpcServerOptions options = {}) {
    options.address = "127.0.0.1:0";
    BatchBuilder batch;
    batch.resource(container(1, "cart-0", "app"))
        .integer(kIo, attributes({{"disk.io.direction", "read"}}), 4096)
        .integer(kIo, attributes({{"disk.io.direction", "write"}}), 1)
        .histogram(kDuration, attributes(), -8, {1, 0, 3}, 0.5)
        .real(kTime, attributes(), 1.5);
    batch.resource(container(2, "cart-1", "app")).integer(kIo, attributes(), 7);
    state.update(*batch.take(), 1);
    health.add(HealthKind::Ready, "probes", [this]() -> Result<void> {
      if (!ready) return Error("not attached");
      return {};
    });
    server = std::make_unique<GrpcServer>(options, GrpcProviders{.metrics = [this] { return state.snapshot(); },
                                                                 .status = [] { return std::string("{\"pid\":1}"); },
                                                                 .health = &health,
                                                                 .events = &events});
    Result<void> started = server->start();
    ASSERT_TRUE(started) << started.error().message();
    connect("127.0.0.1:" + std::to_string(server->port()));
  }
  void connect(const std::string& target) {
    channel = grpc::CreateChannel(target, grpc::InsecureChannelCredentials());
    sonde = v1::Sonde::NewStub(channel);
    checks = grpc::health::v1::Health::NewStub(channel);
  }
  static void limit(grpc::ClientContext& context, int seconds = 60) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
  }
  std::vector<v1::ResourceMetrics> metrics(const v1::GetMetricsRequest& request) {
    grpc::ClientContext context;
    limit(context);
    auto reader = sonde->GetMetrics(&context, request);
    std::vector<v1::ResourceMetrics> out;
    for (v1::ResourceMetrics message; reader->Read(&message);) out.push_back(message);
    grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return out;
  }

  PrometheusState state{100};
  HealthChecks health;
  std::atomic<bool> ready{true};
  EventHub events{4};
  std::unique_ptr<GrpcServer> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Sonde::Stub> sonde;
  std::unique_ptr<grpc::health::v1::Health::Stub> checks;
};

TEST_F(GrpcServerTest, MetricsAreComplete) {
  start();
  std::vector<v1::ResourceMetrics> got = metrics({});
  ASSERT_EQ(got.size(), 2u);
  ASSERT_EQ(got[0].metrics_size(), 3);
  EXPECT_EQ(got[0].resource_size(), 6);
  const v1::Metric& io = got[0].metrics(0);
  EXPECT_EQ(io.name(), "sonde.file.io");
  EXPECT_EQ(io.unit(), "By");
  EXPECT_EQ(io.type(), v1::Metric::COUNTER);
  ASSERT_EQ(io.points_size(), 2);
  EXPECT_EQ(io.points(0).integer(), 4096);
  EXPECT_EQ(io.points(0).start_unix_ns(), kStart);
  EXPECT_EQ(io.points(0).attributes(0).text(), "read");
  const v1::Histogram& histogram = got[0].metrics(1).points(0).histogram();
  EXPECT_EQ(histogram.count(), 4u);
  EXPECT_EQ(histogram.offset(), -8);
  EXPECT_EQ(histogram.scale(), 2);
  EXPECT_EQ(histogram.counts_size(), 3);
  EXPECT_EQ(histogram.counts(2), 3u);
  EXPECT_EQ(got[0].metrics(2).points(0).real(), 1.5);
}

TEST_F(GrpcServerTest, MetricsAreFiltered) {
  start();
  v1::GetMetricsRequest request;
  request.add_metrics("sonde.file.operation.*");
  std::vector<v1::ResourceMetrics> got = metrics(request);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].metrics_size(), 1);
  v1::GetMetricsRequest by_pod;
  v1::Attribute* pod = by_pod.add_resource();
  pod->set_key("k8s.pod.name");
  pod->set_text("cart-1");
  got = metrics(by_pod);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].metrics(0).points(0).integer(), 7);
}

TEST_F(GrpcServerTest, FollowSendsChangesAndEnds) {
  start();
  v1::GetMetricsRequest request;
  request.set_follow(true);
  request.set_period_ms(1);  // raised to a second
  grpc::ClientContext context;
  limit(context);
  auto reader = sonde->GetMetrics(&context, request);
  v1::ResourceMetrics message;
  ASSERT_TRUE(reader->Read(&message));
  ASSERT_TRUE(reader->Read(&message));
  BatchBuilder batch;
  batch.resource(container(2, "cart-1", "app")).ended(kIo, attributes());
  state.update(*batch.take(), 1);
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_TRUE(message.ended());
  EXPECT_EQ(message.metrics_size(), 0);
  context.TryCancel();
  while (reader->Read(&message)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(GrpcServerTest, EventsFlowAndLossIsTold) {
  start();
  v1::StreamEventsRequest request;
  request.add_operations("fs*");
  request.set_min_duration_ns(10);
  grpc::ClientContext context;
  limit(context);
  auto reader = sonde->StreamEvents(&context, request);
  reader->WaitForInitialMetadata();
  for (int i = 0; i < 6'000 && !events.wanted(); i++) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ASSERT_TRUE(events.wanted());
  auto publish = [&](const std::string& operation, uint64_t duration_ns) {
    auto event = std::make_shared<OperationEvent>();
    event->operation = operation;
    event->duration_ns = duration_ns;
    event->pid = 42;
    event->comm = "redis\xff";
    event->resource = container(1, "cart-0", "app");
    events.publish(event);
  };
  publish("read", 100);
  publish("fsync", 5);
  publish("fsync", 100);
  v1::Event event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.operation(), "fsync");
  EXPECT_EQ(event.duration_ns(), 100u);
  EXPECT_EQ(event.pid(), 42u);
  EXPECT_EQ(event.comm(), "redis?");
  EXPECT_EQ(event.resource_size(), 6);
  context.TryCancel();
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST(EventHub, TheOldestAreLostAndCounted) {
  EventHub hub(2);
  hub.publish(std::make_shared<OperationEvent>());  // nobody listens: free
  auto listener = hub.listen();
  for (uint64_t i = 1; i <= 5; i++) {
    auto event = std::make_shared<OperationEvent>();
    event->duration_ns = i;
    hub.publish(event);
  }
  auto first = listener->next(0);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->event->duration_ns, 4u);
  EXPECT_EQ(first->lost, 3u);
  EXPECT_EQ(listener->next(0)->lost, 0u);
  EXPECT_FALSE(listener->next(1'000'000));
  listener.reset();
  hub.publish(std::make_shared<OperationEvent>());
  EXPECT_FALSE(hub.wanted());
  auto late = hub.listen();
  hub.close();
  EXPECT_TRUE(late->closed());
  EXPECT_TRUE(hub.listen()->closed());
}

TEST_F(GrpcServerTest, StatusAndWhatIsNotServed) {
  start();
  grpc::ClientContext first, second;
  limit(first);
  limit(second);
  v1::GetStatusResponse status;
  EXPECT_TRUE(sonde->GetStatus(&first, {}, &status).ok());
  EXPECT_EQ(status.json(), "{\"pid\":1}");
  v1::ListPoliciesResponse policies;
  EXPECT_EQ(sonde->ListPolicies(&second, {}, &policies).error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(GrpcServerTest, Health) {
  start();
  using Response = grpc::health::v1::HealthCheckResponse;
  auto check = [&](const std::string& service) {
    grpc::ClientContext context;
    limit(context);
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    Response response;
    grpc::Status status = checks->Check(&context, request, &response);
    return status.ok() ? response.status() : Response::SERVICE_UNKNOWN;
  };
  EXPECT_EQ(check(""), Response::SERVING);
  ready = false;
  EXPECT_EQ(check("readiness"), Response::NOT_SERVING);
  EXPECT_EQ(check("sonde.v1.Sonde"), Response::NOT_SERVING);
  EXPECT_EQ(check("liveness"), Response::SERVING);
  EXPECT_EQ(check("other"), Response::SERVICE_UNKNOWN);

  grpc::ClientContext context;
  limit(context);
  auto watch = checks->Watch(&context, {});
  Response response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), Response::NOT_SERVING);
  ready = true;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), Response::SERVING);
  context.TryCancel();
  watch->Finish();
}

TEST_F(GrpcServerTest, StreamsAreLimitedInNumberAndTime) {
  start({.max_streams = 1, .max_stream_ns = 400'000'000});
  grpc::ClientContext first, second;
  limit(first);
  limit(second);
  auto open = sonde->StreamEvents(&first, {});
  open->WaitForInitialMetadata();
  auto refused = sonde->StreamEvents(&second, {});
  v1::Event event;
  EXPECT_FALSE(refused->Read(&event));
  EXPECT_EQ(refused->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_FALSE(open->Read(&event));
  EXPECT_EQ(open->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(metrics({}).size(), 2u);  // there is room again
}

TEST_F(GrpcServerTest, StopEndsStreams) {
  start();
  grpc::ClientContext context;
  limit(context);
  auto open = sonde->StreamEvents(&context, {});
  open->WaitForInitialMetadata();
  uint64_t begin = monotonic_ns();
  server->stop();
  EXPECT_LT(monotonic_ns() - begin, 1'500'000'000u);
  v1::Event event;
  EXPECT_FALSE(open->Read(&event));
  EXPECT_EQ(open->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  server->stop();
}

TEST_F(GrpcServerTest, UnixSocket) {
  TemporaryDirectory directory;
  std::string path = directory.file("run/sonde.sock");
  start({.socket = path});
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  connect("unix:" + path);
  EXPECT_EQ(metrics({}).size(), 2u);
  GrpcServer second({.address = "", .socket = path}, {});
  EXPECT_NE(second.start().error().message().find("another process is using it"), std::string::npos);
  EXPECT_EQ(metrics({}).size(), 2u);  // the first goes on
  server->stop();
  EXPECT_NE(::stat(path.c_str(), &info), 0);
  std::ofstream(path) << "not a socket";
  EXPECT_NE(second.start().error().message().find("not a socket"), std::string::npos);
}

TEST_F(GrpcServerTest, FailuresSayWhatToDo) {
  start();
  auto error = [](const std::string& address) {
    GrpcServer other({.address = address}, {});
    Result<void> started = other.start();
    return started ? "started" : started.error().message();
  };
  EXPECT_NE(error("127.0.0.1:" + std::to_string(server->port())).find("the port is in use; stop the other process"),
            std::string::npos);
  EXPECT_NE(error("0.0.0.0:19090").find("only opens on loopback"), std::string::npos);
  EXPECT_NE(error("19090").find("write host:port"), std::string::npos);
}

}  // namespace
}  // namespace sonde::api_test
