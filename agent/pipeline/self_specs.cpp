// SPDX-License-Identifier: Apache-2.0
// The table of the agent's own metrics, in the order of enum SelfMetric.
#include <string>

#include "agent/module/losses.h"
#include "agent/pipeline/self_metrics.h"

namespace sonde {
namespace {

constexpr AttributeSpec kBuild[] = {{"version", "version of the agent"}};
constexpr AttributeSpec kModule[] = {{"sonde.module", "name of the probe, or core"}};
constexpr AttributeSpec kModuleState[] = {{"sonde.module", "name of the probe, or core"},
                                          {"sonde.state", "off, running, degraded, failed, throttled"}};
// Composed of what the modules say, so not constant.
const std::string kLossNames = loss_names();
const AttributeSpec kLoss[] = {{"sonde.module", "name of the probe, or core"}, {"sonde.reason", kLossNames}};
constexpr AttributeSpec kMap[] = {{"sonde.module", "name of the probe, or core"}, {"sonde.map", "name of the BPF map"}};
constexpr AttributeSpec kDiscard[] = {{"sonde.reason", "not_selected, not_asked, unknown_series"}};
constexpr AttributeSpec kDetour[] = {
    {"sonde.reason",
     "unattributed_slot, unknown_slot, after_end, pending_full, series_per_container, series_per_node, hard_limit"}};
constexpr AttributeSpec kNames[] = {{"sonde.identity.source", "podsApi, kubelet, apiServer, cgroup"}};
constexpr AttributeSpec kQueue[] = {{"sonde.queue", "name of the queue"}};
constexpr AttributeSpec kExporter[] = {{"sonde.exporter", "otlp, prometheus, file"}};
constexpr AttributeSpec kAnyExporter[] = {{"sonde.exporter", "otlp, prometheus, file, otlp_traces, file_traces"}};
constexpr AttributeSpec kSpanExporter[] = {{"sonde.exporter", "otlp_traces, file_traces"}};
constexpr AttributeSpec kSpanDrop[] = {
    {"sonde.exporter", "otlp_traces, file_traces"},
    {"sonde.reason", "queue_full, refused, too_large, retried_too_long, exit; of files disk_full, write, ..."}};
constexpr AttributeSpec kHalving[] = {{"sonde.exporter", "otlp, otlp_traces"}};
constexpr AttributeSpec kSpanLoss[] = {{"sonde.reason", "buffer_full, unknown_owner, malformed"}};
constexpr AttributeSpec kPrometheus[] = {{"sonde.exporter", "prometheus"}};
constexpr AttributeSpec kFailure[] = {{"sonde.exporter", "otlp, prometheus, file, otlp_traces, file_traces"},
                                      {"error.type", "UNAVAILABLE, http_503, tls, ..."}};

constexpr auto kCounter = Instrument::Counter;
constexpr auto kGauge = Instrument::Gauge;
constexpr auto kHistogram = Instrument::Histogram;

constexpr MetricSpec whole(std::string_view name, std::string_view unit, Instrument instrument,
                           std::string_view description, std::span<const AttributeSpec> attributes = {}) {
  return {name, unit, instrument, Level::Minimal, description, attributes, false, true, true};
}
constexpr MetricSpec real(std::string_view name, std::string_view unit, Instrument instrument,
                          std::string_view description, std::span<const AttributeSpec> attributes = {}) {
  return {name, unit, instrument, Level::Minimal, description, attributes, false, true, false};
}

constexpr MetricSpec kSpecs[] = {
    whole("sonde.build_info", "", kGauge, "Always 1; carries the version.", kBuild),
    real("sonde.agent.cpu.time", "s", kCounter, "CPU time of the agent process, without BPF programs."),
    whole("sonde.agent.memory.resident", "By", kGauge, "Resident memory of the agent process."),
    whole("sonde.agent.memory.virtual", "By", kGauge, "Virtual memory of the agent process."),
    whole("sonde.agent.fds", "{fd}", kGauge, "Open file descriptors."),
    whole("sonde.agent.threads", "{thread}", kGauge, "Threads."),
    whole("sonde.module.state", "", kGauge, "1 for the probe's current state.", kModuleState),
    whole("sonde.module.programs", "{program}", kGauge, "BPF programs currently attached.", kModule),
    whole("sonde.module.events", "{event}", kCounter, "Runs of the probe's BPF programs.", kModule),
    real("sonde.module.run.time", "s", kCounter,
         "Time spent in the probe's BPF programs on all CPUs; an estimate from occasional one-second samples.",
         kModule),
    real("sonde.module.run.mean", "s", kGauge, "Mean time per run in the last sample.", kModule),
    whole("sonde.module.missed_runs", "{event}", kCounter,
          "Runs that the kernel skipped (nmissed, recursion): events missing from every metric.", kModule),
    whole("sonde.module.losses", "{event}", kCounter, "Events that could not be counted where they belong.", kLoss),
    whole("sonde.module.collection.failures", "{collection}", kCounter, "Failed collections of the probe.", kModule),
    whole("sonde.module.overhead.step", "", kGauge,
          "Throttling by the overhead budget: 0 none, 1 histograms are sampled, 2 one level lower, 3 switched off.",
          kModule),
    whole("sonde.map.entries", "{entry}", kGauge, "Entries in use in a BPF map; 0 if unknown.", kMap),
    whole("sonde.map.capacity", "{entry}", kGauge, "Capacity of a BPF map in entries.", kMap),
    whole("sonde.map.memory", "By", kGauge, "Kernel memory of a BPF map.", kMap),
    whole("sonde.map.update.failures", "{update}", kCounter, "Failed updates of a BPF map from user space.", kMap),
    whole("sonde.agent.slots.used", "{slot}", kGauge, "Slots in use, one per subject."),
    whole("sonde.agent.slots.capacity", "{slot}", kGauge, "Total number of slots."),
    whole("sonde.agent.samples", "{sample}", kCounter, "Changes of series delivered by the BPF programs."),
    whole("sonde.agent.samples.discarded", "{sample}", kCounter, "Samples that are in no series, by reason.", kDiscard),
    whole("sonde.agent.samples.detoured", "{sample}", kCounter,
          "Samples that ended up in the unattributed or an overflow series, by reason.", kDetour),
    whole("sonde.agent.pending_slots", "{slot}", kGauge, "Subjects that are being counted but not identified yet."),
    whole("sonde.agent.streams", "{stream}", kGauge, "Resources with their own series."),
    whole("sonde.agent.series", "{series}", kGauge, "Series that have changed at least once."),
    real("sonde.agent.snapshot.age", "s", kGauge,
         "Age of the pod and container names in use: "
         "time since their source last answered.",
         kNames),
    whole("sonde.agent.queue.batches", "{batch}", kGauge, "Batches queued between two stages.", kQueue),
    whole("sonde.agent.queue.memory", "By", kGauge, "Memory used by queued batches.", kQueue),
    whole("sonde.agent.queue.capacity", "By", kGauge, "Memory limit for queued batches.", kQueue),
    whole("sonde.agent.queue.dropped", "{batch}", kCounter, "Batches dropped from a full queue, oldest first.", kQueue),
    whole("sonde.agent.export.batches", "{batch}", kCounter, "Batches handed to the exporter.", kAnyExporter),
    whole("sonde.agent.export.points", "{point}", kCounter, "Points that the receiver accepted.", kExporter),
    whole("sonde.agent.export.points.rejected", "{point}", kCounter, "Points that the receiver rejected.", kExporter),
    whole("sonde.agent.export.points.dropped", "{point}", kCounter, "Points dropped before they were sent.", kExporter),
    whole("sonde.agent.export.points.superseded", "{point}", kCounter,
          "Points replaced by a newer point of the same series before they were sent; totals stay correct.", kExporter),
    whole("sonde.agent.export.spans", "{span}", kCounter, "Spans that the receiver accepted.", kSpanExporter),
    whole("sonde.agent.export.spans.rejected", "{span}", kCounter, "Spans that the receiver rejected.", kSpanExporter),
    whole("sonde.agent.export.spans.dropped", "{span}", kCounter, "Spans dropped before they were sent, by reason.",
          kSpanDrop),
    whole("sonde.agent.export.retries", "{request}", kCounter, "Retried requests.", kAnyExporter),
    whole("sonde.agent.export.halved", "{request}", kCounter,
          "Rejected requests that were split in two and sent again, so that one bad series or span does not affect others.",
          kHalving),
    whole("sonde.agent.export.scrapers", "{scraper}", kGauge, "Clients that scrape /metrics repeatedly.", kPrometheus),
    whole("sonde.agent.export.ended_unscraped", "{series}", kCounter,
          "Ended series that were removed from /metrics before every scraper had fetched their last value.",
          kPrometheus),
    whole("sonde.agent.export.io", "By", kCounter, "Bytes sent on the wire.", kAnyExporter),
    whole("sonde.agent.export.failures", "{request}", kCounter, "Failed requests, by error code.", kFailure),
    whole("sonde.agent.export.queue.batches", "{batch}", kGauge, "Batches queued in the exporter.", kExporter),
    whole("sonde.agent.export.queue.spans", "{span}", kGauge, "Spans queued in the exporter.", kSpanExporter),
    whole("sonde.agent.export.queue.memory", "By", kGauge,
          "Memory or disk space used by batches and spans queued in the exporter.",
          kAnyExporter),
    real("sonde.agent.collection.duration", "s", kHistogram,
         "Duration of a collection: "
         "reading all data from the kernel."),
    real("sonde.agent.export.duration", "s", kHistogram, "Time to hand a batch to all exporters."),
    real("sonde.agent.overhead.usage", "{cpu}", kGauge, "CPUs used by the agent and its BPF programs."),
    real("sonde.agent.overhead.budget", "{cpu}", kGauge, "CPU budget from the configuration; 0: unlimited."),
    whole("sonde.agent.spans", "{span}", kCounter, "Spans handed to the exporters."),
    whole("sonde.agent.spans.suppressed", "{operation}", kCounter,
          "Operations that qualified as spans but exceeded the limit on spans."),
    whole("sonde.agent.spans.lost", "{span}", kCounter, "Spans that were lost before they could be exported.", kSpanLoss),
};
static_assert(std::size(kSpecs) == static_cast<std::size_t>(SelfMetric::Count));

}  // namespace

std::span<const MetricSpec> self_specs() { return kSpecs; }

}  // namespace sonde
