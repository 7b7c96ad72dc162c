// SPDX-License-Identifier: Apache-2.0
#include "agent/operator/aggregate.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "agent/base/json.h"

namespace sonde::operators {
namespace {

using kube::PolicyEntry;
using kube::PolicyFailure;

constexpr std::size_t kMostMessage = 512;

std::string cut(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  text.resize(most);
  return text;
}

std::string nodes(uint64_t n) { return n == 1 ? "1 node" : fmt::format("{} nodes", n); }

bool has(const PolicyEntry& entry, std::string_view condition) {
  return std::ranges::find(entry.conditions, condition) != entry.conditions.end();
}

class Aggregation {
 public:
  Aggregation(const PolicyFacts& facts, Evidence evidence, const std::string& now)
      : facts_(facts), evidence_(std::move(evidence)), now_(now) {
    std::ranges::sort(evidence_.reported, {}, &Reported::node);
  }

  PolicyStatusDocument run() {
    status_.observed_generation = facts_.generation;
    count();
    add_failures();
    add_accepted();
    add_ready();
    add_degraded();
    add_told("SeriesLimited", "SeriesPerNodeReached", "WithinLimits",
             "seriesPerNode is reached: the policy is lowered by a level");
    add_told("OverBudget", "OverheadBudget", "WithinBudget",
             "the agent's overhead budget is exceeded: probes are throttled");
    add_told("Overridden", "PrecedenceOrCeiling", "Undisputed", "values are overridden by another policy or a ceiling");
    add_told("Expired", "TimeIsOver", "Active", "activeForSeconds has passed");
    return std::move(status_);
  }

 private:
  bool current(const PolicyEntry& entry) const { return entry.generation >= facts_.generation; }

  void count() {
    for (const auto& [node, entry] : evidence_.reported) {
      status_.matched += entry->matched;
      if (!current(*entry)) {
        ++status_.outdated;
        continue;
      }
      status_.applied += entry->state != "Failed";
      status_.failed += entry->state == "Failed" || !entry->failures.empty();
    }
    const auto told = static_cast<uint32_t>(evidence_.reported.size());
    status_.desired = told;
    if (!facts_.namespace_name.empty()) return;  // only nodes where it selects something tell of it
    status_.desired = std::max(told, evidence_.nodes);
    status_.outdated += status_.desired - told - std::min(evidence_.without_room, status_.desired - told);
  }

  void add_failures() {
    std::set<std::pair<std::string, std::string>> known;
    for (const auto& [node, entry] : evidence_.reported) {
      if (!current(*entry)) continue;
      for (const PolicyFailure& failure : entry->failures) {
        if (status_.failures.size() == kMostFailures) return;
        if (!known.emplace(node, failure.probe).second) continue;
        StatusFailure one{std::string(node), failure.probe, failure.reason, cut(failure.message, kMostMessage), now_};
        for (const StatusFailure& before : facts_.status.failures) {
          const bool same = before.node == one.node && before.probe == one.probe && before.reason == one.reason;
          if (same && !before.since.empty()) one.since = before.since;
        }
        status_.failures.push_back(std::move(one));
      }
    }
  }

  void add(std::string type, bool value, std::string reason, std::string message) {
    add(Condition{std::move(type), value, std::move(reason), cut(std::move(message), kMostMessage), facts_.generation,
                  now_});
  }

  void add(Condition condition) {
    const Condition* before = facts_.status.find(condition.type);
    const bool same = before && before->value == condition.value && before->unknown == condition.unknown;
    if (same && !before->since.empty()) condition.since = before->since;
    status_.conditions.push_back(std::move(condition));
  }

  // Whoever did not tell neither failed nor selects nothing.
  void add_not_reported() {
    Condition condition{"Ready", false, "NotReported", "", facts_.generation, now_, true};
    condition.message =
        fmt::format("{} had no room to report this policy: see omittedPolicies", nodes(evidence_.without_room));
    add(std::move(condition));
  }

  void add_accepted() {
    if (facts_.problems.empty()) return add("Accepted", true, "Understood", "");
    add("Accepted", false, "NotUnderstood", facts_.problems.front());
  }

  void add_ready() {
    std::string ratio = fmt::format("{} of {}", status_.applied, nodes(status_.desired));
    if (evidence_.without_room) ratio += fmt::format("; {} had no room to report it", nodes(evidence_.without_room));
    if (!facts_.problems.empty()) return add("Ready", false, "NotUnderstood", "see Accepted");
    if (evidence_.without_room && status_.applied == 0 && status_.outdated == 0) return add_not_reported();
    if (status_.desired == 0) {
      if (!evidence_.patience_over && !still_ready())
        return add("Ready", false, "Waiting", "no agent has reported yet");
      return add("Ready", true, "NothingSelected", "it selects nothing on any node with an agent");
    }
    if (status_.applied == 0 && status_.outdated == 0)
      return add("Ready", false, "Failed", "it does not work on any node: see failures");
    // One node that does not answer makes it Degraded, not un-Ready.
    if (status_.outdated && !evidence_.patience_over && !still_ready()) {
      return add("Ready", false, "Progressing", "in force on " + ratio);
    }
    if (status_.applied == 0) return add("Ready", false, "Progressing", "in force on " + ratio);
    add("Ready", true, facts_.excludes ? "Excluding" : "Applied", "in force on " + ratio);
  }

