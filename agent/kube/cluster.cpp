// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/cluster.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/base/file.h"
#include "agent/base/json.h"

namespace sonde::kube {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kNamespaceTimeout = 10 * kSecond;
constexpr uint64_t kNamespaceAge = 60 * kSecond;  // so old labels of a namespace may be
constexpr uint64_t kToldEvery = 30 * kSecond;
constexpr uint64_t kRemovalEvery = 10 * kSecond;
constexpr uint64_t kTurn = 200 * kMillisecond;
constexpr std::size_t kMostCache = 16 << 20;

// Kinds without generation (Node) are told by their labels.
std::string substance_of(const Json& metadata) {
  Json what = Json::array({member(metadata, "uid"), member(metadata, "generation")});
  if (what[1].is_null()) what.push_back(member(metadata, "labels"));
  return json_text(what);
}

ObjectStore::Object read(const Json& json) {
  const Json& metadata = member(json, "metadata");
  return {json_text(json), text_in(metadata, "uid"), texts_in(member(metadata, "labels")),
          number_in(member(json, "status"), "desiredNodes"), substance_of(metadata)};
}

bool same_substance(const ObjectStore::Objects& a, const ObjectStore::Objects& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.substance == y.second.substance;
  });
}

}  // namespace

void ObjectStore::listed(const std::string& key, const Json& object) { listing_.insert_or_assign(key, read(object)); }

void ObjectStore::replace() {
  {
    const MutexLock lock(mutex_);
    const bool same = same_substance(objects_, listing_);
    objects_ = std::exchange(listing_, {});
    if (version_ != 0 && same) return;
  }
  tell();
}

void ObjectStore::put(const std::string& key, const Json& object) {
  Object now = read(object);
  {
    const MutexLock lock(mutex_);
    const auto [known, fresh] = objects_.try_emplace(key);
    const bool same = !fresh && known->second.substance == now.substance;
    known->second = std::move(now);
    if (same) return;
  }
  tell();
}

void ObjectStore::remove(const std::string& key) {
  {
    const MutexLock lock(mutex_);
    if (objects_.erase(key) == 0) return;
  }
  tell();
}

void ObjectStore::tell() {
  ++version_;
  if (changed_) changed_();
}

ObjectStore::Objects ObjectStore::objects() const {
  const MutexLock lock(mutex_);
  return objects_;
}

Cluster::Cluster(ClusterOptions options)
    : options_(std::move(options)),
      client_(options_.api),
      node_(options_.changed),
      cluster_policies_(options_.changed),
      policies_(options_.changed) {}

Cluster::~Cluster() {
  client_.stop();
  worker_.end();
  followed_.clear();
  writer_.reset();
}

void Cluster::follow(std::string what, std::string path, std::string query, ObjectSink& sink) {
  ReflectorOptions reflector;
  reflector.path = std::move(path);
  reflector.query = std::move(query);
  reflector.first_delay_ns = options_.first_delay_ns;
  followed_.push_back({std::move(what), std::make_unique<Reflector>(client_, std::move(reflector), sink)});
}

void Cluster::start() {
  read_cache();
  const std::string api = "/apis/sonde.dev/v1alpha1/";
  follow("node", "/api/v1/nodes", "fieldSelector=metadata.name%3D" + options_.node_name, node_);
  follow("clustermonitorpolicies", api + "clustermonitorpolicies", "", cluster_policies_);
  follow("monitorpolicies", api + "monitorpolicies", "", policies_);
  for (Followed& one : followed_) one.reflector->start();
  if (options_.report) {
    writer_ = std::make_unique<ReportWriter>(client_, options_.node_name);
    writer_->start();
  }
  worker_.start([this] { look_after(); });
}

uint64_t Cluster::policies_version() const { return cluster_policies_.version() + policies_.version(); }

bool Cluster::policies_from_cache() const { return cluster_policies_.version() == 0 || policies_.version() == 0; }

