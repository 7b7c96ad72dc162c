// SPDX-License-Identifier: Apache-2.0
#include "agent/policy/trace_rules.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <limits>
#include <set>

#include "agent/base/text.h"
#include "agent/policy/listed.h"

namespace sonde {
namespace {

constexpr uint32_t kMs = 1'000;  // in us
constexpr uint32_t kFunctionThreshold = 100 * kMs;
constexpr double kTreesPerSecond = 1;

// A root from this duration on. 0: only if the policy names it, since servers wait like this for hours.
uint32_t default_threshold_us(SpanOperation operation) {
  switch (operation) {
    case SpanOperation::Connect:
      return 900 * kMs;  // the first retransmission of a SYN comes after a second
    case SpanOperation::DnsLookup:
      return 1'000 * kMs;
    case SpanOperation::Accept:
    case SpanOperation::Send:
    case SpanOperation::BlockIO:
    case SpanOperation::CpuThrottle:
      return 500 * kMs;
    case SpanOperation::RunQueueWait:
      return 200 * kMs;
    case SpanOperation::OomKill:
      return 1;  // always: 0 would mean never
    case SpanOperation::Receive:
    case SpanOperation::FutexWait:
    case SpanOperation::Process:
    case SpanOperation::Function:
      return 0;
    default:
      return 100 * kMs;
  }
}

constexpr uint32_t bit(SpanOperation operation) { return 1U << static_cast<unsigned>(operation); }
constexpr uint32_t kErrorsByDefault = bit(SpanOperation::Connect) | bit(SpanOperation::DnsLookup);

uint32_t micros(const TraceThreshold& threshold) {
  return static_cast<uint32_t>(std::min<int64_t>(threshold.min_microseconds, std::numeric_limits<uint32_t>::max()));
}

}  // namespace

TraceRules::TraceRules(std::span<const ModuleEntry> modules, const Policy& policy, std::span<const FunctionAsk> functions) {
  for (const ModuleEntry& entry : modules) {
    for (const SpanSpec& span : entry.module->info().spans) recordable_ |= 1U << span.operation;
  }
  add_operations(policy);
  add_functions(policy, functions);
  settings_.errors = policy.trace_errors ? (*policy.trace_errors ? ~0U : 0) : kErrorsByDefault;
  for (unsigned i = 0; i < kSpanOperations; ++i) {
    if (settings_.threshold_us[i] == 0) settings_.errors &= ~(1U << i);
  }
  settings_.errors &= (1U << kSpanOperations) - 1;
  settings_.trees_per_second = policy.trees_per_second.value_or(kTreesPerSecond);
  settings_.peer_address = !policy.trace_include || contains(*policy.trace_include, "PeerAddress");
  say_unrecorded(policy);
}

void TraceRules::add_operations(const Policy& policy) {
  const auto at = [this](SpanOperation operation) -> uint32_t& {
    return settings_.threshold_us[static_cast<std::size_t>(operation)];
  };
  for (unsigned i = 0; i < kSpanOperations; ++i) {
    const auto operation = static_cast<SpanOperation>(i);
    const bool wanted = !policy.trace_operations || contains(*policy.trace_operations, word_of(operation));
    if (wanted && recordable(operation)) at(operation) = default_threshold_us(operation);
  }
  for (const TraceThreshold& threshold : policy.trace_thresholds) {
    const auto operation = span_operation(threshold.operation);
    if (!operation || !recordable(*operation) || *operation == SpanOperation::OomKill) continue;
    if (policy.trace_operations && !contains(*policy.trace_operations, threshold.operation)) continue;
    at(*operation) = micros(threshold);
  }
}

void TraceRules::add_functions(const Policy& policy, std::span<const FunctionAsk> functions) {
  if (!recordable(SpanOperation::Function)) return;
  uint32_t& smallest = settings_.threshold_us[static_cast<std::size_t>(SpanOperation::Function)];
  smallest = 0;
  std::vector<std::string_view> untimed;
  for (const FunctionAsk& ask : functions) {
    const std::string& name = ask.request.name;
    uint32_t threshold = kFunctionThreshold;
    bool named = false;
    for (const TraceThreshold& one : policy.trace_thresholds) {
      if (one.function != name) continue;
      threshold = micros(one);
      named = true;
    }
    if (!contains(ask.request.measure, "Duration")) {
      if (named) untimed.push_back(name);
      continue;
    }
    settings_.functions[name] = threshold;
    smallest = smallest ? std::min(smallest, threshold) : threshold;
  }
  if (!untimed.empty()) {
    sentences_.push_back(fmt::format("traces does not record the function {}: add Duration to its measure", join(untimed)));
  }
}

void TraceRules::say_unrecorded(const Policy& policy) {
  std::set<std::string> named, outside;
  if (policy.trace_operations) named.insert(policy.trace_operations->begin(), policy.trace_operations->end());
  for (const TraceThreshold& threshold : policy.trace_thresholds) {
    if (threshold.operation.empty()) continue;
    const bool listed = !policy.trace_operations || named.contains(threshold.operation);
    (listed ? named : outside).insert(threshold.operation);
  }
  std::vector<std::string> missing;
  for (const std::string& word : named) {
    if (const auto operation = span_operation(word); operation && !recordable(*operation)) missing.push_back(word);
  }
  if (!missing.empty()) sentences_.push_back(fmt::format("traces: this version does not record {}", join(missing)));
  if (!outside.empty()) {
    sentences_.push_back(fmt::format("traces: the threshold of {} has no effect, because operations does not list it",
                                     join(std::vector<std::string>(outside.begin(), outside.end()))));
  }
  const auto recorded = [](uint32_t threshold) { return threshold != 0; };
  if (std::ranges::none_of(settings_.threshold_us, recorded)) {
    sentences_.emplace_back("traces has no effect: nothing that it names is recorded by this version");
  }
}

}  // namespace sonde
