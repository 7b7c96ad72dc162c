// SPDX-License-Identifier: Apache-2.0
// What the agent follows at the API server: the policies, and the labels of its node and of the namespaces of its pods.
// Threads of its own; the agent's loop is woken and takes what is new. Nothing here blocks it.
//
// Needs: get, list, watch of monitorpolicies, clustermonitorpolicies and nodes; get of namespaces; and what report_writer.h says.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/mutex.h"
#include "agent/base/worker.h"
#include "agent/kube/api_client.h"
#include "agent/kube/pod_table.h"
#include "agent/kube/reflector.h"
#include "agent/kube/report_writer.h"

namespace sonde::kube {

struct ClusterOptions {
  ApiOptions api;
  std::string node_name;
  PodTable* pods = nullptr;       // told the labels of the namespaces that its pods are in; null: nobody wants them
  std::string cache_file;         // policies are kept here for a start without API server; empty: not kept
  uint64_t first_delay_ns = 0;    // see ReflectorOptions
  bool report = true;             // write the SondeNode; else one of before is removed
  std::function<void()> changed;  // something new; from any thread
};

// Objects of one kind by "namespace/name". A change of status alone is kept and not told: it is what the operator writes,
// of all policies again and again.
class ObjectStore final : public ObjectSink {
 public:
  struct Object {
    std::string json;
    std::string uid;
    std::map<std::string, std::string> labels;
    uint64_t desired_nodes = 0;  // as the operator has told in the status of a policy
    std::string substance;       // who it is and what was asked of it
  };
  using Objects = std::map<std::string, Object>;

  explicit ObjectStore(std::function<void()> changed) : changed_(std::move(changed)) {}
  void begin() override { listing_.clear(); }
  void listed(const std::string& key, const nlohmann::json& object) override;
  void replace() override;
  void put(const std::string& key, const nlohmann::json& object) override;
  void remove(const std::string& key) override;

  Objects objects() const;
  uint64_t version() const { return version_.load(std::memory_order_relaxed); }

 private:
  void tell();
  std::function<void()> changed_;
  Objects listing_;  // the reflector's thread's
  mutable Mutex mutex_;
  Objects objects_ SONDE_GUARDED_BY(mutex_);
  std::atomic<uint64_t> version_{0};
};

struct FollowedStats {
  std::string what;  // node, clustermonitorpolicies, monitorpolicies
  ReflectorStats stats;
};

class Cluster {
 public:
  explicit Cluster(ClusterOptions options);
  ~Cluster();

  void start();

  // Changes whenever policies() would give something else.
  uint64_t policies_version() const;
  // As JSON; those of the last run until the API server has answered once.
  std::vector<std::string> policies() const;
  bool policies_from_cache() const;
  uint64_t node_version() const { return node_.version(); }
  std::map<std::string, std::string> node_labels() const;
  std::vector<FollowedStats> stats() const;

  // What the node's SondeNode is to say; at once, and nothing if reports are off.
  void report(NodeReport report);
  std::optional<ReportWriterStats> report_stats() const;  // none if they are off

 private:
  struct Followed {
    std::string what;
    std::unique_ptr<Reflector> reflector;
  };

  void follow(std::string what, std::string path, std::string query, ObjectSink& sink);
  void look_after();  // the thread for namespaces and the cache
  void read_namespaces();
  void write_cache();
  void read_cache();
  void remove_old_report();
  uint64_t nodes_told() const;

  ClusterOptions options_;
  ApiClient client_;
  ObjectStore node_, cluster_policies_, policies_;
  std::map<std::string, uint64_t> namespaces_read_;  // name → when
  std::vector<std::string> cached_;
  uint64_t cache_written_ = 0;  // policies_version() of the file
  std::vector<Followed> followed_;
  std::unique_ptr<ReportWriter> writer_;
  bool report_removed_ = false;
  uint64_t next_removal_ns_ = 0;
  uint64_t nodes_told_ = 0;  // by the loop
  uint64_t next_told_ns_ = 0;
  Worker worker_;
};

}  // namespace sonde::kube
