// SPDX-License-Identifier: Apache-2.0
// Leader election by a Lease of coordination.k8s.io, as client-go does it: who holds the Lease renews it every two seconds
// and leads no longer than ten after the last renewal; who sees it unchanged for fifteen takes it. No clocks are
// compared between machines. A leader that ends gives it back.
//
// Needs: get, create, update of leases in its namespace.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/base/backoff.h"
#include "agent/base/worker.h"
#include "agent/kube/api_client.h"

namespace sonde::kube {

struct LeaseOptions {
  std::string namespace_name;
  std::string name;
  std::string identity;  // unlike that of all other candidates
  uint64_t duration_ns = 15'000'000'000;
  uint64_t renew_deadline_ns = 10'000'000'000;
  uint64_t retry_ns = 2'000'000'000;  // and up to a fifth more
};

struct LeaseRecord {
  std::string holder;             // empty: nobody
  std::string acquired, renewed;  // as the API server has them
  uint64_t duration_seconds = 0;
  uint64_t transitions = 0;
  std::string version;  // resourceVersion
  friend bool operator==(const LeaseRecord&, const LeaseRecord&) = default;
};
std::optional<LeaseRecord> parse_lease(std::string_view object);

enum class LeaseStep : uint8_t { Create, Take, Renew, Wait };
// What to do about this record (none: there is no Lease), seen unchanged since `unchanged_since_ns`. Pure.
LeaseStep next_step(const std::optional<LeaseRecord>& record, const std::string& identity, uint64_t unchanged_since_ns,
                    uint64_t now_ns);

// 2026-01-31T10:00:00Z, and with microseconds; of CLOCK_REALTIME.
std::string time_text(uint64_t realtime_ns);
std::string micro_time_text(uint64_t realtime_ns);

class LeaderElection {
 public:
  LeaderElection(ApiClient& client, LeaseOptions options);
  ~LeaderElection();  // release() or stop() of the client before

  void start();
  bool leads() const;
  void release();  // gives the Lease back if it is ours; the election is over
  uint64_t failures() const { return failures_; }

 private:
  void run();
  void turn();
  bool write(LeaseStep step, const std::optional<LeaseRecord>& before, const std::string& holder);

  ApiClient& client_;
  const LeaseOptions options_;
  Chance chance_;
  std::optional<LeaseRecord> seen_;
  uint64_t seen_ns_ = 0;
  std::atomic<uint64_t> renewed_ns_{0};  // CLOCK_BOOTTIME before the request that went well; 0: it is not ours
  std::atomic<uint64_t> failures_{0};
  std::string last_error_;
  Worker worker_;
};

}  // namespace sonde::kube
