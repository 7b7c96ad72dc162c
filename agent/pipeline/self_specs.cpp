// SPDX-License-Identifier: Apache-2.0
// The table of the agent's own metrics, in the order of enum SelfMetric.
#include "agent/pipeline/self_metrics.h"

namespace sonde {
namespace {

constexpr AttributeSpec kBuild[] = {{"version", "release of the agent"}};
constexpr AttributeSpec kModule[] = {{"sonde.module", "name of the probe; core"}};
constexpr AttributeSpec kModuleState[] = {{"sonde.module", "name of the probe; core"},
                                          {"sonde.state", "off, running, degraded, failed, throttled"}};
constexpr AttributeSpec kLoss[] = {{"sonde.module", "name of the probe; core"},
                                   {"sonde.reason",
                                    "task_storage, no_row, unseen_entry, compat, in_flight, no_slot, processes, "
                                    "bad_value, merged, unmeasured, moved, not_followed, other"}};
constexpr AttributeSpec kMap[] = {{"sonde.module", "name of the probe; core"}, {"sonde.map", "name of the BPF map"}};
constexpr AttributeSpec kDiscard[] = {{"sonde.reason", "not_selected, not_asked, unknown_series"}};
constexpr AttributeSpec kDetour[] = {
    {"sonde.reason",
     "unattributed_slot, unknown_slot, after_end, pending_full, series_per_container, series_per_node, hard_limit"}};
constexpr AttributeSpec kNames[] = {{"sonde.identity.source", "podsApi, kubelet, apiServer, cgroup"}};
constexpr AttributeSpec kQueue[] = {{"sonde.queue", "name of the queue"}};
constexpr AttributeSpec kExporter[] = {{"sonde.exporter", "otlp, prometheus, file"}};
constexpr AttributeSpec kOtlp[] = {{"sonde.exporter", "otlp"}};
constexpr AttributeSpec kPrometheus[] = {{"sonde.exporter", "prometheus"}};
constexpr AttributeSpec kFailure[] = {{"sonde.exporter", "otlp, prometheus, file"},
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
    whole("sonde.build_info", "", kGauge, "Always 1; says which release runs.", kBuild),
    real("sonde.agent.cpu.time", "s", kCounter, "CPU time of the agent's process, BPF programs not included."),
    whole("sonde.agent.memory.resident", "By", kGauge, "Resident memory of the agent's process."),
    whole("sonde.agent.memory.virtual", "By", kGauge, "Virtual memory of the agent's process."),
    whole("sonde.agent.fds", "{fd}", kGauge, "Open file descriptors."),
    whole("sonde.agent.threads", "{thread}", kGauge, "Threads."),
    whole("sonde.module.state", "", kGauge, "1 for the state that the probe is in.", kModuleState),
    whole("sonde.module.programs", "{program}", kGauge, "BPF programs attached now.", kModule),
    whole("sonde.module.events", "{event}", kCounter, "Runs of the probe's BPF programs.", kModule),
    real("sonde.module.run.time", "s", kCounter,
         "Time in the probe's BPF programs on all CPUs: an estimate, sampled for a second now and then.", kModule),
    real("sonde.module.run.mean", "s", kGauge, "Mean time of one run, of the last sample.", kModule),
    whole("sonde.module.missed_runs", "{event}", kCounter,
          "Runs that the kernel skipped (nmissed, recursion): events that are in no metric.", kModule),
    whole("sonde.module.losses", "{event}", kCounter, "Events that could not be counted where they belong.", kLoss),
    whole("sonde.module.collection.failures", "{collection}", kCounter, "Collections of the probe that failed.",
          kModule),
    whole("sonde.module.overhead.step", "", kGauge,
          "What the overhead budget took away: 0 nothing, 1 full sampling of histograms, 2 a level, 3 everything.",
          kModule),
    whole("sonde.map.entries", "{entry}", kGauge, "Entries in use of a BPF map; 0 where that is not known.", kMap),
    whole("sonde.map.capacity", "{entry}", kGauge, "Entries that a BPF map has room for.", kMap),
    whole("sonde.map.memory", "By", kGauge, "Kernel memory of a BPF map.", kMap),
    whole("sonde.map.update.failures", "{update}", kCounter, "Updates of a BPF map by user space that failed.", kMap),
    whole("sonde.agent.slots.used", "{slot}", kGauge, "Slots that stand for a subject."),
    whole("sonde.agent.slots.capacity", "{slot}", kGauge, "Slots there are."),
    whole("sonde.agent.samples", "{sample}", kCounter, "Changes of series that the kernel side delivered."),
    whole("sonde.agent.samples.discarded", "{sample}", kCounter, "Samples in no series, and why.", kDiscard),
    whole("sonde.agent.samples.detoured", "{sample}", kCounter,
          "Samples that are in the unattributed or an overflow series, and why.", kDetour),
    whole("sonde.agent.pending_slots", "{slot}", kGauge, "Subjects that count but are not known yet."),
    whole("sonde.agent.streams", "{stream}", kGauge, "Resources with numbers of their own."),
    whole("sonde.agent.series", "{series}", kGauge, "Series that have moved."),
    real("sonde.agent.snapshot.age", "s", kGauge, "Age of the names in use: since their source last spoke.", kNames),
    whole("sonde.agent.queue.batches", "{batch}", kGauge, "Batches that wait between two stages.", kQueue),
    whole("sonde.agent.queue.memory", "By", kGauge, "Memory of the waiting batches.", kQueue),
    whole("sonde.agent.queue.capacity", "By", kGauge, "Memory that waiting batches may have.", kQueue),
    whole("sonde.agent.queue.dropped", "{batch}", kCounter, "Batches dropped, oldest first, from a full queue.",
          kQueue),
    whole("sonde.agent.export.batches", "{batch}", kCounter, "Batches handed to the exporter.", kExporter),
    whole("sonde.agent.export.points", "{point}", kCounter, "Points that the receiver took.", kExporter),
    whole("sonde.agent.export.points.rejected", "{point}", kCounter, "Points that the receiver refused.", kExporter),
    whole("sonde.agent.export.points.dropped", "{point}", kCounter, "Points given up before they were sent.",
          kExporter),
    whole("sonde.agent.export.points.superseded", "{point}", kCounter,
          "Points replaced by a newer one of the same series before they were sent: the totals stay right.", kExporter),
    whole("sonde.agent.export.retries", "{request}", kCounter, "Requests sent again.", kExporter),
    whole("sonde.agent.export.halved", "{request}", kCounter,
          "Refused requests that were sent once more in two parts, so that one bad series spoils no others.", kOtlp),
    whole("sonde.agent.export.scrapers", "{scraper}", kGauge, "Who reads /metrics again and again.", kPrometheus),
    whole("sonde.agent.export.ended_unscraped", "{series}", kCounter,
          "Ended series that left /metrics before each scraper had their last value.", kPrometheus),
    whole("sonde.agent.export.io", "By", kCounter, "Bytes sent on the wire.", kExporter),
    whole("sonde.agent.export.failures", "{request}", kCounter, "Requests that failed, by code.", kFailure),
    whole("sonde.agent.export.queue.batches", "{batch}", kGauge, "Batches that wait in the exporter.", kExporter),
    whole("sonde.agent.export.queue.memory", "By", kGauge, "Memory or disk of what waits in the exporter.", kExporter),
    real("sonde.agent.collection.duration", "s", kHistogram, "One pass of reading the kernel's rows."),
    real("sonde.agent.export.duration", "s", kHistogram, "Handing one batch to all exporters."),
    real("sonde.agent.overhead.usage", "{cpu}", kGauge, "CPUs that the agent and its BPF programs use."),
    real("sonde.agent.overhead.budget", "{cpu}", kGauge, "CPUs that the configuration allows them; 0: any."),
};
static_assert(std::size(kSpecs) == static_cast<std::size_t>(SelfMetric::Count));

}  // namespace

std::span<const MetricSpec> self_specs() { return kSpecs; }

}  // namespace sonde
