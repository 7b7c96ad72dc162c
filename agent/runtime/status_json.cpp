// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/status_json.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "agent/base/json.h"

namespace sonde {
namespace {

using Json = nlohmann::ordered_json;

double seconds_between(uint64_t from_ns, uint64_t to_ns) {
  return to_ns > from_ns ? static_cast<double>(to_ns - from_ns) / 1e9 : 0;
}

template <typename T>
Json list_of(const std::vector<T>& items, Json (*json_of)(const T&)) {
  Json list = Json::array();
  for (const T& item : items) list.push_back(json_of(item));
  return list;
}

Json losses_json(const Status::Module& module) {
  Json lost = Json::object();
  for (const auto& [reason, count] : module.losses) lost[reason] = count;
  return lost;
}

Json programs_json(const std::vector<ProgramReport>& programs) {
  Json list = Json::array();
  for (const ProgramReport& program : programs) {
    Json one{{"name", program.name}, {"hook", program.hook}, {"state", word_of(program.state)}};
    if (!program.reason.empty()) one["reason"] = program.reason;
    if (!program.gap.empty()) one["gap"] = program.gap;
    if (program.times_lost) one["times_lost"] = program.times_lost;
    list.push_back(std::move(one));
  }
  return list;
}

Json module_json(const Status::Module& module) {
  const ModuleReport& report = module.report;
  Json json{{"name", report.name}, {"health", word_of(report.health)}};
  if (!report.alternative.empty()) json["alternative"] = report.alternative;
  json["reasons"] = report.reasons;
  json["programs"] = programs_json(report.programs);
  json["losses"] = losses_json(module);
  if (module.use) {
    json["runs_per_second"] = module.use->runs_per_second;
    json["mean_ns"] = module.use->mean_ns;
  }
  if (module.restriction) {
    json["step"] = step_name(module.restriction->step);
    if (!module.restriction->step_reason.empty()) json["step_reason"] = module.restriction->step_reason;
    json["collection_failures"] = module.restriction->collection_failures;
    if (!module.restriction->failing.empty()) json["failing"] = module.restriction->failing;
  }
  return json;
}

// By what each declared function is measured.
Json functions_json(const std::vector<FunctionReport>& functions) {
  Json list = Json::array();
  for (const FunctionReport& function : functions) {
    list.push_back({{"name", function.name},
                    {"hook", function.hook},
                    {"containers", function.asked},
                    {"attached", function.attached}});
  }
  return list;
}

Json failures_json(const std::vector<PolicyTrouble>& troubles) {
  Json list = Json::array();
  for (const PolicyTrouble& trouble : troubles) {
    list.push_back({{"probe", trouble.probe},
                    {"reason", trouble.reason},
                    {"message", trouble.message},
                    {"containers", trouble.asked},
                    {"attached", trouble.attached}});
  }
  return list;
}

Json policy_json(const Status::PolicyState& policy) {
  return {{"name", policy.status.name},
          {"source", policy.status.source},
          {"failures", failures_json(policy.troubles)},
          {"functions", functions_json(policy.functions)},
          {"conditions", policy.conditions},
          {"mode", word_of(policy.status.mode)},
          {"expired", policy.status.expired},
          {"matched", policy.status.matched},
          {"overridden", policy.status.overridden}};
}

Json exporters_json(const std::vector<Outputs::Report>& reports) {
  Json list = Json::array();
  for (const auto& [stats, destination, last_error] : reports) {
    if (stats.of_spans()) continue;
    list.push_back({{"name", stats.exporter},
                    {"destination", destination},
                    {"last_error", last_error},
                    {"batches", stats.batches},
                    {"points_sent", stats.points_sent},
                    {"points_rejected", stats.points_rejected},
                    {"points_dropped", stats.points_dropped},
                    {"points_superseded", stats.points_superseded},
                    {"retries", stats.retries},
                    {"halved", stats.halved},
                    {"scrapers", stats.scrapers},
                    {"ended_unscraped", stats.ended_unscraped},
                    {"bytes_sent", stats.bytes_sent},
                    {"queued_batches", stats.queued_batches},
                    {"queued_bytes", stats.queued_bytes},
                    {"failures", stats.failures}});
  }
  return list;
}

Json spans_json(const SpanStats& stats) {
  return {{"recorded", stats.recorded},
          {"suppressed", stats.suppressed},
          {"lost",
           {{"buffer_full", stats.buffer_full},
            {"unknown_owner", stats.unknown_owner},
            {"malformed", stats.malformed}}}};
}

Json span_exporters_json(const std::vector<Outputs::Report>& reports) {
  Json list = Json::array();
  for (const auto& [stats, destination, last_error] : reports) {
    if (!stats.of_spans()) continue;
    list.push_back({{"name", stats.exporter},
                    {"destination", destination},
                    {"last_error", last_error},
                    {"batches", stats.batches},
                    {"spans_sent", stats.spans_sent},
                    {"spans_rejected", stats.spans_rejected},
                    {"spans_dropped", stats.spans_dropped},
                    {"retries", stats.retries},
                    {"halved", stats.halved},
                    {"bytes_sent", stats.bytes_sent},
                    {"queued_spans", stats.queued_spans},
                    {"queued_bytes", stats.queued_bytes},
                    {"failures", stats.failures}});
  }
  return list;
}

Json pipeline_json(const AggregatorStats& stats) {
  Json discards = Json::object();
  for (std::size_t i = 0; i < stats.discards.size(); ++i) {
    if (stats.discards[i].samples)
      discards[std::string(discard_name(static_cast<Discard>(i)))] = stats.discards[i].samples;
  }
  Json detours = Json::object();
  for (std::size_t i = 0; i < stats.detours.size(); ++i) {
    if (stats.detours[i].samples) detours[std::string(detour_name(static_cast<Detour>(i)))] = stats.detours[i].samples;
  }
  return {{"samples", stats.received.samples},
          {"streams", stats.streams},
          {"series", stats.series},
          {"discarded", discards},
          {"detoured", detours},
          {"pending_slots", stats.pending_slots},
          {"series_limited", stats.series_limited},
          {"labels_held", stats.labels_held},
          {"labels_held_by", stats.labels_held_by}};
}

Json identity_json(const Status::Names& names, uint64_t now_ns) {
  Json json{{"source", names.source}, {"serving", names.serving}, {"pods", names.pods}};
  if (names.fresh_ns) json["age_seconds"] = seconds_between(names.fresh_ns, now_ns);
  json["sources"] = Json::array();
  for (const kube::SourceStatus& source : names.sources) {
    Json one{{"name", source.name},
             {"state", kube::word_of(source.state)},
             {"in_use", source.in_use},
             {"failures", source.failures}};
    if (!source.reason.empty()) one["reason"] = source.reason;
    json["sources"].push_back(std::move(one));
  }
  return json;
}

Json kubernetes_json(const Status::Kubernetes& kubernetes, uint64_t now_ns) {
  Json followed = Json::array();
  for (const auto& [what, stats] : kubernetes.followed) {
    Json one{{"what", what}, {"synced", stats.synced}, {"failures", stats.failures}, {"left_out", stats.left_out}};
    if (stats.fresh_ns) one["age_seconds"] = seconds_between(stats.fresh_ns, now_ns);
    if (!stats.last_error.empty()) one["error"] = stats.last_error;
    followed.push_back(std::move(one));
  }
  Json json{{"policies_from_cache", kubernetes.policies_from_cache}, {"followed", std::move(followed)}};
  if (const auto& report = kubernetes.report) {
    json["node_status"] = {{"writes", report->writes}, {"failures", report->failures}, {"bytes", report->bytes}};
    if (!report->last_error.empty()) json["node_status"]["error"] = report->last_error;
  }
  return json;
}

Json features_json(const std::optional<Status::HowMeasured>& how) {
  if (!how) return Json::object();
  return {{"fentry", how->fentry}, {"preemptible", how->preemptible}, {"read_only_cast", how->read_only_cast}};
}

std::string indented(const Json& json) { return json_text(json, 2) + "\n"; }

}  // namespace

std::string status_json(const Status& status) {
  Json json{{"version", SONDE_VERSION},          {"pid", getpid()},
            {"host", status.machine.host},       {"kernel", status.machine.kernel},
            {"machine", status.machine.machine}, {"uptime_seconds", seconds_between(status.started_ns, status.made_ns)},
            {"cgroup_root", status.cgroup_root}};
  if (status.idle) json["idle"] = {{"reason", status.idle->reason}, {"message", status.idle->message}};
  json["features"] = features_json(status.how_measured);
  json["subjects"] = {{"known", status.subjects.known},
                      {"selected", status.subjects.selected},
                      {"slots_used", status.subjects.slots_used},
                      {"slots_capacity", status.subjects.slots_capacity},
                      {"without_slot", status.subjects.without_slot},
                      {"unresolved_paths", status.subjects.unresolved_paths}};
  json["warnings"] = status.warnings;
  json["modules"] = list_of(status.modules, module_json);
  json["policies"] = list_of(status.policies, policy_json);
  json["policy_errors"] = status.policy_errors;
  json["overridden"] = status.overridden;
  json["pipeline"] = pipeline_json(status.pipeline);
  json["collection"] = {{"slots", status.collection.slots_read},
                        {"series_moved", status.collection.series_moved},
                        {"duration_seconds", static_cast<double>(status.collection.duration_ns) / 1e9}};
  json["spans"] = spans_json(status.spans);
  json["exporters"] = exporters_json(status.exporters);
  json["span_exporters"] = span_exporters_json(status.exporters);
  json["export_errors"] = status.export_errors;
  json["overhead"] = {{"used_milli_cpu", status.cost.used_milli_cpu},
                      {"budget_milli_cpu", status.cost.budget_milli_cpu},
                      {"over_budget", status.cost.over_budget}};
  json["identity"] = identity_json(status.names, status.made_ns);
  if (status.kubernetes) json["kubernetes"] = kubernetes_json(*status.kubernetes, status.made_ns);
  return indented(json);
}

std::string policies_json(const Status& status) { return indented(list_of(status.policies, policy_json)); }

}  // namespace sonde
