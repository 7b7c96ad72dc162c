// SPDX-License-Identifier: Apache-2.0
// `prometheus.naming: legacy`: the names of the tools that Sonde replaces, computed at scrape from Sonde's own metrics.
// Where an old name has no exact counterpart, docs/ops/prometheus.md says what stands in for it.
#include <unistd.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "agent/export/prometheus_family.h"

namespace sonde {
namespace {

enum Term : uint8_t {
  kReadBytes,
  kReadOps,
  kWriteBytes,
  kWriteOps,
  kStreamWriteBytes,
  kStreamWriteOps,
  kFadviseCalls,
  kFadviseErrors,
  kCacheHit,
  kCacheMiss,
  kCacheAdded,
  kScanned,
  kReclaimed,
  kReclaimTasks,
  kTcpSendBytes,
  kTcpSendSegments,
  kFunctionBytes,
  kFunctionCalls,
  kTerms,
};

// A point of `metric` whose attribute `key` is `value` (or merely present: "*") is added to the term.
struct TermRule {
  std::string_view metric, key, value;
  Term term;
};

constexpr TermRule kTermRules[] = {
    {"sonde.file.io", "disk.io.direction", "read", kReadBytes},
    {"sonde.file.io", "disk.io.direction", "write", kWriteBytes},
    {"sonde.file.operation.duration", "sonde.file.operation", "read", kReadOps},
    {"sonde.file.operation.duration", "sonde.file.operation", "write", kWriteOps},
    {"sonde.stream.io", "disk.io.direction", "write", kStreamWriteBytes},
    {"sonde.stream.wait.duration", "disk.io.direction", "write", kStreamWriteOps},
    {"sonde.fadvise.calls", "", "", kFadviseCalls},
    {"sonde.fadvise.calls", "error.type", "*", kFadviseErrors},
    {"sonde.page_cache.read", "sonde.page_cache.outcome", "hit", kCacheHit},
    {"sonde.page_cache.read", "sonde.page_cache.outcome", "miss", kCacheMiss},
    {"sonde.page_cache.added", "", "", kCacheAdded},
    {"sonde.memory.reclaim.scanned", "", "", kScanned},
    {"sonde.memory.reclaim.reclaimed", "", "", kReclaimed},
    {"sonde.memory.reclaim.tasks", "", "", kReclaimTasks},
    {"sonde.tcp.io", "network.io.direction", "transmit", kTcpSendBytes},
    {"sonde.tcp.segments", "network.io.direction", "transmit", kTcpSendSegments},
    {"sonde.function.bytes", "", "", kFunctionBytes},
    {"sonde.function.calls", "", "", kFunctionCalls},
};

struct Terms {
  std::array<double, kTerms> sum{};
  std::array<bool, kTerms> there{};
  uint64_t start_ns = 0;  // the earliest