  // Of this generation it was said before: a node that joins does not take it back.
  bool still_ready() const {
    const Condition* before = facts_.status.find("Ready");
    return before && before->value && before->generation == facts_.generation;
  }

  void add_degraded() {
    if (status_.failed) {
      const std::string reason = most_frequent_reason();
      for (const auto& [node, entry] : evidence_.reported) {
        for (const PolicyFailure& failure : entry->failures) {
          if (!current(*entry) || failure.reason != reason) continue;
          std::string message = fmt::format("{} on {}: {}", failure.probe, node, failure.message);
          if (status_.failed > 1) message = fmt::format("{} have failures; {}", nodes(status_.failed), message);
          return add("Degraded", true, reason, message);
        }
      }
      return add("Degraded", true, "Failed", nodes(status_.failed) + " could not apply it");
    }
    if (status_.outdated && evidence_.patience_over) {
      return add("Degraded", true, "NodesOutdated", nodes(status_.outdated) + " do not have this generation");
    }
    add("Degraded", false, "NoFailures", "");
  }

  // Of equally frequent ones the first in the alphabet.
  std::string most_frequent_reason() const {
    std::map<std::string, uint32_t> counts;
    for (const auto& [node, entry] : evidence_.reported) {
      if (!current(*entry)) continue;
      for (const PolicyFailure& failure : entry->failures) ++counts[failure.reason];
    }
    std::string reason;
    uint32_t most = 0;
    for (const auto& [word, n] : counts) {
      if (n > most) reason = word, most = n;
    }
    return reason;
  }

  // True if it is so on some node; the message says on how many, and what the first one says.
  void add_told(const char* type, const char* reason, const char* otherwise, const char* sentence) {
    uint64_t n = 0;
    std::string_view first;
    std::string said;
    for (const auto& [node, entry] : evidence_.reported) {
      if (!has(*entry, type)) continue;
      if (n++ == 0) first = node;
      if (said.empty() && std::string_view(type) == "Overridden") said = entry->message;
    }
    if (n == 0) return add(type, false, otherwise, "");
    if (said.empty()) said = sentence;
    add(type, true, reason, fmt::format("on {} ({}{}): {}", nodes(n), first, n > 1 ? ", ..." : "", said));
  }

  const PolicyFacts& facts_;
  Evidence evidence_;
  const std::string& now_;
  PolicyStatusDocument status_;
};

}  // namespace

const Condition* PolicyStatusDocument::find(std::string_view type) const {
  const auto found = std::ranges::find(conditions, type, &Condition::type);
  return found == conditions.end() ? nullptr : &*found;
}

bool PolicyStatusDocument::is(std::string_view type) const {
  const Condition* condition = find(type);
  return condition && condition->value;
}

PolicyStatusDocument aggregate(const PolicyFacts& facts, Evidence evidence, const std::string& now) {
  return Aggregation(facts, std::move(evidence), now).run();
}

bool complete(const PolicyStatusDocument& status) {
  return status.outdated == 0 && (status.desired > 0 || status.is("Ready"));
}

bool same_but_counts(const PolicyStatusDocument& a, const PolicyStatusDocument& b) {
  PolicyStatusDocument other = b;
  other.matched = a.matched;
  return a == other;
}

std::string status_patch(const PolicyStatusDocument& status) {
  using Json = nlohmann::ordered_json;
  Json conditions = Json::array(), failures = Json::array();
  for (const Condition& condition : status.conditions) {
    conditions.push_back({{"type", condition.type},
                          {"status", condition.unknown ? "Unknown"
                                     : condition.value ? "True"
                                                       : "False"},
                          {"observedGeneration", condition.generation},
                          {"lastTransitionTime", condition.since},
                          {"reason", condition.reason},
                          {"message", condition.message}});
  }
  for (const StatusFailure& failure : status.failures) {
    failures.push_back({{"nodeName", failure.node},
                        {"probe", failure.probe},
                        {"reason", failure.reason},
                        {"message", failure.message},
                        {"lastTransitionTime", failure.since}});
  }
  const Json json{{"status",
                   {{"observedGeneration", status.observed_generation},
                    {"desiredNodes", status.desired},
                    {"appliedNodes", status.applied},
                    {"failedNodes", status.failed},
                    {"outdatedNodes", status.outdated},
                    {"matchedContainers", status.matched},
                    {"conditions", conditions},
                    {"failures", failures}}}};
  return json_text(json);
}

}  // namespace sonde::operators
