// SPDX-License-Identifier: Apache-2.0
// Keeps this node's SondeNode as the agent says, on a thread of its own: whatever the API server does, nobody waits for it.
// By server-side apply; the object is owned by its Node and goes with it.
//
// Needs: create, patch of sondenodes; patch of sondenodes/status.
#pragma once

#include <cstdint>
#include <string>
#include <thread>

#include "agent/base/backoff.h"
#include "agent/base/mutex.h"
#include "agent/kube/api_client.h"
#include "agent/kube/report_schedule.h"

namespace sonde::kube {

inline constexpr const char* kAgentManager = "sonde-agent";

struct ReportWriterStats {
  uint64_t writes = 0;  // that went well, of the object or its status
  uint64_t failures = 0;
  uint64_t bytes = 0;      // of the last status
  std::string last_error;  // empty while all is well
};

// For an agent that does not report: what one before it left is removed, or the operator would take the node for outdated.
// Needs: delete of sondenodes. Also good if there is none.
ApiAnswer remove_report(ApiClient& client, const std::string& node_name);

class ReportWriter {
 public:
  ReportWriter(ApiClient& client, std::string node_name);
  ~ReportWriter();  // stop() the client before, or this waits for it

  void start();
  // Any thread, at once. `node_uid`: of the Node, which owns the report; empty: not known yet, so nothing is written.
  void offer(NodeReport report, const std::string& node_uid, uint64_t nodes);
  ReportWriterStats stats() const;

 private:
  void run();
  ApiAnswer write(const NodeReport& report, const std::string& node_uid);
  ApiAnswer put_object(const std::string& node_uid);

  ApiClient& client_;
  const std::string node_;
  std::string written_uid_;  // the thread's: owner of the object as it was written; empty: not written
  Chance chance_;
  mutable Mutex mutex_;
  Condition changed_;
  bool stopping_ SONDE_GUARDED_BY(mutex_) = false;
  std::string node_uid_ SONDE_GUARDED_BY(mutex_);
  ReportSchedule schedule_ SONDE_GUARDED_BY(mutex_);
  ReportWriterStats stats_ SONDE_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace sonde::kube
