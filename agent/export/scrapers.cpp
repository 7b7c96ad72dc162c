// SPDX-License-Identifier: Apache-2.0
#include "agent/export/scrapers.h"

#include <algorithm>

namespace sonde {
namespace {

bool same_connection(const std::weak_ptr<const void>& a, const std::weak_ptr<const void>& b) {
  return !a.expired() && !a.owner_before(b) && !b.owner_before(a);
}

bool alike(const ScrapePeer& a, const ScrapePeer& b) {
  return a.address == b.address && a.agent == b.agent && a.timeout == b.timeout;
}

}  // namespace

// Two Prometheus of one machine look alike, but each keeps its connection. One whose connection has ended is a peer that
// connects again; of several such it is the one that has not come for the longest time.
Scrapers::Peer* Scrapers::find(const ScrapePeer& who) {
  Peer* found = nullptr;
  for (Peer& peer : peers_) {
    if (!alike(peer.who, who)) continue;
    if (same_connection(peer.who.connection, who.connection)) return &peer;
    if (peer.who.connection.expired() && (!found || peer.last_ns < found->last_ns)) found = &peer;
  }
  return found;
}

void Scrapers::forget(uint64_t now_ns) {
  std::erase_if(peers_, [&](const Peer& peer) { return now_ns > peer.last_ns + kMemory; });
}

Scrapers::Visit Scrapers::begin(const ScrapePeer& who, uint32_t state, uint64_t values_since_ns, uint64_t now_ns) {
  Peer* peer = find(who);
  const bool fresh = peer == nullptr;
  if (fresh) {
    if (peers_.size() == kMost) {
      // Who came once makes room first, then who has stayed away the longest.
      peers_.erase(std::ranges::min_element(peers_, {}, [](const Peer& p) { return std::pair(p.is_scraper(), p.last_ns); }));
    }
    peer = &peers_.emplace_back();
    peer->id = next_id_++;
  }
  peer->who = who;
  if (!fresh) peer->longest_gap_ns = std::max(peer->longest_gap_ns, now_ns - std::min(now_ns, peer->last_ns));
  peer->last_ns = now_ns;
  Visit visit{peer->id, state};
  const bool from_the_beginning =
      !who.timeout.empty() && (values_since_ns == 0 || now_ns < values_since_ns + kBeginning);
  if (peer->visits > 0) {
    visit.new_after = peer->had;
  } else if (from_the_beginning) {
    visit.new_after = 0;
  }
  return visit;
}

void Scrapers::took(const Visit& visit) {
  const auto peer = std::ranges::find(peers_, visit.peer, &Peer::id);
  if (peer == peers_.end()) return;
  ++peer->visits;
  if (visit.state < peer->had) return;  // an older answer, overtaken on its way
  peer->before = std::min(visit.new_after, visit.state);
  peer->had = visit.state;
}

bool Scrapers::had_all(uint32_t born, uint32_t ended) const {
  return std::ranges::all_of(peers_, [&](const Peer& peer) {
    return !peer.is_scraper() || (peer.had >= ended && peer.before >= born);
  });
}

uint64_t Scrapers::patience_ns() const {
  uint64_t longest = 0;
  for (const Peer& peer : peers_) {
    if (peer.is_scraper()) longest = std::max(longest, peer.longest_gap_ns);
  }
  return 2 * longest + kMemory;
}

std::size_t Scrapers::count() const {
  return static_cast<std::size_t>(std::ranges::count_if(peers_, &Peer::is_scraper));
}

}  // namespace sonde
