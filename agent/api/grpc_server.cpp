// SPDX-License-Identifier: Apache-2.0
#include "agent/api/grpc_server.h"

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <map>
#include <utility>

#include "agent/api/grpc_encode.h"
#include "agent/api/http_address.h"
#include "agent/base/fd.h"
#include "agent/base/mutex.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "sonde/v1/sonde.grpc.pb.h"

namespace sonde {

namespace {

using Clock = std::chrono::steady_clock;
namespace health = grpc::health::v1;

// Counts open streams and lets all of them end at once. A stream occupies one of gRPC's threads.
class Streams {
 public:
  Streams(int limit, uint64_t max_ns) : limit_(limit), max_(max_ns) {}

  class Place {
   public:
    Place(Streams& streams, bool granted)
        : streams_(streams), granted_(granted), end_(Clock::now() + std::chrono::nanoseconds(streams.max_)) {}
    ~Place() {
      if (granted_) streams_.open_--;
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    explicit operator bool() const { return granted_; }

    // Waits; false when the stream has to end.
    bool wait(grpc::ServerContext& context, std::chrono::milliseconds time) {
      MutexLock lock(streams_.mutex_);
      auto until = Clock::now() + time;
      while (!streams_.stopping_ && Clock::now() < until && !over(context)) {
        // A client that has gone is noticed within this time.
        auto slice = std::min(until, Clock::now() + std::chrono::milliseconds(200));
        streams_.changed_.wait_until(streams_.mutex_, slice);
      }
      return !streams_.stopping_ && !over(context);
    }
    bool over(grpc::ServerContext& context) const { return context.IsCancelled() || Clock::now() >= end_; }

    grpc::Status status() const {
      if (Clock::now() >= end_)
        return {grpc::StatusCode::DEADLINE_EXCEEDED, "the stream has reached its maximum duration; open it again"};
      return streams_.stopping_ ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the agent is stopping")
                                : grpc::Status::OK;
    }

   private:
    Streams& streams_;
    const bool granted_;
    const Clock::time_point end_;
  };

  Place enter() {
    bool granted = open_.fetch_add(1) < limit_;
    if (!granted) open_--;
    return Place(*this, granted);
  }
  grpc::Status full() const {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED,
            "more than " + std::to_string(limit_) + " streams are open; close one or try later"};
  }
  void stop() {
    const MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }

 private:
  const int limit_;
  const uint64_t max_;
  std::atomic<int> open_{0};
  Mutex mutex_;
  Condition changed_;
  std::atomic<bool> stopping_{false};
};

grpc::Status not_served(const char* what) {
  return {grpc::StatusCode::UNIMPLEMENTED, std::string("this agent does not serve ") + what};
}

class SondeService final : public v1::Sonde::Service {
 public:
  SondeService(const GrpcProviders& providers, Streams& streams) : providers_(providers), streams_(streams) {}

  grpc::Status GetMetrics(grpc::ServerContext* context, const v1::GetMetricsRequest* request,
                          grpc::ServerWriter<v1::ResourceMetrics>* writer) override {
    if (!providers_.metrics) return not_served("metrics");
    Streams::Place place = streams_.enter();
    if (!place) return streams_.full();
    std::map<uint64_t, ResourceSeriesPtr> sent;
    auto period = std::chrono::milliseconds(request->period_ms() ? std::max(request->period_ms(), 1000u) : 10'000u);
    do {
      if (!send_changes(*request, writer, sent)) return grpc::Status::CANCELLED;
      if (!request->follow()) return grpc::Status::OK;
    } while (place.wait(*context, period));
    return place.status();
  }

  grpc::Status StreamEvents(grpc::ServerContext* context, const v1::StreamEventsRequest* request,
                            grpc::ServerWriter<v1::Event>* writer) override {
    Streams::Place place = streams_.enter();
    if (!place) return streams_.full();
    // The client learns that it is connected before the first event, which may never come.
    writer->SendInitialMetadata();
    if (!providers_.events) {
      while (place.wait(*context, std::chrono::hours(1))) {
      }
      return place.status();
    }
    std::shared_ptr<EventHub::Listener> listener = providers_.events->listen();
    uint64_t lost = 0;
    while (place.wait(*context, std::chrono::milliseconds(0)) && !listener->closed()) {
      std::optional<EventHub::Taken> taken = listener->next(200'000'000);
      if (!taken) continue;
      lost += taken->lost;
      v1::Event event;
      if (!encode_event(*taken->event, *request, event)) continue;
      event.set_lost(std::exchange(lost, 0));
      if (!writer->Write(event)) return grpc::Status::CANCELLED;
    }
    return place.status();
  }

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::GetStatusResponse* out) override {
    if (!providers_.status) return not_served("its status");
    out->set_json(providers_.status());
    return grpc::Status::OK;
  }

