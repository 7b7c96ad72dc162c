// SPDX-License-Identifier: Apache-2.0
// `sonde operator`: watches policies and the agents' SondeNodes, and writes the status of each policy.
// Several replicas may run; the leader writes.
//
// Needs: get, list, watch on sondenodes, monitorpolicies, clustermonitorpolicies and nodes (only their
// metadata); patch on the policies' status; create, patch on events in events.k8s.io; and the rights listed in lease.h.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "agent/base/mutex.h"
#include "agent/base/result.h"
#include "agent/kube/lease.h"
#include "agent/operator/events.h"
#include "agent/operator/objects.h"

namespace sonde::operators {

struct OperatorOptions {
  kube::ApiOptions api;
  kube::LeaseOptions lease;
};

struct OperatorStats {
  bool leads = false;
  uint64_t policies = 0, reports = 0;
  uint64_t writes = 0, write_failures = 0;
  uint64_t events = 0, event_failures = 0, events_dropped = 0;
  uint64_t turns = 0;  // aggregations
  double last_turn_seconds = 0;
  uint64_t lease_failures = 0;
  uint64_t watch_failures = 0;
};
// In the Prometheus text format.
std::string metrics_text(const OperatorStats& stats);

class Operator {
 public:
  explicit Operator(OperatorOptions options);
  ~Operator();

  void run();   // until stop()
  void stop();  // from any thread or signal handler

  // Any thread.
  Result<void> alive() const;
  Result<void> ready() const;  // everything has been listed once
  OperatorStats stats() const;

 private:
  struct Written {
    PolicyStatusDocument status;  // as last sent
    uint64_t wrote_ns = 0;        // 0: not by this leader
    int64_t generation = 0;       // as last seen
    std::string uid;
    uint64_t since_ns = 0;  // when this generation was first seen
    uint64_t retry_ns = 0;
    bool looked = false;
  };
  void follow(kube::ApiClient& client, const char* path, kube::ObjectSink& sink);
  void wait();
  void turn();
  bool consider(const std::string& key, const PolicyFacts& facts, Evidence evidence);
  static bool may_write(const Written& written, uint64_t now_ns);
  void write(const std::string& key, const PolicyFacts& facts, const PolicyStatusDocument& wanted, Written& written);
  void send_events();

  OperatorOptions options_;
  kube::ApiClient client_, nodes_client_;
  std::atomic<bool> changed_{true}, stopping_{false};
  Store<PolicyFacts> cluster_policies_, policies_;
  Store<kube::NodeReport> reports_;
  Store<Labels> nodes_;
  std::vector<std::unique_ptr<kube::Reflector>> reflectors_;
  kube::LeaderElection election_;
  std::map<std::string, Written> written_;  // by kind and key
  EventLog events_;
  uint64_t next_turn_ns_ = 0;
  uint64_t writes_left_ = 0;  // of this turn
  std::atomic<uint64_t> alive_ns_;
  mutable Mutex mutex_;
  OperatorStats stats_ SONDE_GUARDED_BY(mutex_);
};

}  // namespace sonde::operators
