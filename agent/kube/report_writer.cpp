// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/report_writer.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/base/json.h"

namespace sonde::kube {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr uint64_t kWriteTimeout = 10 * kSecond;
constexpr uint64_t kWriterTurn = kSecond;
constexpr const char* kApply = "application/apply-patch+yaml";  // of which JSON is a part

OrderedJson head(const std::string& node) {
  return {{"apiVersion", "sonde.dev/v1alpha1"}, {"kind", "SondeNode"}, {"metadata", {{"name", node}}}};
}

std::string object_path(const std::string& node) { return "/apis/sonde.dev/v1alpha1/sondenodes/" + node; }

std::string path_of(const std::string& node, const char* part) {
  return object_path(node) + part + "?force=true&fieldManager=" + kAgentManager;
}

}  // namespace

ApiAnswer remove_report(ApiClient& client, const std::string& node_name) {
  ApiAnswer answer = client.send("DELETE", object_path(node_name), "", "", kWriteTimeout);
  if (answer.ok()) spdlog::info("SondeNode {} has been deleted: kubernetes.report is off", node_name);
  if (answer.status == kForbidden) {
    spdlog::warn(
        "kubernetes.report is off, but an earlier SondeNode {} remains; grant `delete` of sondenodes or run `kubectl "
        "delete sondenode {}`: {}",
        node_name, node_name, answer.error);
  }
  return answer;
}

ReportWriter::ReportWriter(ApiClient& client, std::string node_name)
    : client_(client),
      node_(std::move(node_name)),
      schedule_([this](uint64_t most) { return chance_.between(0, most); }) {}

ReportWriter::~ReportWriter() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ReportWriter::start() {
  thread_ = std::thread([this] { run(); });
}

void ReportWriter::offer(NodeReport report, const std::string& node_uid, uint64_t nodes) {
  if (node_uid.empty()) return;
  {
    const MutexLock lock(mutex_);
    if (node_uid != node_uid_) schedule_.forget();  // another Node of that name: the report went with the old one
    node_uid_ = node_uid;
    schedule_.offer(std::move(report), nodes, boottime_ns());
  }
  changed_.notify_all();
}

ReportWriterStats ReportWriter::stats() const {
  const MutexLock lock(mutex_);
  return stats_;
}

void ReportWriter::run() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    const uint64_t due = schedule_.due_ns(), now = boottime_ns();
    if (!due || now < due) {
      changed_.wait_for(mutex_, std::chrono::nanoseconds(due ? std::min(due - now, kWriterTurn) : kWriterTurn));
      continue;
    }
    const NodeReport report = schedule_.newest();
    const std::string uid = node_uid_;
    lock.unlock();
    const ApiAnswer answer = write(report, uid);
    lock.lock();
    if (client_.stopped()) return;
    if (answer.ok()) {
      if (!stats_.last_error.empty()) spdlog::info("SondeNode {} can be written again", node_);
      stats_.last_error.clear();
      schedule_.wrote(report, boottime_ns());
      continue;
    }
    ++stats_.failures;
    if (stats_.last_error != answer.error) spdlog::warn("SondeNode {} cannot be written: {}", node_, answer.error);
    stats_.last_error = answer.error;
    schedule_.failed(boottime_ns(), answer.retry_after_ns);
  }
}

ApiAnswer ReportWriter::put_object(const std::string& node_uid) {
  OrderedJson object = head(node_);
  object["metadata"]["ownerReferences"] =
      OrderedJson::array({{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node_}, {"uid", node_uid}}});
  ApiAnswer answer = client_.send("PATCH", path_of(node_, ""), json_text(object), kApply, kWriteTimeout);
  written_uid_ = answer.ok() ? node_uid : "";
  return answer;
}

ApiAnswer ReportWriter::write(const NodeReport& report, const std::string& node_uid) {
  if (written_uid_ != node_uid) {
    if (ApiAnswer answer = put_object(node_uid); !answer.ok()) return answer;
  }
  const std::string status = status_json(report);
  std::string body = json_text(head(node_));
  body.back() = ',';
  body += "\"status\":" + status + "}";
  ApiAnswer answer = client_.send("PATCH", path_of(node_, "/status"), body, kApply, kWriteTimeout);
  if (answer.status == kNotFound) {  // somebody deleted it
    answer = put_object(node_uid);
    if (answer.ok()) answer = client_.send("PATCH", path_of(node_, "/status"), body, kApply, kWriteTimeout);
  }
  const MutexLock lock(mutex_);
  stats_.writes += answer.ok();
  if (answer.ok()) stats_.bytes = status.size();
  return answer;
}

}  // namespace sonde::kube