  grpc::Status ListPolicies(grpc::ServerContext*, const v1::ListPoliciesRequest*,
                            v1::ListPoliciesResponse* out) override {
    if (!providers_.policies) return not_served("policies");
    out->set_json(providers_.policies());
    return grpc::Status::OK;
  }

 private:
  // Everything at first, then what has changed and what has ended.
  bool send_changes(const v1::GetMetricsRequest& request, grpc::ServerWriter<v1::ResourceMetrics>* writer,
                    std::map<uint64_t, ResourceSeriesPtr>& sent) {
    std::map<uint64_t, ResourceSeriesPtr> now;
    for (ResourceSeriesPtr& series : providers_.metrics()) now.emplace(series->resource->id, std::move(series));
    for (const auto& [id, series] : now) {
      auto before = sent.find(id);
      if (before != sent.end() && before->second == series) continue;
      v1::ResourceMetrics message;
      if (encode_metrics(*series, request, message) && !writer->Write(message)) return false;
    }
    for (const auto& [id, series] : sent) {
      if (now.contains(id)) continue;
      v1::ResourceMetrics message;
      if (!encode_metrics(*series, request, message)) continue;  // was never sent
      message.clear_metrics();
      message.set_ended(true);
      if (!writer->Write(message)) return false;
    }
    // Kept only to compare with.
    if (request.follow()) sent = std::move(now);
    return true;
  }

  const GrpcProviders& providers_;
  Streams& streams_;
};

class HealthService final : public health::Health::Service {
 public:
  HealthService(const GrpcProviders& providers, Streams& streams) : providers_(providers), streams_(streams) {}

  grpc::Status Check(grpc::ServerContext*, const health::HealthCheckRequest* request,
                     health::HealthCheckResponse* out) override {
    auto status = state_of(request->service());
    if (status == health::HealthCheckResponse::SERVICE_UNKNOWN)
      return {grpc::StatusCode::NOT_FOUND, "known services: \"\", liveness, readiness, sonde.v1.Sonde"};
    out->set_status(status);
    return grpc::Status::OK;
  }

  grpc::Status Watch(grpc::ServerContext* context, const health::HealthCheckRequest* request,
                     grpc::ServerWriter<health::HealthCheckResponse>* writer) override {
    Streams::Place place = streams_.enter();
    if (!place) return streams_.full();
    auto last = health::HealthCheckResponse::UNKNOWN;
    do {
      auto now = state_of(request->service());
      if (now == last) continue;
      last = now;
      health::HealthCheckResponse message;
      message.set_status(now);
      if (!writer->Write(message)) return grpc::Status::CANCELLED;
    } while (place.wait(*context, std::chrono::seconds(1)));
    return place.status();
  }

 private:
  health::HealthCheckResponse::ServingStatus state_of(const std::string& service) const {
    HealthKind kind;
    if (service == "liveness")
      kind = HealthKind::Live;
    else if (service.empty() || service == "readiness" || service == v1::Sonde::service_full_name())
      kind = HealthKind::Ready;
    else
      return health::HealthCheckResponse::SERVICE_UNKNOWN;
    bool ok = !providers_.health || providers_.health->ok(kind);
    return ok ? health::HealthCheckResponse::SERVING : health::HealthCheckResponse::NOT_SERVING;
  }

  const GrpcProviders& providers_;
  Streams& streams_;
};

// gRPC says only that it could not bind, so the port is tried before.
Result<void> try_to_bind(const ListenAddress& address) {
  bool v6 = address.host.find(':') != std::string::npos;
  sockaddr_storage at{};
  socklen_t length = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (v6) {
    auto& to = reinterpret_cast<sockaddr_in6&>(at);
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(address.port);
    inet_pton(AF_INET6, address.host.c_str(), &to.sin6_addr);
  } else {
    auto& to = reinterpret_cast<sockaddr_in&>(at);
    to.sin_family = AF_INET;
    to.sin_port = htons(address.port);
    inet_pton(AF_INET, address.host.c_str(), &to.sin_addr);
  }
  Fd fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), length) != 0)
    return listen_error("the gRPC listener", address, errno);
  return {};
}

