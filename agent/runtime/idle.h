// SPDX-License-Identifier: Apache-2.0
// The agent on a node that cannot or must not be measured (obstacle.h): live, not ready, and reporting why, so that
// Kubernetes does not restart it repeatedly. It serves /livez, /readyz, /statusz and gRPC, writes the SondeNode,
// and follows policies, which count as failed here. It checks again regularly: the node may be fixed in the meantime.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "agent/base/doorbell.h"
#include "agent/base/mutex.h"
#include "agent/config/config.h"
#include "agent/export/prometheus_exporter.h"
#include "agent/kube/cluster.h"
#include "agent/runtime/obstacle.h"
#include "agent/runtime/policies.h"
#include "agent/runtime/servers.h"
#include "agent/runtime/service.h"

namespace sonde {

struct IdleOptions {
  Config config;
  GetEnv env = process_environment();
  Obstacle obstacle;
  uint64_t look_every_ns = 60'000'000'000;
  std::function<std::optional<Obstacle>(const Config&)> look = find_obstacle;
};

class Idle final : public Service {
 public:
  enum class End : uint8_t { Stopped, CanMeasure };

  static Result<std::unique_ptr<Idle>> start(IdleOptions options);
  ~Idle() override;

  // Runs until stop(), for the configured duration, or until the obstacle is gone.
  End run();
  void stop() override;
  void hurry() override;  // looks now

  // From any thread.
  std::shared_ptr<const Status> status() const override;
  std::vector<std::string> addresses() const;  // of its listeners

 private:
  explicit Idle(IdleOptions options);
  Result<void> begin();
  Result<void> serve();
  void say() const;
  bool look();             // true: no obstacle
  bool follow_policies();  // true: they changed
  bool may_judge() const;
  std::optional<Obstacle> find() const;
  void wait(uint64_t until_ns);
  Obstacle obstacle() const;

  IdleOptions options_;
  Doorbell doorbell_;
  std::atomic<bool> stopping_{false}, hurried_{false};
  std::atomic<uint64_t> alive_ns_{0};
  uint64_t started_ns_ = 0;
  uint64_t next_look_ns_ = 0;
  uint64_t next_tell_ns_ = 0;
  uint64_t cluster_policies_ = 0;  // version in use
  mutable Mutex mutex_;
  Obstacle obstacle_ SONDE_GUARDED_BY(mutex_);
  std::unique_ptr<Policies> policies_ SONDE_PT_GUARDED_BY(mutex_);
  PrometheusExporter metrics_;  // always empty
  std::unique_ptr<kube::Cluster> cluster_;
  std::unique_ptr<Servers> servers_;
};

}  // namespace sonde
