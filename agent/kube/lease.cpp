// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/lease.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/base/json.h"

namespace sonde::kube {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr uint64_t kLeaseTimeout = 5 * kSecond;
constexpr uint64_t kLastTimeout = 2 * kSecond;

tm broken_down(uint64_t realtime_ns) {
  const auto seconds = static_cast<time_t>(realtime_ns / kSecond);
  tm time{};
  gmtime_r(&seconds, &time);
  return time;
}

std::string path_of(const LeaseOptions& options, bool collection) {
  const std::string path = "/apis/coordination.k8s.io/v1/namespaces/" + options.namespace_name + "/leases";
  return collection ? path : path + "/" + options.name;
}

}  // namespace

std::string time_text(uint64_t realtime_ns) {
  const tm time = broken_down(realtime_ns);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &time)};
}

std::string micro_time_text(uint64_t realtime_ns) {
  std::string text = time_text(realtime_ns);
  text.pop_back();
  return text + fmt::format(".{:06}Z", realtime_ns % kSecond / kMicrosecond);
}

std::optional<LeaseRecord> parse_lease(std::string_view object) {
  const OrderedJson json = parse_json<OrderedJson>(object);
  if (!json.is_object() || !json.contains("metadata") || !json["metadata"].is_object()) return {};
  LeaseRecord record;
  record.version = text_in(json["metadata"], "resourceVersion");
  const auto spec = json.find("spec");
  if (spec == json.end() || !spec->is_object()) return record;
  record.holder = text_in(*spec, "holderIdentity");
  record.acquired = text_in(*spec, "acquireTime");
  record.renewed = text_in(*spec, "renewTime");
  record.duration_seconds = number_in(*spec, "leaseDurationSeconds");
  record.transitions = number_in(*spec, "leaseTransitions");
  return record;
}

LeaseStep next_step(const std::optional<LeaseRecord>& record, const std::string& identity, uint64_t unchanged_since_ns,
                    uint64_t now_ns) {
  if (!record) return LeaseStep::Create;
  if (record->holder == identity) return LeaseStep::Renew;
  if (record->holder.empty()) return LeaseStep::Take;
  const uint64_t lasts = std::clamp<uint64_t>(record->duration_seconds, 1, 3600) * kSecond;
  return now_ns >= unchanged_since_ns + lasts ? LeaseStep::Take : LeaseStep::Wait;
}

LeaderElection::LeaderElection(ApiClient& client, LeaseOptions options)
    : client_(client), options_(std::move(options)) {}

LeaderElection::~LeaderElection() { release(); }

void LeaderElection::start() {
  worker_.start([this] { run(); });
}

bool LeaderElection::leads() const {
  const uint64_t renewed = renewed_ns_;
  return renewed != 0 && boottime_ns() < renewed + options_.renew_deadline_ns;
}

void LeaderElection::run() {
  for (;;) {
    const bool before = leads();
    turn();
    if (leads() != before)
      spdlog::info("{} {} {}", options_.identity, before ? "is no longer the leader of" : "is the leader of",
                   options_.name);
    const uint64_t wait = options_.retry_ns + chance_.between(0, options_.retry_ns / 5);
    if (worker_.pause(wait)) return;
  }
}

void LeaderElection::turn() {
  const uint64_t now = boottime_ns();
  const ApiAnswer answer = client_.get(path_of(options_, false), kLeaseTimeout);
  if (client_.stopped()) return;
  if (!answer.ok() && answer.status != kNotFound) {
    ++failures_;
    if (last_error_ != answer.error) spdlog::warn("lease {}: {}", options_.name, answer.error);
    last_error_ = answer.error;
    return;
  }
  last_error_.clear();
  const auto record = answer.ok() ? parse_lease(answer.body) : std::nullopt;
  if (record != seen_ || !seen_ns_) {
    seen_ = record;
    seen_ns_ = now;
  }
  const LeaseStep step = next_step(record, options_.identity, seen_ns_, now);
  if (step != LeaseStep::Renew) renewed_ns_ = 0;
  if (step != LeaseStep::Wait && write(step, record, options_.identity)) renewed_ns_ = now;
}

bool LeaderElection::write(LeaseStep step, const std::optional<LeaseRecord>& before, const std::string& holder) {
  const std::string now = micro_time_text(realtime_ns());
  const bool renewal = step == LeaseStep::Renew && before;
  const uint64_t seconds = holder.empty() ? 1 : options_.duration_ns / kSecond;
  OrderedJson lease{{"apiVersion", "coordination.k8s.io/v1"},
             {"kind", "Lease"},
             {"metadata", {{"name", options_.name}, {"namespace", options_.namespace_name}}},
             {"spec",
              {{"holderIdentity", holder},
               {"leaseDurationSeconds", seconds},
               {"acquireTime", renewal && !before->acquired.empty() ? before->acquired : now},
               {"renewTime", now},
               {"leaseTransitions", before ? before->transitions + (renewal ? 0 : 1) : 0}}}};
  if (before) lease["metadata"]["resourceVersion"] = before->version;
  const ApiAnswer answer = client_.send(before ? "PUT" : "POST", path_of(options_, !before), json_text(lease),
                                        "application/json", holder.empty() ? kLastTimeout : kLeaseTimeout);
  // 409: somebody else was faster. Whatever it was, the next turn looks again.
  if (!answer.ok()) {
    if (answer.status != 409) ++failures_;
    return false;
  }
  if (const auto record = parse_lease(answer.body)) {
    seen_ = record;
    seen_ns_ = boottime_ns();
  }
  return true;
}

void LeaderElection::release() {
  worker_.end();
  if (!leads() || client_.stopped()) return;
  renewed_ns_ = 0;
  if (write(LeaseStep::Renew, seen_, "")) spdlog::info("{} gave {} back", options_.identity, options_.name);
}

}  // namespace sonde::kube
