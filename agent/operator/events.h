// SPDX-License-Identifier: Apache-2.0
// Which Events tell of failures: one per policy, probe and reason, a series if it happens again, never many. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/operator/aggregate.h"

namespace sonde::operators {

struct EventToSend {
  bool fresh = false;  // to be created; else its series goes on
  std::string namespace_name;
  std::string name;  // of the Event
  std::string kind, policy_namespace, policy, policy_uid;
  std::string reason;
  std::string note;
  uint64_t count = 1;
};

class EventLog {
 public:
  static constexpr std::size_t kMostSeries = 1000;
  static constexpr uint64_t kBurst = 20;                       // Events and updates that may follow each other
  static constexpr uint64_t kRefill = 5'000'000'000;           // one more each
  static constexpr uint64_t kSeriesEvery = 60'000'000'000;     // updates of one series
  static constexpr uint64_t kForgetAfter = 1'800'000'000'000;  // since it last happened

  // What of this policy does not work now. What was not so at the last look has happened.
  // `silent`: it is known already, from a leader before this one.
  void look(const PolicyFacts& facts, const PolicyStatusDocument& status, bool silent, uint64_t now_ns);
  // What is to be sent now; each is given once.
  std::vector<EventToSend> take(uint64_t now_ns, uint64_t realtime_ns);
  void forget(const std::string& policy_key);  // it is gone

  uint64_t dropped() const { return dropped_; }  // occurrences for which there was no room

 private:
  struct Series {
    EventToSend event;
    uint64_t told = 0;  // count when it was last sent; 0: never
    uint64_t happened_ns = 0, sent_ns = 0;
  };
  std::map<std::string, std::vector<std::string>> failing_;  // by policy: "node probe reason", sorted
  std::map<std::string, Series> series_;                     // by policy, probe and reason
  uint64_t spent_until_ns_ = 0;
  uint64_t dropped_ = 0;
};

// The bodies for events.k8s.io/v1: of a new Event, and the merge patch that counts on.
std::string event_json(const EventToSend& event, const std::string& instance, const std::string& micro_time);
std::string event_series_patch(const EventToSend& event, const std::string& micro_time);

}  // namespace sonde::operators
