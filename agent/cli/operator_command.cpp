// SPDX-License-Identifier: Apache-2.0
// `sonde operator`: what the agents report, as the status of each policy.
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "agent/api/endpoints.h"
#include "agent/api/http_pool.h"
#include "agent/base/file.h"
#include "agent/base/text.h"
#include "agent/cli/cluster_commands.h"
#include "agent/operator/operator.h"

namespace sonde::cli {
namespace {

constexpr const char* kNamespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

operators::Operator* running_operator = nullptr;

void on_operator_signal(int) {
  if (running_operator) running_operator->stop();
}

struct OperatorFlags {
  std::string api_server = "auto";
  std::string token_file, ca_file;
  std::string space;  // of the Lease
  std::string lease = "sonde-operator";
  std::string identity;
  std::string listen = "[::]:18080";
  LogConfig log;
};

std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? value : "";
}

std::string own_namespace() {
  if (std::string name = variable("POD_NAMESPACE"); !name.empty()) return name;
  auto name = read_small_file(kNamespaceFile);
  return name ? std::string(trim(*name)) : "default";
}

std::string own_identity() {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  std::string name = variable("POD_NAME");
  if (name.empty()) name = host;
  return name + "_" + std::to_string(getpid());
}

// The error says what to write instead.
Result<operators::OperatorOptions> options_of(const OperatorFlags& flags) {
  operators::OperatorOptions options;
  if (flags.api_server == "auto")
    options.api = kube::in_cluster(variable);
  else
    options.api.url = flags.api_server;
  if (options.api.url.empty()) {
    return Error("not running in a pod: set --api-server https://host:6443, --api-token-file and --api-ca");
  }
  if (!flags.token_file.empty()) options.api.token_file = flags.token_file;
  if (!flags.ca_file.empty()) options.api.ca_file = flags.ca_file;
  if (!options.api.url.starts_with("https://") &&
      (!options.api.url.starts_with("http://") || !options.api.token_file.empty())) {
    return Error(
        "--api-server must be auto or a URL like https://host:6443 (a token is not sent over plain HTTP), not '" +
        options.api.url + "'");
  }
  options.api.user_agent = "sonde-operator/" SONDE_VERSION " (linux)";
  options.lease.namespace_name = flags.space.empty() ? own_namespace() : flags.space;
  options.lease.name = flags.lease;
  options.lease.identity = flags.identity.empty() ? own_identity() : flags.identity;
  return options;
}

void run_operator(const OperatorFlags& flags, Context& context) {
  log_to_stderr();
  set_up_log(flags.log);
  auto options = options_of(flags);
  if (!options) return context.fail(options.error().message());
  limit_http_pool();
  spdlog::info("Sonde operator {}, {}, candidate {} for {}/{}", SONDE_VERSION, options->api.url,
               options->lease.identity, options->lease.namespace_name, options->lease.name);
  operators::Operator here(std::move(*options));
  HealthChecks health;
  health.add(HealthKind::Live, "loop", [&] { return here.alive(); });
  health.add(HealthKind::Ready, "watches", [&] { return here.ready(); });
  HttpServerOptions listener;
  listener.address = flags.listen;
  listener.purpose = "operator's";
  HttpServer server(listener);
  serve_health(server, health);
  server.route("/metrics", [&](const WebRequest&) {
    return WebReply{.content_type = "text/plain; version=0.0.4; charset=utf-8",
                    .body = operators::metrics_text(here.stats())};
  });
  if (!flags.listen.empty()) {
    if (auto started = server.start(); !started) return context.fail(started.error().message(), kFailed);
    spdlog::info("listening on {} (health, metrics)", server.address());
  }
  running_operator = &here;
  struct sigaction action {};
  action.sa_handler = on_operator_signal;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  here.run();
  health.shutting_down();
  running_operator = nullptr;
  server.stop();
}

}  // namespace

void add_operator_command(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("operator",
                                     "Run the operator: write policy status from the agents' reports; runs in a "
                                     "cluster");
  auto flags = std::make_shared<OperatorFlags>();
  command->add_option("--api-server", flags->api_server, "auto (the cluster of this pod) or a URL")
      ->check(not_empty)
      ->default_str(flags->api_server);
  command->add_option("--api-token-file", flags->token_file, "Token, read for each request; default: the pod's own");
  command->add_option("--api-ca", flags->ca_file, "CA of the API server's certificate; default: the pod's own");
  command->add_option("--namespace", flags->space, "Namespace of the Lease; default: POD_NAMESPACE, or the pod's own");
  command->add_option("--lease", flags->lease, "Name of the Lease for leader election")
      ->check(not_empty)
      ->default_str(flags->lease);
  command->add_option("--identity", flags->identity, "Holder identity; default: POD_NAME and the process id");
  command->add_option("--http", flags->listen, "Address for /livez, /readyz and /metrics; empty: off")
      ->default_str(flags->listen);
  command->add_option("--log-level", flags->log.level, "trace, debug, info, warn, error or off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
      ->default_str(flags->log.level);
  command->callback([flags, &context] { run_operator(*flags, context); });
}

}  // namespace sonde::cli
