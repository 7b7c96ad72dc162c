// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/servers.h"

#include <algorithm>

namespace sonde {
namespace {

Result<std::unique_ptr<HttpServer>> listen(const std::string& address, const char* purpose,
                                           const std::function<void(HttpServer&)>& routes) {
  HttpServerOptions options;
  options.address = address;
  options.purpose = purpose;
  auto server = std::make_unique<HttpServer>(options);
  routes(*server);
  if (auto started = server->start(); !started) return started.error();
  return server;
}

}  // namespace

Result<std::unique_ptr<Servers>> Servers::start(const Config& config, ServerSources sources) {
  std::unique_ptr<Servers> servers(new Servers());
  servers->health_.add(HealthKind::Live, "loop", sources.alive);
  servers->health_.add(HealthKind::Ready, "probes", sources.ready);
  servers->health_.add(HealthKind::Ready, "listeners", [raw = servers.get()]() -> Result<void> {
    return raw->open_ ? Result<void>() : Error("not all listeners are open yet");
  });
  const bool pulled = std::ranges::find(config.exports.to, ExportKind::Prometheus) != config.exports.to.end();
  if (!config.listen.http.empty()) {
    auto server = listen(config.listen.http, "public", [&](HttpServer& http) {
      serve_health(http, servers->health_);
      if (pulled) serve_metrics(http, *sources.metrics);
    });
    if (!server) return server.error();
    servers->everyone_ = std::move(*server);
    servers->addresses_.push_back(servers->everyone_->address() + (pulled ? " (health, metrics)" : " (health)"));
  }
  if (!config.listen.http_local.empty()) {
    const std::string address =
        (config.listen.http_local.starts_with(':') ? "127.0.0.1" : "") + config.listen.http_local;
    auto server = listen(address, "local", [&](HttpServer& http) {
      serve_health(http, servers->health_);
      serve_metrics(http, *sources.metrics);
      serve_json(http, "/statusz", sources.status);
      serve_json(http, "/pods", sources.pods);
      serve_json(http, "/report", sources.report);
      serve_json(http, "/policies", sources.policies);
      http.route("/explain", [explain = sources.explain](const WebRequest& request) {
        if (!request.has("pod")) return WebReply{.status = 400, .body = "Ask for /explain?pod=namespace/name\n"};
        return WebReply{.content_type = "application/json",
                        .body = explain(std::string(request.get("pod")), std::string(request.get("container")))};
      });
      serve_index(http, {{"/statusz", "state of the agent"},
                         {"/pods", "pods, containers, cgroups, processes"},
                         {"/report", "the latest values"},
                         {"/policies", "the policies in force"},
                         {"/explain", "?pod=namespace/name: how it is measured, and why"},
                         {"/metrics", "Prometheus and OpenMetrics"},
                         {"/livez", "liveness"},
                         {"/readyz", "readiness"}});
    });
    if (!server) return server.error();
    servers->local_ = std::move(*server);
    servers->addresses_.push_back(servers->local_->address() + " (status, metrics)");
  }
  if (!config.listen.grpc.empty() || !config.listen.unix_socket.empty()) {
    GrpcServerOptions options;
    options.address = config.listen.grpc;
    options.socket = config.listen.unix_socket;
    GrpcProviders providers;
    providers.metrics = [metrics = sources.metrics] { return metrics->snapshot(); };
    providers.status = sources.status;
    providers.policies = sources.policies;
    providers.health = &servers->health_;
    providers.events = &servers->events_;
    servers->grpc_ = std::make_unique<GrpcServer>(options, std::move(providers));
    if (auto started = servers->grpc_->start(); !started) return started.error();
    if (!options.address.empty()) servers->addresses_.push_back("grpc://" + options.address);
    if (!options.socket.empty()) servers->addresses_.push_back("unix:" + options.socket);
  }
  servers->open_ = true;
  return servers;
}

Servers::~Servers() {
  not_ready();
  events_.close();
  if (grpc_) grpc_->stop();
  if (everyone_) everyone_->stop();
  if (local_) local_->stop();
}

void Servers::not_ready() { health_.shutting_down(); }

std::vector<std::string> Servers::addresses() const { return addresses_; }

}  // namespace sonde
