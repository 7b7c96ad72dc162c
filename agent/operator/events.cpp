// SPDX-License-Identifier: Apache-2.0
#include "agent/operator/events.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/base/json.h"
#include "agent/base/text.h"

namespace sonde::operators {
namespace {

constexpr std::size_t kMostNote = 1000;
constexpr std::size_t kMostName = 200;

std::string key_of(const PolicyFacts& facts) { return facts.namespace_name + "/" + facts.name; }

}  // namespace

void EventLog::look(const PolicyFacts& facts, const PolicyStatusDocument& status, bool silent, uint64_t now_ns) {
  std::vector<std::string> now;
  std::vector<const StatusFailure*> fresh;
  auto& before = failing_[key_of(facts)];
  for (const StatusFailure& failure : status.failures) {
    now.push_back(failure.node + " " + failure.probe + " " + failure.reason);
    if (!std::ranges::binary_search(before, now.back())) fresh.push_back(&failure);
  }
  std::ranges::sort(now);
  before = std::move(now);
  if (silent) return;
  for (const StatusFailure* failure : fresh) {
    const std::string key = key_of(facts) + " " + failure->probe + " " + failure->reason;
    auto found = series_.find(key);
    if (found == series_.end()) {
      if (series_.size() >= kMostSeries) {
        ++dropped_;
        continue;
      }
      Series series;
      series.event = {true,
                      facts.namespace_name.empty() ? "default" : facts.namespace_name,
                      "",
                      facts.kind,
                      facts.namespace_name,
                      facts.name,
                      facts.uid,
                      failure->reason,
                      "",
                      0};
      found = series_.emplace(key, std::move(series)).first;
    }
    Series& series = found->second;
    ++series.event.count;
    series.happened_ns = now_ns;
    if (series.event.note.empty()) {
      series.event.note =
          one_line(fmt::format("{} on {}: {}", failure->probe, failure->node, failure->message), kMostNote);
    }
  }
}

std::vector<EventToSend> EventLog::take(uint64_t now_ns, uint64_t realtime_ns) {
  std::vector<EventToSend> send;
  for (auto& [key, series] : series_) {
    if (series.told == series.event.count) continue;
    if (series.told && now_ns < series.sent_ns + kSeriesEvery) continue;
    if (spent_until_ns_ > now_ns + (kBurst - 1) * kRefill) break;
    spent_until_ns_ = std::max(spent_until_ns_, now_ns) + kRefill;
    if (series.told == 0) {
      series.event.name = fmt::format("{}.{:x}", series.event.policy.substr(0, kMostName), realtime_ns + send.size());
    }
    series.event.fresh = series.told == 0;
    series.told = series.event.count;
    series.sent_ns = now_ns;
    send.push_back(series.event);
  }
  std::erase_if(series_, [&](const auto& one) { return now_ns > one.second.happened_ns + kForgetAfter; });
  return send;
}

void EventLog::forget(const std::string& policy_key) {
  failing_.erase(policy_key);
  std::erase_if(series_, [&](const auto& one) { return one.first.starts_with(policy_key + " "); });
}

std::string event_json(const EventToSend& event, const std::string& instance, const std::string& micro_time) {
  using Json = nlohmann::ordered_json;
  Json regarding{
      {"apiVersion", "sonde.dev/v1alpha1"}, {"kind", event.kind}, {"name", event.policy}, {"uid", event.policy_uid}};
  if (!event.policy_namespace.empty()) regarding["namespace"] = event.policy_namespace;
  Json json{{"apiVersion", "events.k8s.io/v1"},
            {"kind", "Event"},
            {"metadata", {{"name", event.name}, {"namespace", event.namespace_name}}},
            {"eventTime", micro_time},
            {"type", "Warning"},
            {"reason", event.reason},
            {"action", "Apply"},
            {"note", event.note},
            {"reportingController", "sonde.dev/operator"},
            {"reportingInstance", instance.substr(0, 128)},
            {"regarding", regarding}};
  return json_text(json);
}

std::string event_series_patch(const EventToSend& event, const std::string& micro_time) {
  nlohmann::ordered_json json;
  json["series"] = {{"count", std::max<uint64_t>(event.count, 2)}, {"lastObservedTime", micro_time}};
  return json_text(json);
}

}  // namespace sonde::operators
