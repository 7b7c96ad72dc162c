// SPDX-License-Identifier: Apache-2.0
// A MonitorPolicy as plain data, exactly as written: absent fields are absent, defaults are applied at
// resolution. Parsed from YAML in agent/config, and from the API server in agent/kube.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/module/metric.h"

namespace sonde {

enum class Mode : uint8_t { Monitor, Exclude };
enum class Granularity : uint8_t { Workload, Pod, Container, Process };          // from coarse to fine
enum class CleanupStrategy : uint8_t { NoCleanup, KeepRecent, ClearAfterRead };  // by strictness

// As written in a policy.
std::string_view word_of(Level level);
std::string_view word_of(Granularity granularity);
std::string_view word_of(CleanupStrategy strategy);
std::string_view word_of(Mode mode);

enum class SelectorOperator : uint8_t { In, NotIn, Exists, DoesNotExist };
struct LabelRequirement {
  std::string key;
  SelectorOperator op = SelectorOperator::Exists;
  std::vector<std::string> values;
};
// Kubernetes label selector: all requirements must hold; empty selects everything.
struct LabelSelector {
  std::map<std::string, std::string> match_labels;
  std::vector<LabelRequirement> match_expressions;
  bool matches(const std::map<std::string, std::string>& labels) const;
};

struct ProbeRequest {
  std::string name;  // module or alias, `all`
  std::optional<Level> level;
  std::optional<int> sample_histograms_every;
  std::vector<std::string> include_metrics;  // opt-in metrics by name
  std::vector<std::string> exclude_metrics;
};

struct FunctionRequest {
  std::string name;
  std::string type;  // Uprobe, USDT, Kernel
  std::string path;  // empty for USDT: every file with the tracepoint
  std::string symbol;
  std::vector<std::string> measure;   // Calls, Duration, Errors, Bytes
  std::optional<int> bytes_argument;  // 1-based
  std::string bytes_abi;              // Auto, C, Go
  std::string errors_when;            // Negative, Null, NonZero: return values that are errors; empty: Negative
  friend bool operator==(const FunctionRequest&, const FunctionRequest&) = default;
};

// Operations by their word (span_operation.h).
struct TraceThreshold {
  std::string operation;  // empty: `function` is not
  std::string function;
  int64_t min_microseconds = 0;
};

struct Policy {
  // Identity
  std::string name;
  std::string namespace_name;  // empty: cluster-scoped
  std::string source;          // file and line, or "default", or the object's UID: for messages
  bool is_default = false;     // the agent's default policy: lowest precedence
  int64_t generation = 0;
  uint64_t created_ns = 0;  // CLOCK_REALTIME of the last spec change, for activeForSeconds

  // Selection
  Mode mode = Mode::Monitor;
  int priority = 0;
  std::optional<int64_t> active_for_seconds;
  std::optional<LabelSelector> node_selector;
  std::optional<LabelSelector> namespace_selector;
  std::optional<LabelSelector> pod_selector;
  std::vector<std::string> container_names;  // also container ids (prefix of 12 or more) outside Kubernetes
  std::vector<std::string> container_types;  // Regular, Init, Ephemeral, Sidecar
  std::vector<std::string> cgroups;          // path globs (files only)
  std::vector<std::string> commands;         // comm globs (files only)

  // Probes
  std::optional<Level> preset;
  std::vector<ProbeRequest> probes;
  std::vector<FunctionRequest> functions;

  // Collection
  std::optional<int> period_seconds;
  std::optional<Granularity> granularity;
  std::optional<CleanupStrategy> cleanup;
  std::optional<int> idle_seconds;
  std::optional<int> series_per_container;
  std::optional<int> series_per_node;
  std::optional<bool> traces_enabled;
  std::optional<std::vector<std::string>> trace_operations;
  std::vector<TraceThreshold> trace_thresholds;
  std::optional<bool> trace_errors;
  std::optional<std::vector<std::string>> trace_include;  // PeerAddress
  std::optional<int> trees_per_second;
  std::optional<std::vector<std::string>> pod_labels;
  std::optional<std::vector<std::string>> pod_annotations;
};

}  // namespace sonde
