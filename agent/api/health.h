// SPDX-License-Identifier: Apache-2.0
// Named checks behind /livez, /readyz, /healthz and grpc.health.v1. Whoever knows something registers a function:
//   health.add(HealthKind::Ready, "probes", [] { return probes_attached(); });
// A live check tells that a thread of the agent is stuck; it must never depend on collector, kubelet or API server.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/mutex.h"
#include "agent/base/result.h"

namespace sonde {

enum class HealthKind { Live, Ready };

struct HealthResult {
  std::string name;
  bool ok = true;
  std::string message;  // why not, a sentence
};

class HealthChecks {
 public:
  using Check = std::function<Result<void>()>;  // quick; called from HTTP and gRPC threads

  void add(HealthKind kind, std::string name, Check check);
  void shutting_down();  // from now on not ready; still alive

  // Live: the live checks. Ready: live and ready ones, and "shutdown".
  std::vector<HealthResult> run(HealthKind kind) const;
  bool ok(HealthKind kind) const;

 private:
  struct Entry {
    HealthKind kind;
    std::string name;
    Check check;
  };
  mutable Mutex mutex_;
  std::vector<Entry> entries_ SONDE_GUARDED_BY(mutex_);
  bool shutting_down_ SONDE_GUARDED_BY(mutex_) = false;
};

}  // namespace sonde