Result<ListenAddress> grpc_address(const std::string& text) {
  Result<ListenAddress> address = parse_listen_address(text);
  if (!address) return address.error().with("cannot open the gRPC listener");
  if (address->host.empty() || address->host == "localhost") address->host = "127.0.0.1";
  if (!is_loopback_host(address->host))
    return Error("The gRPC listener exposes all tenants and only opens on loopback, not on " + address->text() +
                 "; use 127.0.0.1:" + std::to_string(address->port) + " and kubectl port-forward");
  Result<void> free = try_to_bind(*address);
  if (!free) return free.error();
  return address;
}

// The path must be free for a new socket; what a killed agent left behind is removed.
Result<void> prepare_socket(const std::string& path) {
  auto refused = [&](const std::string& why) { return Error("Cannot open the gRPC socket " + path + ": " + why); };
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (path.front() != '/') return refused("the path must begin with /");
  if (path.size() >= sizeof at.sun_path) return refused("the path is longer than 107 bytes; use a shorter one");
  std::copy(path.begin(), path.end(), at.sun_path);
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error)
    return refused("its directory cannot be created (" + error.message() + "); create it or choose another path");
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) return refused("the file exists and is not a socket; remove it or choose another path");
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0)
    return refused("another process is using it; stop that process or choose another path");
  ::unlink(path.c_str());
  return {};
}

}  // namespace

class GrpcServer::Impl {
 public:
  Impl(GrpcServerOptions options, GrpcProviders providers)
      : options_(std::move(options)),
        providers_(std::move(providers)),
        streams_(options_.max_streams, options_.max_stream_ns),
        sonde_(providers_, streams_),
        health_(providers_, streams_) {}

  Result<void> start();
  void stop(uint64_t timeout_ns);
  uint16_t port() const { return static_cast<uint16_t>(port_); }

 private:
  const GrpcServerOptions options_;
  const GrpcProviders providers_;
  Streams streams_;
  SondeService sonde_;
  HealthService health_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

Result<void> GrpcServer::Impl::start() {
  grpc::ServerBuilder builder;
  std::string shown;
  if (!options_.address.empty()) {
    Result<ListenAddress> address = grpc_address(options_.address);
    if (!address) return address.error();
    shown = address->text();
    builder.AddListeningPort(shown, grpc::InsecureServerCredentials(), &port_);
  }
  int socket_bound = 1;
  if (!options_.socket.empty()) {
    Result<void> prepared = prepare_socket(options_.socket);
    if (!prepared) return prepared.error();
    builder.AddListeningPort("unix:" + options_.socket, grpc::InsecureServerCredentials(), &socket_bound);
  }
  grpc::ResourceQuota quota("sonde");
  quota.SetMaxThreads(options_.max_streams + 8);
  builder.SetResourceQuota(quota);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
  builder.SetMaxReceiveMessageSize(64 * 1024);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // two agents must not share a port unnoticed
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 64);
  builder.RegisterService(&sonde_);
  builder.RegisterService(&health_);
  server_ = builder.BuildAndStart();
  if (!server_ || (!options_.address.empty() && port_ == 0) || (!options_.socket.empty() && socket_bound == 0)) {
    server_.reset();
    return Error("Cannot open the gRPC listener on " + (shown.empty() ? options_.socket : shown) +
                 ": the address was refused; choose another port or path");
  }
  if (!options_.socket.empty()) ::chmod(options_.socket.c_str(), 0600);
  return {};
}

void GrpcServer::Impl::stop(uint64_t timeout_ns) {
  if (!server_) return;
  streams_.stop();
  if (providers_.events) providers_.events->close();
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::nanoseconds(timeout_ns));
  server_->Wait();
  server_.reset();
  if (!options_.socket.empty()) ::unlink(options_.socket.c_str());
}

GrpcServer::GrpcServer(GrpcServerOptions options, GrpcProviders providers)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(providers))) {}

GrpcServer::~GrpcServer() { stop(); }

Result<void> GrpcServer::start() { return impl_->start(); }

void GrpcServer::stop(uint64_t timeout_ns) { impl_->stop(timeout_ns); }

uint16_t GrpcServer::port() const { return impl_->port(); }

}  // namespace sonde
