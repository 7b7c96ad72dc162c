// SPDX-License-Identifier: Apache-2.0
// Who reads /metrics, and what each has had. A reader of last values sees an increase only if it had the value before, and
// the last value of what ended only if that stays until it comes: so each scraper is followed by two numbers. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sonde {

// What a request shows of who sends it.
struct ScrapePeer {
  std::string address;                   // without the port
  std::string agent;                     // User-Agent
  std::string timeout;                   // X-Prometheus-Scrape-Timeout-Seconds: sent by scrapers, by no person
  std::weak_ptr<const void> connection;  // lives as long as the connection does
};

// All times are CLOCK_BOOTTIME in nanoseconds. States of /metrics are numbered from 1 on, in the order in which they came.
class Scrapers {
 public:
  static constexpr uint64_t kMemory = 300'000'000'000;  // who has not come for so long is no scraper
  // A scraper that is there before the agent's values are: what it had last is an earlier agent's, so all is new to it.
  static constexpr uint64_t kBeginning = 75'000'000'000;
  static constexpr std::size_t kMost = 16;

  struct Visit {
    uint64_t peer = 0;
    uint32_t state = 0;               // the one that is served
    uint32_t new_after = UINT32_MAX;  // series that began in a later state are new to the peer
  };

  // A request for the state numbered `state`. `values_since_ns`: when the first one came; 0: none has.
  Visit begin(const ScrapePeer& peer, uint32_t state, uint64_t values_since_ns, uint64_t now_ns);
  // Its answer has left.
  void took(const Visit& visit);

  // Has every scraper had what began with state `born`: 0 first, then the last value, which came with state `ended`?
  bool had_all(uint32_t born, uint32_t ended) const;
  // How long the last value of what ended is kept for scrapers that do not come.
  uint64_t patience_ns() const;
  // Peers that came at least twice within kMemory, or said that they are scrapers.
  std::size_t count() const;
  // Who stayed away for kMemory is not waited for any longer.
  void forget(uint64_t now_ns);

 private:
  struct Peer {
    uint64_t id = 0;
    ScrapePeer who;
    uint64_t last_ns = 0;  // begin of the last visit
    uint64_t longest_gap_ns = 0;
    uint32_t visits = 0;
    uint32_t before = 0;  // states of the last two answers
    uint32_t had = 0;
    bool is_scraper() const { return visits > 0 && (visits > 1 || !who.timeout.empty()); }
  };
  Peer* find(const ScrapePeer& who);

  std::vector<Peer> peers_;
  uint64_t next_id_ = 1;
};

}  // namespace sonde
