// SPDX-License-Identifier: Apache-2.0
#include "agent/operator/operator.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "agent/base/clock.h"
#include "agent/base/duration.h"

namespace sonde::operators {
namespace {

constexpr const char* kApi = "/apis/sonde.dev/v1alpha1/";
constexpr uint64_t kTimeout = 10 * kSecond;
constexpr uint64_t kStep = 100 * kMillisecond;   // so long a stop or a change may go unseen
constexpr uint64_t kTurnEvery = kSecond;         // aggregations, while things change
constexpr uint64_t kTurnAnyway = 5 * kSecond;    // patience and limits end without anybody telling
constexpr uint64_t kWriteEvery = 10 * kSecond;   // of one policy: each write is told to all agents
constexpr uint64_t kCountsEvery = 30 * kSecond;  // of counts of containers alone; 60 ms more for each node
constexpr uint64_t kLongestCounts = 600 * kSecond;
constexpr uint64_t kFirstWait = 4 * kSecond;   // for agents to tell of a new generation before it is written
constexpr uint64_t kPatience = 120 * kSecond;  // then nodes that have not told do not keep a policy un-Ready
constexpr uint64_t kRetry = 5 * kSecond;
constexpr uint64_t kWritesPerTurn = 20;
constexpr uint64_t kStuckAfter = 60 * kSecond;
constexpr int kNotFound = 404;

kube::ApiOptions of_metadata(kube::ApiOptions options) {
  options.metadata_only = true;
  return options;
}

std::string path_of(const PolicyFacts& facts) {
  const std::string space = facts.namespace_name.empty() ? "" : "namespaces/" + facts.namespace_name + "/";
  const char* plural = facts.kind == "MonitorPolicy" ? "monitorpolicies/" : "clustermonitorpolicies/";
  return kApi + space + plural + facts.name + "/status?fieldManager=sonde-operator";
}

using Index = std::map<std::string, std::vector<Reported>>;

}  // namespace

std::string metrics_text(const OperatorStats& stats) {
  std::string text;
  const auto add = [&](const char* name, const char* type, const char* help, auto value, const char* label = "") {
    if (text.find(fmt::format("# TYPE {} ", name)) == std::string::npos) {
      text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
    }
    text += fmt::format("{}{} {}\n", name, label, value);
  };
  add("sonde_operator_leader", "gauge", "1 if this replica is the leader", stats.leads ? 1 : 0);
  add("sonde_operator_policies", "gauge", "Policies being watched", stats.policies);
  add("sonde_operator_nodes", "gauge", "Nodes whose agents report", stats.reports);
  add("sonde_operator_status_writes_total", "counter", "Writes of policy status", stats.writes, "{result=\"ok\"}");
  add("sonde_operator_status_writes_total", "counter", "", stats.write_failures, "{result=\"failed\"}");
  add("sonde_operator_events_total", "counter", "Events sent", stats.events, "{result=\"ok\"}");
  add("sonde_operator_events_total", "counter", "", stats.event_failures, "{result=\"failed\"}");
  add("sonde_operator_events_total", "counter", "", stats.events_dropped, "{result=\"dropped\"}");
  add("sonde_operator_turns_total", "counter", "Aggregations", stats.turns);
  add("sonde_operator_turn_duration_seconds", "gauge", "Duration of the last aggregation and its writes",
      stats.last_turn_seconds);
  add("sonde_operator_lease_failures_total", "counter", "Failed requests for the Lease", stats.lease_failures);
  add("sonde_operator_watch_failures_total", "counter", "Failed lists and watches", stats.watch_failures);
  add("sonde_build_info", "gauge", "Version", 1, "{version=\"" SONDE_VERSION "\"}");
  return text;
}

Operator::Operator(OperatorOptions options)
    : options_(std::move(options)),
      client_(options_.api),
      nodes_client_(of_metadata(options_.api)),
      cluster_policies_(read_policy, [this] { changed_ = true; }),
      policies_(read_policy, [this] { changed_ = true; }),
      reports_(read_report, [this] { changed_ = true; }),
      nodes_(read_labels, [this] { changed_ = true; }),
      election_(client_, options_.lease),
      alive_ns_(boottime_ns()) {
  follow(client_, "/apis/sonde.dev/v1alpha1/clustermonitorpolicies", cluster_policies_);
  follow(client_, "/apis/sonde.dev/v1alpha1/monitorpolicies", policies_);
  follow(client_, "/apis/sonde.dev/v1alpha1/sondenodes", reports_);
  follow(nodes_client_, "/api/v1/nodes", nodes_);
}

Operator::~Operator() {
  client_.stop();
  nodes_client_.stop();
  reflectors_.clear();
}

void Operator::follow(kube::ApiClient& client, const char* path, kube::ObjectSink& sink) {
  kube::ReflectorOptions reflector;
  reflector.path = path;
  reflectors_.push_back(std::make_unique<kube::Reflector>(client, std::move(reflector), sink));
}

void Operator::run() {
  for (auto& reflector : reflectors_) reflector->start();
  election_.start();
  while (!stopping_) {
    wait();
    alive_ns_ = boottime_ns();
    if (stopping_) break;
    if (!election_.leads() || !ready()) {
      written_.clear();  // what another one writes meanwhile is read again
      continue;
    }
    turn();
  }
  election_.release();
}

void Operator::stop() { stopping_ = true; }

void Operator::wait() {
  const uint64_t begin = boottime_ns();
  for (;;) {
    std::this_thread::sleep_for(std::chrono::nanoseconds(kStep));
    const uint64_t now = boottime_ns();
    alive_ns_ = now;
    if (stopping_ || now >= begin + kTurnAnyway) return;
    if (changed_ && now >= next_turn_ns_) return;
  }
}

void Operator::turn() {
  changed_ = false;
  const uint64_t begin = boottime_ns();
  next_turn_ns_ = begin + kTurnEvery;
  writes_left_ = kWritesPerTurn;
  const auto reports = reports_.all();
  const auto nodes = nodes_.all();
  Index index;
  std::vector<std::string> without_room;  // nodes that do not tell of all policies; hardly ever one
  for (const auto& [key, report] : reports) {
    if (report->omitted_policies > 0) without_room.push_back(key);
    for (const auto& entry : report->policies) {
      index[entry.namespace_name + "/" + entry.name].push_back({std::string_view(key).substr(1), &entry});
    }
  }
  std::map<std::string, Written> still;
  bool all = true;
  for (const auto* store : {&cluster_policies_, &policies_}) {
    for (const auto& [key, facts] : store->all()) {
      if (auto known = written_.extract(key)) still.insert(std::move(known));
    }
  }
  for (const auto& [key, gone] : written_) events_.forget(key);
  written_ = std::move(still);
  for (const auto* store : {&cluster_policies_, &policies_}) {
    for (const auto& [key, facts] : store->all()) {
      if (stopping_ || !election_.leads()) return;
      Evidence evidence;
      evidence.reported = index[key];
      for (const std::string& node : without_room) {
        const auto labels = nodes.find(node);
        const bool asked =
            !facts->node_selector || (labels != nodes.end() && facts->node_selector->matches(*labels->second));
        const bool told = std::ranges::find(evidence.reported, std::string_view(node).substr(1), &Reported::node) !=
                          evidence.reported.end();
        evidence.without_room += asked && !told;
      }
      if (!facts->node_selector) {
        evidence.nodes = static_cast<uint32_t>(reports.size());
      } else {
        for (const auto& [node, labels] : nodes) {
          evidence.nodes += reports.contains(node) && facts->node_selector->matches(*labels);
        }
      }
      all = consider(key, *facts, std::move(evidence)) && all;
    }
  }
  if (!all) changed_ = true;
  send_events();
  const MutexLock lock(mutex_);
  ++stats_.turns;
  stats_.last_turn_seconds = static_cast<double>(boottime_ns() - begin) / 1e9;
}

// False: it is to be looked at again soon.
bool Operator::consider(const std::string& key, const PolicyFacts& facts, Evidence evidence) {
  const uint64_t now = boottime_ns();
  alive_ns_ = now;
  Written& written = written_[key];
  if (written.generation != facts.generation || written.uid != facts.uid) {
    if (written.uid != facts.uid) written = Written{};
    written.generation = facts.generation;
    written.uid = facts.uid;
    written.since_ns = now;
  }
  evidence.patience_over = now >= written.since_ns + kPatience;
  PolicyFacts known = facts;
  if (written.wrote_ns) known.status = written.status;
  const PolicyStatusDocument wanted = aggregate(known, std::move(evidence), kube::time_text(realtime_ns()));
  const bool taken_over = !written.looked && facts.status.is("Degraded");
  events_.look(facts, wanted, taken_over, now);
  written.looked = true;
  if (wanted == known.status) return true;
  if (!may_write(written, now)) return false;
  const bool counts_only = same_but_counts(wanted, known.status) && !known.status.conditions.empty();
  const uint64_t counts_gap = std::min(kCountsEvery + wanted.desired * 60 * kMillisecond, kLongestCounts);
  if (counts_only && now < written.wrote_ns + counts_gap) return true;
  if (!complete(wanted) && facts.problems.empty() && now < written.since_ns + kFirstWait) return false;
  if (writes_left_ == 0) return false;
  --writes_left_;
  write(key, facts, wanted, written);
  return true;
}

bool Operator::may_write(const Written& written, uint64_t now_ns) {
  if (now_ns < written.retry_ns) return false;
  return !written.wrote_ns || now_ns >= written.wrote_ns + kWriteEvery;
}

void Operator::write(const std::string& key, const PolicyFacts& facts, const PolicyStatusDocument& wanted,
                     Written& written) {
  const kube::ApiAnswer answer =
      client_.send("PATCH", path_of(facts), status_patch(wanted), "application/merge-patch+json", kTimeout);
  const uint64_t now = boottime_ns();
  if (answer.ok()) {
    written.status = wanted;
    written.wrote_ns = now;
    written.retry_ns = 0;
  } else {
    written.retry_ns = now + std::max(kRetry, answer.retry_after_ns);
    if (answer.status != kNotFound)
      spdlog::warn("status of {}: {}", key, answer.error);  // 404: it was deleted meanwhile
  }
  const MutexLock lock(mutex_);
  ++(answer.ok() ? stats_.writes : stats_.write_failures);
}

void Operator::send_events() {
  {
    const MutexLock lock(mutex_);
    stats_.events_dropped = events_.dropped();
  }
  for (const EventToSend& event : events_.take(boottime_ns(), realtime_ns())) {
    const std::string path = "/apis/events.k8s.io/v1/namespaces/" + event.namespace_name + "/events";
    const std::string now = kube::micro_time_text(realtime_ns());
    const kube::ApiAnswer answer =
        event.fresh
            ? client_.send("POST", path, event_json(event, options_.lease.identity, now), "application/json", kTimeout)
            : client_.send("PATCH", path + "/" + event.name, event_series_patch(event, now),
                           "application/merge-patch+json", kTimeout);
    if (!answer.ok()) spdlog::warn("event about {}: {}", event.policy, answer.error);
    const MutexLock lock(mutex_);
    ++(answer.ok() ? stats_.events : stats_.event_failures);
  }
}

Result<void> Operator::alive() const {
  if (boottime_ns() - alive_ns_ < kStuckAfter) return {};
  return Error("the operator's loop has been stuck for a minute");
}

Result<void> Operator::ready() const {
  for (const auto& reflector : reflectors_) {
    if (const auto stats = reflector->stats(); !stats.synced) {
      return Error(stats.last_error.empty() ? "the API server has not answered yet" : stats.last_error);
    }
  }
  return {};
}

OperatorStats Operator::stats() const {
  OperatorStats stats;
  {
    const MutexLock lock(mutex_);
    stats = stats_;
  }
  stats.leads = election_.leads();
  stats.policies = cluster_policies_.size() + policies_.size();
  stats.reports = reports_.size();
  stats.lease_failures = election_.failures();
  for (const auto& reflector : reflectors_) stats.watch_failures += reflector->stats().failures;
  return stats;
}

}  // namespace sonde::operators
