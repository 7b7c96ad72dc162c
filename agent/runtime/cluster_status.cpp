// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/cluster_status.h"

#include <nlohmann/json.hpp>

#include "agent/base/clock.h"

namespace sonde {

using Json = nlohmann::ordered_json;

Json cluster_json(const kube::Cluster& cluster) {
  Json followed = Json::array();
  for (const auto& [what, stats] : cluster.stats()) {
    Json one{{"what", what}, {"synced", stats.synced}, {"failures", stats.failures}, {"left_out", stats.left_out}};
    if (stats.fresh_ns) one["age_seconds"] = static_cast<double>(boottime_ns() - stats.fresh_ns) / 1e9;
    if (!stats.last_error.empty()) one["error"] = stats.last_error;
    followed.push_back(std::move(one));
  }
  Json json{{"policies_from_cache", cluster.policies_from_cache()}, {"followed", followed}};
  if (const auto report = cluster.report_stats()) {
    json["node_status"] = {{"writes", report->writes}, {"failures", report->failures}, {"bytes", report->bytes}};
    if (!report->last_error.empty()) json["node_status"]["error"] = report->last_error;
  }
  return json;
}

}  // namespace sonde