std::vector<std::string> Cluster::policies() const {
  if (policies_from_cache()) return cached_;
  std::vector<std::string> all;
  for (const ObjectStore* store : {&cluster_policies_, &policies_}) {
    for (auto& [key, object] : store->objects()) all.push_back(std::move(object.json));
  }
  return all;
}

std::map<std::string, std::string> Cluster::node_labels() const {
  const auto objects = node_.objects();
  return objects.empty() ? std::map<std::string, std::string>() : objects.begin()->second.labels;
}

std::vector<FollowedStats> Cluster::stats() const {
  std::vector<FollowedStats> all;
  for (const Followed& one : followed_) all.push_back({one.what, one.reflector->stats()});
  return all;
}

// How many nodes the cluster has, as far as the operator has told in the status of a policy.
uint64_t Cluster::nodes_told() const {
  uint64_t most = 0;
  for (const auto& [key, object] : cluster_policies_.objects()) most = std::max(most, object.desired_nodes);
  return most;
}

void Cluster::report(NodeReport report) {
  if (!writer_) return;
  const auto nodes = node_.objects();
  if (nodes.empty()) return;
  if (const uint64_t now = boottime_ns(); now >= next_told_ns_) {
    next_told_ns_ = now + kToldEvery;
    nodes_told_ = nodes_told();
  }
  const std::string& uid = nodes.begin()->second.uid;
  if (!uid.empty()) writer_->offer(std::move(report), uid, nodes_told_);
}

std::optional<ReportWriterStats> Cluster::report_stats() const {
  if (!writer_) return {};
  return writer_->stats();
}

void Cluster::look_after() {
  for (;;) {
    read_namespaces();
    write_cache();
    remove_old_report();
    if (worker_.pause(kTurn)) return;
  }
}

// Never a watch of all namespaces: only those with pods here are read, each once a minute.
void Cluster::read_namespaces() {
  if (!options_.pods) return;
  PodTable& pods = *options_.pods;
  const uint64_t now = boottime_ns();
  for (const std::string& name : pods.namespaces()) {
    auto [read, fresh] = namespaces_read_.try_emplace(name, 0);
    if (!fresh && now < read->second + kNamespaceAge) continue;
    read->second = now;
    const ApiAnswer answer = client_.get("/api/v1/namespaces/" + name, kNamespaceTimeout);
    if (client_.stopped()) return;
    if (!answer.ok()) {
      spdlog::warn("namespace {}: {}", name, answer.error);
      read->second = now - kNamespaceAge + 5 * kSecond;
      if (answer.status != 404) continue;
    }
    const uint64_t before = pods.version();
    pods.set_namespace(name, texts_in(member(member(parse_json<Json>(answer.body), "metadata"), "labels")));
    if (pods.version() != before) options_.changed();
  }
}

// Once; again only while the API server has no time for it.
void Cluster::remove_old_report() {
  const uint64_t now = boottime_ns();
  if (options_.report || report_removed_ || now < next_removal_ns_) return;
  const ApiAnswer answer = remove_report(client_, options_.node_name);
  report_removed_ = answer.ok() || answer.status == kForbidden || answer.status == kNotFound;
  next_removal_ns_ = now + std::max(kRemovalEvery, answer.retry_after_ns);
}

void Cluster::write_cache() {
  const uint64_t version = policies_version();
  if (options_.cache_file.empty() || policies_from_cache() || version == cache_written_) return;
  cache_written_ = version;
  std::string text;
  for (const std::string& policy : policies()) text += policy + '\n';
  if (auto written = write_file_atomically(options_.cache_file, text); !written)
    spdlog::warn("cannot save the policies: {}", written.error().message());
}

void Cluster::read_cache() {
  if (options_.cache_file.empty()) return;
  auto text = read_small_file(options_.cache_file, kMostCache);
  if (!text) return;  // the first start
  for (std::size_t begin = 0, end; (end = text->find('\n', begin)) != std::string::npos; begin = end + 1) {
    cached_.push_back(text->substr(begin, end - begin));
  }
  if (!cached_.empty())
    spdlog::info("{} policies from the last run are in force until the API server answers", cached_.size());
}

}  // namespace sonde::kube
