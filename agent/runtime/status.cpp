// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/status.h"

#include <spdlog/fmt/fmt.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "agent/base/clock.h"
#include "agent/base/json.h"
#include "agent/base/text.h"
#include "agent/export/prometheus_family.h"
#include "agent/module/losses.h"
#include "agent/runtime/cluster_status.h"
#include "agent/runtime/policy_reports.h"

namespace sonde {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxPidsShown = 1000;

Json module_json(const ModuleReport& report, const std::array<uint64_t, SONDE_LOSSES>& losses,
                 const StatusSources& sources, std::size_t index) {
  Json module{{"name", report.name}, {"health", health_word(report.health)}};
  if (!report.alternative.empty()) module["alternative"] = report.alternative;
  module["reasons"] = report.reasons;
  Json programs = Json::array();
  for (const ProgramReport& program : report.programs) {
    Json one{{"name", program.name}, {"hook", program.hook}, {"state", program_state_word(program.state)}};
    if (!program.reason.empty()) one["reason"] = program.reason;
    if (!program.gap.empty()) one["gap"] = program.gap;
    if (program.times_lost) one["times_lost"] = program.times_lost;
    programs.push_back(std::move(one));
  }
  module["programs"] = std::move(programs);
  Json lost = Json::object();
  for (std::size_t reason = 0; reason < losses.size(); ++reason) {
    if (losses[reason]) lost[std::string(loss_name(report.name, reason))] = losses[reason];
  }
  module["losses"] = std::move(lost);
  if (const auto use = sources.overhead.use().find(report.name); use != sources.overhead.use().end()) {
    module["runs_per_second"] = use->second.runs_per_second;
    module["mean_ns"] = use->second.mean_ns;
  }
  if (index < sources.overhead.steps().size()) {
    module["step"] = step_name(sources.overhead.steps()[index]);
    const std::string why = sources.overhead.budget().reason(index);
    if (!why.empty()) module["step_reason"] = why;
    module["collection_failures"] = sources.failures.count(index);
    const std::string failing = sources.failures.reason(index, boottime_ns());
    if (!failing.empty()) module["failing"] = failing;
  }
  return module;
}

Json modules_json(const StatusSources& sources) {
  Json list = Json::array();
  const auto reports = sources.engine.modules();
  const auto losses = sources.engine.losses();
  for (std::size_t i = 0; i < reports.size(); ++i) list.push_back(module_json(reports[i], losses[i], sources, i));
  list.push_back(module_json(sources.engine.core_report(), losses.back(), sources, SIZE_MAX));
  return list;
}

// Subjects by their cgroup; each once, though nested directories and processes have slots too.
std::map<std::string, SubjectPtr> subjects_of(const IdentitySnapshot& identity) {
  std::map<std::string, SubjectPtr> subjects;
  for (const auto& [slot, owner] : identity.slots) {
    if (owner.subject->kind == SubjectKind::Unattributed) continue;
    subjects.emplace(owner.subject->cgroup_path, owner.subject);
  }
  return subjects;
}

// By what each declared function is measured.
Json functions_json(const std::vector<FunctionReport>& reports, const std::string& policy) {
  Json list = Json::array();
  for (const FunctionReport& report : reports) {
    if (report.policy != policy) continue;
    list.push_back(
        {{"name", report.name}, {"hook", report.hook}, {"containers", report.asked}, {"attached", report.attached}});
  }
  return list;
}

Json policies_json(const StatusSources& sources) {
  Json list = Json::array();
  const auto functions = sources.functions.reports();
  for (const PolicyReport& report : policy_reports(sources)) {
    Json failures = Json::array();
    for (const PolicyTrouble& trouble : report.troubles) {
      failures.push_back({{"probe", trouble.probe},
                          {"reason", trouble.reason},
                          {"message", trouble.message},
                          {"containers", trouble.asked},
                          {"attached", trouble.attached}});
    }
    const PolicyStatus& status = report.status;
    list.push_back({{"name", status.name},
                    {"source", status.source},
                    {"failures", std::move(failures)},
                    {"functions", functions_json(functions, status.name)},
                    {"conditions", report.conditions},
                    {"mode", status.mode == Mode::Exclude ? "Exclude" : "Monitor"},
                    {"expired", status.expired},
                    {"matched", status.matched},
                    {"overridden", status.overridden}});
  }
  return list;
}

Json exporters_json(const Outputs& outputs) {
  Json list = Json::array();
  for (const auto& [stats, destination, last_error] : outputs.reports()) {
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

Json attributes_json(const AttributeSet& set) {
  Json object = Json::object();
  for (const Attribute& attribute : set) {
    std::visit([&](const auto& value) { object[attribute.key] = value; }, attribute.value);
  }
  return object;
}

Json point_json(const Point& point, const ResourceSeries& series) {
  Json json{{"attributes", attributes_json(*point.attributes)}};
  if (point.metric->instrument == Instrument::Histogram) {
    json["count"] = point.count;
    json["sum"] = point.real;
    json["scale"] = 2;
    json["offset"] = point.bucket_offset;
    json["buckets"] = std::vector<uint64_t>(series.buckets.begin() + point.bucket_begin,
                                            series.buckets.begin() + point.bucket_begin + point.bucket_length);
  } else if (point.metric->integer) {
    json["value"] = point.integer;
  } else {
    json["value"] = point.real;
  }
  return json;
}

std::string text_of(const Json& json) { return json_text(json, 2) + "\n"; }

}  // namespace

std::string_view health_word(ModuleHealth health) {
  switch (health) {
    case ModuleHealth::Ok: return "ok";
    case ModuleHealth::Degraded: return "degraded";
    case ModuleHealth::Failed: return "failed";
    case ModuleHealth::Disabled: return "disabled";
  }
  return "unknown";
}

std::string_view program_state_word(ProgramState state) {
  switch (state) {
    case ProgramState::Idle: return "idle";
    case ProgramState::Attached: return "attached";
    case ProgramState::Unused: return "unused";
    case ProgramState::Failed: return "failed";
  }
  return "unknown";
}

std::string attached_line(const std::vector<ModuleReport>& modules) {
  std::size_t attached = 0;
  std::size_t wanted = 0;
  std::vector<std::string> names;
  std::string troubles;
  for (const ModuleReport& module : modules) {
    const std::size_t before = attached;
    for (const ProgramReport& program : module.programs) {
      attached += program.state == ProgramState::Attached;
      wanted += program.state == ProgramState::Attached || program.state == ProgramState::Failed;
      if (program.state == ProgramState::Failed) troubles += "; " + program.name + " failed: " + program.reason;
    }
    if (module.health == ModuleHealth::Failed) {
      troubles += "; " + module.name + " is off: " + join(module.reasons, ", ");
    } else if (attached > before) {
      names.push_back(module.name + (module.alternative.empty() ? "" : " by " + module.alternative));
    }
  }
  return "probes: " + std::to_string(attached) + " of " + std::to_string(wanted) + " programs attached (" +
         (names.empty() ? "nothing is enabled" : join(names, ", ")) + ")" + troubles;
}

namespace {

Json identity_json(const StatusSources& from) {
  if (!from.pod_sources) return {{"source", "cgroup"}, {"serving", true}, {"pods", 0}, {"sources", Json::array()}};
  const std::string in_use = from.pod_sources->in_use();
  Json json{{"source", in_use.empty() ? from.pod_sources->last_used() : in_use}, {"serving", !in_use.empty()}};
  json["pods"] = from.pods->size();
  const uint64_t fresh = from.pod_sources->fresh_ns(), now = boottime_ns();
  if (fresh) json["age_seconds"] = static_cast<double>(now > fresh ? now - fresh : 0) / 1e9;
  json["sources"] = Json::array();
  for (const kube::SourceStatus& source : from.pod_sources->status()) {
    Json one{{"name", source.name},
             {"state", kube::source_state_word(source.state)},
             {"in_use", source.in_use},
             {"failures", source.failures}};
    if (!source.reason.empty()) one["reason"] = source.reason;
    json["sources"].push_back(std::move(one));
  }
  return json;
}

}  // namespace

namespace {

// What Prometheus shows otherwise than it was given.
Json warnings_json(const StatusSources& sources) {
  Json warnings = sources.warnings;
  if (const uint64_t unresolved = sources.control.stats().unresolved) {
    warnings.push_back(fmt::format(
        "{} cgroups were gone before their path could be determined: their counts are under /?/ and their name",
        unresolved));
  }
  for (const std::string& name : sources.aggregator.stats().labels_held_by) {
    warnings.push_back("labels of " + name + " have changed too often and stay as they are until its pod ends");
  }
  for (const auto& [label, values] : joined_labels(sources.outputs.newest().snapshot())) {
    warnings.push_back("several attributes map to the Prometheus label " + label +
                       " with different values, which are joined: " + values);
  }
  return warnings;
}

}  // namespace

std::string make_status_json(const StatusSources& sources) {
  utsname name{};
  uname(&name);
  const ControlStats control = sources.control.stats();
  Json json{{"version", SONDE_VERSION},
            {"pid", getpid()},
            {"host", name.nodename},
            {"kernel", name.release},
            {"machine", name.machine},
            {"uptime_seconds", static_cast<double>(boottime_ns() - sources.started_ns) / 1e9},
            {"cgroup_root", sources.cgroup_root}};
  json["features"] = {{"fentry", sources.engine.features().fentry},
                      {"preemptible", sources.engine.features().preemptible},
                      {"read_only_cast", sources.engine.features().read_only_cast}};
  json["subjects"] = {{"known", control.subjects},
                      {"selected", control.selected},
                      {"slots_used", sources.engine.slots_used()},
                      {"slots_capacity", sources.engine.slots_capacity()},
                      {"without_slot", control.without_slot},
                      {"unresolved_paths", control.unresolved}};
  json["warnings"] = warnings_json(sources);
  json["modules"] = modules_json(sources);
  json["policies"] = policies_json(sources);
  json["policy_errors"] = sources.policies.errors();
  json["overridden"] = sources.control.plan().overridden;
  json["pipeline"] = pipeline_json(sources.aggregator.stats());
  json["collection"] = {{"slots", sources.last_collect.slots_read},
                        {"series_moved", sources.last_collect.series_moved},
                        {"duration_seconds", static_cast<double>(sources.last_collect.duration_ns) / 1e9}};
  json["exporters"] = exporters_json(sources.outputs);
  json["export_errors"] = sources.outputs.last_errors();
  json["overhead"] = {{"used_milli_cpu", sources.overhead.budget().used_milli_cpu()},
                      {"budget_milli_cpu", sources.overhead.milli_cpu()},
                      {"over_budget", sources.overhead.budget().over_budget()}};
  json["identity"] = identity_json(sources);
  if (sources.cluster) json["kubernetes"] = cluster_json(*sources.cluster);
  return text_of(json);
}

std::string policies_of_status(const std::string& status) {
  const Json json = parse_json<Json>(status);
  return text_of(json.is_object() && json.contains("policies") ? json["policies"] : Json::array());
}

std::string make_pods_json(const IdentitySnapshot& identity, const Members& members) {
  Json list = Json::array();
  for (const auto& [path, subject] : subjects_of(identity)) {
    Json one{{"kind", subject->kind == SubjectKind::Container ? "container" : "cgroup"}, {"cgroup", path}};
    one["cgroup_id"] = subject->cgroup_id;
    const std::pair<const char*, const std::string&> names[] = {{"namespace", subject->namespace_name},
                                                                {"pod", subject->pod_name},
                                                                {"container", subject->container_name},
                                                                {"pod_uid", subject->pod_uid},
                                                                {"runtime", subject->runtime},
                                                                {"container_id", subject->container_id},
                                                                {"qos", subject->qos},
                                                                {"image", subject->image}};
    for (const auto& [key, value] : names) {
      if (!value.empty()) one[key] = value;
    }
    // A container's processes may stand in directories inside it; other cgroups' directories are subjects themselves.
    const bool whole = subject->kind == SubjectKind::Container;
    if (auto pids = members.pids(path, kMaxPidsShown, whole)) one["pids"] = pids->pids;
    list.push_back(std::move(one));
  }
  return text_of(list);
}

std::string report_json(const std::vector<ResourceSeriesPtr>& all) {
  Json list = Json::array();
  for (const ResourceSeriesPtr& series : all) {
    Json metrics = Json::array();
    const MetricSpec* current = nullptr;
    for (const Point& point : series->points) {
      if (point.metric != current) {
        current = point.metric;
        metrics.push_back({{"name", current->name}, {"unit", current->unit}, {"points", Json::array()}});
      }
      metrics.back()["points"].push_back(point_json(point, *series));
    }
    list.push_back({{"resource", attributes_json(series->resource->attributes)},
                    {"time_unix_ns", series->time_ns},
                    {"metrics", std::move(metrics)}});
  }
  return text_of(list);
}

}  // namespace sonde
