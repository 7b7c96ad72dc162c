// SPDX-License-Identifier: Apache-2.0
// The agent: one loop for control and data (so that no collection sees half of a policy change), a thread for the
// exporters, and the servers' threads. Start, run, stop.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/base/clock.h"
#include "agent/base/doorbell.h"
#include "agent/base/fd.h"
#include "agent/base/mutex.h"
#include "agent/base/result.h"
#include "agent/config/config.h"
#include "agent/functions/functions.h"
#include "agent/identity/members.h"
#include "agent/kernel/engine.h"
#include "agent/kube/cluster.h"
#include "agent/kube/pod_sources.h"
#include "agent/pipeline/aggregator.h"
#include "agent/pipeline/self_metrics.h"
#include "agent/runtime/boot_guard.h"
#include "agent/runtime/control.h"
#include "agent/runtime/failures.h"
#include "agent/runtime/fullness.h"
#include "agent/runtime/outputs.h"
#include "agent/runtime/overhead.h"
#include "agent/runtime/policies.h"
#include "agent/runtime/sandboxed.h"
#include "agent/runtime/series_limit.h"
#include "agent/runtime/servers.h"
#include "agent/runtime/service.h"
#include "agent/runtime/span_feed.h"
#include "agent/runtime/write_turn.h"

namespace sonde {

struct Rules;
struct Served;
struct Status;
struct StatusSources;

struct AgentOptions {
  LoadedConfig loaded;
  ConfigInputs inputs;      // to read the configuration again on hurry()
  bool servers = true;      // HTTP and gRPC
  bool greet = true;        // the start-up lines in the log
  bool may_leave = false;   // run() ends when a policy excludes everything
  std::string alternative;  // see EngineOptions
  std::string break_program;
  std::set<std::string> disabled_modules;  // likewise
  std::function<std::string(std::string_view)> fault;
  BackoffOptions backoff;
  std::vector<SpanSink*> span_sinks;  // besides the exporters; must outlive the agent
};

class Agent final : public Service {
 public:
  static Result<std::unique_ptr<Agent>> start(AgentOptions options);
  ~Agent() override;

  enum class End : uint8_t { Stopped, Excluded };

  // Runs until stop() or for the configured duration, then flushes. Excluded: the policy excluded_by() excludes everything on
  // this node, and all programs are detached; if the policy existed before, nothing was loaded at all.
  End run();
  const std::string& excluded_by() const { return excluded_by_; }
  void stop() override;
  void hurry() override;  // reloads the configuration

  // From any thread. The loop produces the status on request, at most twice a second.
  std::vector<ResourceSeriesPtr> newest() const { return outputs_->newest().snapshot(); }
  std::shared_ptr<const Status> status() const override;
  std::string pods_json() const;
  std::string explain_json(const std::string& pod, const std::string& container) const;
  IdentitySnapshotPtr identity() const;

 private:
  explicit Agent(AgentOptions options);
  Result<void> begin();
  EngineOptions engine_options() const;
  AggregatorOptions aggregator_options(const std::string& host) const;
  void add_self_metrics();
  void greet() const;

  uint64_t wait_ns(uint64_t now) const;
  void wait(uint64_t timeout_ns);
  void follow_policies(bool force);
  Result<void> join_cluster();
  Result<void> follow_pods(const std::string& node_name, const kube::ApiOptions& api);
  NamesStats names_stats() const;
  SpanStats span_stats() const;
  void follow_spans(uint64_t now);
  bool follow_cluster();
  ResolveContext resolve_context() const;
  void note_exclusion(const std::vector<Policy>& policies, const ResolveContext& context);
  bool may_leave(uint64_t now) const;
  void tell_cluster(uint64_t now);
  StatusSources status_sources() const;
  enum class Rows : uint8_t { All, Released };
  CollectStats read_rows(Rows rows);
  void collect(bool everything);
  bool may_write() const { return counting_.ours() && writing_.ours(); }
  void follow_turns(uint64_t now);
  void follow_periods(uint64_t now);
  void warn_of_turns(std::vector<std::string>& warnings) const;
  void watch_programs(uint64_t now);
  void collect_released();
  void obey_steps(uint64_t now);
  void settle();  // after a collection: moves slots on that are ending
  void do_reload();
  void publish_status();
  void publish_served();
  uint32_t clear_mask() const;

  AgentOptions options_;
  Config& config_ = options_.loaded.config;
  Fd epoll_;
  Doorbell doorbell_;  // of stop(), hurry() and whoever wants a status
  std::atomic<bool> stopping_{false}, reloading_{false};

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<SelfMetrics> self_;
  std::unique_ptr<Outputs> outputs_;
  std::unique_ptr<Aggregator> aggregator_;
  std::unique_ptr<SpanFeed> spans_;
  std::unique_ptr<kube::PodTable> pods_;  // none if only cgroup paths are used
  std::unique_ptr<kube::PodSources> pod_sources_;
  std::unique_ptr<kube::Cluster> cluster_;  // none outside Kubernetes
  uint64_t cluster_policies_ = 0;           // versions in force
  uint64_t cluster_node_ = 0;
  std::unique_ptr<Control> control_;
  std::unique_ptr<Functions> functions_;
  std::unique_ptr<Overhead> overhead_;
  std::unique_ptr<Policies> policies_;
  std::string excluded_by_;  // empty: none
  uint64_t leave_ns_ = 0;    // by then the last counts of unselected subjects are in; 0: nothing is excluded
  BootGuard guard_{{.directory = config_.state_directory}};
  SeriesLimit series_limit_;
  std::unique_ptr<Failures> failures_;
  Fullness fullness_{realtime_ns()};
  std::unique_ptr<Servers> servers_;
  // An agent that this one replaces releases the first when it has finished counting, and the second when everything
  // has been sent.
  WriteTurn counting_, writing_;

  uint64_t started_ns_ = 0;  // CLOCK_BOOTTIME
  uint64_t end_ns_ = 0;
  uint64_t next_collect_ns_ = 0;
  uint64_t next_released_ns_ = 0;
  uint64_t next_watch_ns_ = 0;
  uint64_t next_policies_ns_ = 0;
  uint64_t next_tell_ns_ = 0;
  std::atomic<uint64_t> alive_ns_{0};  // last iteration of the loop
  CollectStats last_collect_;
  uint64_t collections_ = 0;  // regular ones, without those of ended subjects

  std::atomic<bool> turning_{false};  // the loop
  mutable std::atomic<bool> status_wanted_{false};
  mutable Mutex published_;
  mutable Condition status_ready_;
  uint64_t status_made_ns_ SONDE_GUARDED_BY(published_) = 0;
  std::shared_ptr<const Status> status_ SONDE_GUARDED_BY(published_);
  std::shared_ptr<const Served> served_ SONDE_GUARDED_BY(published_);
  std::shared_ptr<const Rules> rules_;           // the loop's
  std::shared_ptr<const PolicySnapshot> timed_;  // the decisions whose periods next_collect_ns_ respects
  // Values from the start, also after a reload: servers read them.
  std::string cgroup_root_, proc_root_;
  const Enricher* names_ = nullptr;
  std::optional<Members> members_;
  std::optional<Sandboxed> sandboxed_;
};

}  // namespace sonde