  bool any(Term a, Term b) const { return there[a] || there[b]; }
};

double page_size() {
  static const double size = static_cast<double>(::sysconf(_SC_PAGESIZE));
  return size;
}

using Value = std::optional<double>;

Value term(const Terms& t, Term which) { return t.there[which] ? Value(t.sum[which]) : Value(); }
Value sum(const Terms& t, Term a, Term b) { return t.any(a, b) ? Value(t.sum[a] + t.sum[b]) : Value(); }
Value pages(Value bytes) { return bytes ? Value(*bytes / page_size()) : Value(); }
Value percent(double part, double whole) { return whole > 0 ? Value(100.0 * part / whole) : Value(); }

struct LegacyMetric {
  std::string_view name;  // counters without _total
  PrometheusType type;
  std::string_view help;
  Value (*value)(const Terms&);
};

constexpr LegacyMetric kLegacyMetrics[] = {
    {"ebpf_io_read_bytes", PrometheusType::Counter, "Bytes read from files.",
     [](const Terms& t) { return term(t, kReadBytes); }},
    {"ebpf_io_read_ops", PrometheusType::Counter, "Reads of files.", [](const Terms& t) { return term(t, kReadOps); }},
    {"ebpf_io_write_bytes", PrometheusType::Counter, "Bytes written to files.",
     [](const Terms& t) { return term(t, kWriteBytes); }},
    {"ebpf_io_write_ops", PrometheusType::Counter, "Writes to files.",
     [](const Terms& t) { return term(t, kWriteOps); }},
    {"ebpf_fadvise_calls", PrometheusType::Counter, "fadvise calls.",
     [](const Terms& t) { return term(t, kFadviseCalls); }},
    {"ebpf_fadvise_success", PrometheusType::Counter, "Successful fadvise calls.",
     [](const Terms& t) {
       return t.there[kFadviseCalls] ? Value(t.sum[kFadviseCalls] - t.sum[kFadviseErrors]) : Value();
     }},
    {"ebpf_fadvise_success_rate_percent", PrometheusType::Gauge,
     "Successful fadvise calls, in percent since the "
     "start.",
     [](const Terms& t) { return percent(t.sum[kFadviseCalls] - t.sum[kFadviseErrors], t.sum[kFadviseCalls]); }},
    {"ebpf_cache_read_attempts", PrometheusType::Counter, "Pages looked up in the page cache.",
     [](const Terms& t) { return pages(sum(t, kCacheHit, kCacheMiss)); }},
    {"ebpf_cache_misses", PrometheusType::Counter, "Pages not found in the page cache.",
     [](const Terms& t) { return pages(term(t, kCacheMiss)); }},
    {"ebpf_cache_hit_rate_percent", PrometheusType::Gauge, "Page cache hits, in percent since the start.",
     [](const Terms& t) { return percent(t.sum[kCacheHit], t.sum[kCacheHit] + t.sum[kCacheMiss]); }},
    {"ebpf_cache_miss_rate_percent", PrometheusType::Gauge, "Page cache misses, in percent since the start.",
     [](const Terms& t) { return percent(t.sum[kCacheMiss], t.sum[kCacheHit] + t.sum[kCacheMiss]); }},
    {"ebpf_page_cache_adds", PrometheusType::Counter, "Pages added to the page cache.",
     [](const Terms& t) { return pages(term(t, kCacheAdded)); }},
    {"ebpf_memory_lru_pages_scanned", PrometheusType::Gauge, "Pages scanned by reclaim since the start.",
     [](const Terms& t) { return pages(term(t, kScanned)); }},
    {"ebpf_memory_lru_pages_reclaimed", PrometheusType::Gauge, "Pages reclaimed since the start.",
     [](const Terms& t) { return pages(term(t, kReclaimed)); }},
    {"ebpf_memory_reclaim_efficiency_percent", PrometheusType::Gauge, "Reclaimed pages, in percent of scanned pages.",
     [](const Terms& t) { return percent(t.sum[kReclaimed], t.sum[kScanned]); }},
    {"ebpf_memory_direct_reclaim_processes", PrometheusType::Gauge, "Tasks in direct reclaim.",
     [](const Terms& t) { return term(t, kReclaimTasks); }},
    {"app_write_bytes", PrometheusType::Counter, "Bytes written to files and streams.",
     [](const Terms& t) { return sum(t, kWriteBytes, kStreamWriteBytes); }},
    {"app_write_events", PrometheusType::Counter, "Writes to files and streams.",
     [](const Terms& t) { return sum(t, kWriteOps, kStreamWriteOps); }},
    {"app_tcp_send_bytes", PrometheusType::Counter, "TCP payload sent.",
     [](const Terms& t) { return term(t, kTcpSendBytes); }},
    {"app_tcp_send_events", PrometheusType::Counter, "TCP segments sent.",
     [](const Terms& t) { return term(t, kTcpSendSegments); }},
    {"app_uprobe_bytes", PrometheusType::Counter, "Bytes of all declared functions.",
     [](const Terms& t) { return term(t, kFunctionBytes); }},
    {"app_uprobe_calls", PrometheusType::Counter, "Calls of all declared functions.",
     [](const Terms& t) { return term(t, kFunctionCalls); }},
};

const Attribute* find(const AttributeSet& attributes, std::string_view key) {
  for (const Attribute& attribute : attributes)
    if (attribute.key == key) return &attribute;
  return nullptr;
}

bool applies(const TermRule& rule, const AttributeSet& attributes) {
  if (rule.key.empty()) return true;
  const Attribute* attribute = find(attributes, rule.key);
  if (!attribute) return false;
  const auto* text = std::get_if<std::string>(&attribute->value);
  return text && (rule.value == "*" || *text == rule.value);
}

double value_of(const Point& point) {
  if (point.metric->instrument == Instrument::Histogram) return static_cast<double>(point.count);
  return point.metric->integer ? static_cast<double>(point.integer) : point.real;
}

// The labels of one legacy series: pid and comm at process granularity.
AttributeSet process_labels(const AttributeSet& attributes) {
  AttributeSet out;
  if (const Attribute* comm = find(attributes, "process.executable.name")) out.push_back({"comm", comm->value});
  if (const Attribute* pid = find(attributes, "process.pid")) out.push_back({"pid", pid->value});
  return out;
}

void note_start(uint64_t& start_ns, uint64_t other) {
  if (other != 0 && (start_ns == 0 || other < start_ns)) start_ns = other;
}

}  // namespace

void add_legacy_families(PrometheusFamilies& families, const ResourceSeries& series, const LabelSet* shared) {
  std::map<const LabelSet*, Terms> groups;
  std::map<const LabelSet*, std::pair<double, uint64_t>> advice;
  for (const Point& point : series.points) {
    for (const TermRule& rule : kTermRules) {
      if (point.metric->name != rule.metric || !applies(rule, *point.attributes)) continue;
      Terms& terms = groups[families.labels(process_labels(*point.attributes))];
      terms.sum[rule.term] += value_of(point);
      terms.there[rule.term] = true;
      note_start(terms.start_ns, point.start_ns);
    }
    const Attribute* advised = find(*point.attributes, "sonde.fadvise.advice");
    if (advised && point.metric->name == "sonde.fadvise.calls") {
      AttributeSet own = process_labels(*point.attributes);
      own.insert(own.begin(), {"advice", advised->value});
      auto& [count, start_ns] = advice[families.labels(own)];
      count += value_of(point);
      note_start(start_ns, point.start_ns);
    }
  }
  for (const auto& [own, terms] : groups) {
    for (const LegacyMetric& metric : kLegacyMetrics) {
      Value value = metric.value(terms);
      if (!value) continue;
      PrometheusFamily& to = families.family(std::string(metric.name), "", metric.help, metric.type);
      families.add(to, {.shared = shared, .own = own, .real = *value, .start_ns = terms.start_ns});
    }
  }
  for (const auto& [own, counted] : advice) {
    PrometheusFamily& to =
        families.family("ebpf_fadvise_advice", "", "fadvise calls by advice.", PrometheusType::Counter);
    families.add(to, {.shared = shared, .own = own, .real = counted.first, .start_ns = counted.second});
  }
}

}  // namespace sonde
