// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/idle.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/http_pool.h"
#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/base/json.h"
#include "agent/runtime/cluster_options.h"
#include "agent/runtime/idle_reports.h"
#include "agent/runtime/status.h"

namespace sonde {
namespace {

constexpr uint64_t kIdleTellEvery = 2 * kSecond;
constexpr uint64_t kIdleStuckAfter = 60 * kSecond;

}  // namespace

Idle::Idle(IdleOptions options) : options_(std::move(options)), obstacle_(options_.obstacle) {}

Idle::~Idle() { servers_.reset(); }  // first: its handlers ask the rest

Result<std::unique_ptr<Idle>> Idle::start(IdleOptions options) {
  std::unique_ptr<Idle> idle(new Idle(std::move(options)));
  if (auto begun = idle->begin(); !begun) return begun.error();
  return idle;
}

Result<void> Idle::begin() {
  started_ns_ = boottime_ns();
  alive_ns_ = started_ns_;
  next_look_ns_ = started_ns_ + options_.look_every_ns;
  auto policies = Policies::open(options_.config);
  if (!policies) return policies.error();
  policies_ = std::move(*policies);
  auto cluster = cluster_options(options_.config, options_.env);
  if (!cluster.api.url.empty()) {
    cluster.changed = [this] { doorbell_.ring(); };
    limit_http_pool();
    cluster_ = std::make_unique<kube::Cluster>(std::move(cluster));
    cluster_->start();
    const MutexLock lock(mutex_);
    policies_->set_objects(cluster_->policies());  // of the last run
  }
  if (auto served = serve(); !served) return served;
  say();
  return {};
}

Result<void> Idle::serve() {
  ServerSources sources;
  sources.metrics = &metrics_;
  sources.status = [this] { return status_json(); };
  sources.pods = [] { return std::string("[]"); };
  sources.report = [] { return std::string("[]"); };
  sources.policies = [this] { return policies_json(); };
  sources.explain = [](const std::string& pod, const std::string&) {
    return json_text(nlohmann::ordered_json{{"pod", pod}, {"containers", nlohmann::ordered_json::array()}});
  };
  sources.alive = [this]() -> Result<void> {
    if (boottime_ns() - alive_ns_ < kIdleStuckAfter) return {};
    return Error("the agent's loop has been stuck for a minute");
  };
  sources.ready = [this]() -> Result<void> {
    const Obstacle now = obstacle();
    if (is_wanted(now)) return {};
    return Error("this node cannot be measured (" + now.reason + "): " + now.message);
  };
  auto servers = Servers::start(options_.config, std::move(sources));
  if (!servers) return servers.error();
  servers_ = std::move(*servers);
  return {};
}

void Idle::say() const {
  const Obstacle now = obstacle();
  if (is_wanted(now)) return spdlog::info("{}; the agent goes idle", now.message);
  spdlog::error("this node cannot be measured ({}): {}. The agent is idle and checks again every {} s", now.reason,
                now.message, options_.look_every_ns / kSecond);
}

Idle::End Idle::run() {
  const uint64_t duration = options_.config.duration_ns;
  const uint64_t end_ns = duration ? started_ns_ + duration : UINT64_MAX;
  while (!stopping_) {
    const uint64_t now = boottime_ns();
    alive_ns_ = now;
    if (now >= end_ns) break;
    if (hurried_.exchange(false) || now >= next_look_ns_) {
      next_look_ns_ = now + options_.look_every_ns;
      if (look()) return End::CanMeasure;
    }
    if (follow_policies() && is_wanted(obstacle()) && may_judge() && look()) return End::CanMeasure;
    if (cluster_ && now >= next_tell_ns_) {
      next_tell_ns_ = now + kIdleTellEvery;
      const MutexLock lock(mutex_);
      cluster_->report(idle_report(obstacle_, *policies_, cluster_->node_labels()));
    }
    wait(std::min({end_ns, next_look_ns_, now + kSecond}));
  }
  return End::Stopped;
}

bool Idle::look() {
  auto found = find();
  if (!found) {
    spdlog::info("the obstacle is gone: the agent starts measuring");
    return true;
  }
  {
    const MutexLock lock(mutex_);
    if (obstacle_ == *found) return false;
    obstacle_ = std::move(*found);
  }
  say();
  return false;
}

// What policies say comes first: where everything is excluded nothing is tried.
std::optional<Obstacle> Idle::find() const {
  {
    const MutexLock lock(mutex_);
    ResolveContext context = options_.config.resolve_context(cluster_ != nullptr, realtime_ns());
    if (cluster_) context.node_labels = cluster_->node_labels();
    const std::vector<Policy> all = policies_->all();
    if (const Policy* by = excludes_all(all, context)) return exclusion(display_name(*by));
    if (!may_judge() && is_wanted(obstacle_)) return obstacle_;
  }
  return options_.look(options_.config);
}

// The API server has told its policies and the labels of the node: a missing Exclude is none.
bool Idle::may_judge() const { return !cluster_ || (cluster_->policies_version() > 0 && cluster_->node_version() > 0); }

bool Idle::follow_policies() {
  const MutexLock lock(mutex_);
  bool changed = policies_->refresh();
  if (!cluster_) return changed;
  const uint64_t version = cluster_->policies_version();
  if (version == cluster_policies_) return changed;
  cluster_policies_ = version;
  policies_->set_objects(cluster_->policies());
  return true;
}

void Idle::wait(uint64_t until_ns) {
  const uint64_t now = boottime_ns();
  pollfd event{doorbell_.fd(), POLLIN, 0};
  const uint64_t left = until_ns > now ? until_ns - now : 0;
  if (poll(&event, 1, static_cast<int>((left + kMillisecond - 1) / kMillisecond)) <= 0) return;
  doorbell_.hush();
}

void Idle::stop() {
  stopping_ = true;
  doorbell_.ring();
}

void Idle::hurry() {
  hurried_ = true;
  doorbell_.ring();
}

Obstacle Idle::obstacle() const {
  const MutexLock lock(mutex_);
  return obstacle_;
}

std::shared_ptr<const Status> Idle::status() const {
  const MutexLock lock(mutex_);
  return std::make_shared<const Status>(
      idle_status(options_.config, obstacle_, *policies_, cluster_.get(), started_ns_));
}

std::vector<std::string> Idle::addresses() const {
  return servers_ ? servers_->addresses() : std::vector<std::string>();
}

}  // namespace sonde
