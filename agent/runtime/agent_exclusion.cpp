// SPDX-License-Identifier: Apache-2.0
// When the agent leaves because a policy excludes everything.
#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/policy/resolve.h"
#include "agent/runtime/agent.h"

namespace sonde {

// All programs but the core's are detached by then, and what is in the rows has been taken out a last time. The ends of the
// streams go out with the last flush.
bool Agent::may_leave(uint64_t now) const { return leave_ns_ && now >= leave_ns_ && functions_->attached() == 0; }

void Agent::note_exclusion(const std::vector<Policy>& policies, const ResolveContext& context) {
  if (!options_.may_leave) return;
  const Policy* by = excludes_all(policies, context);
  excluded_by_ = by ? display_name(*by) : std::string();
  leave_ns_ = !by ? 0 : leave_ns_ ? leave_ns_ : boottime_ns() + 700 * kMillisecond;
}

ResolveContext Agent::resolve_context() const {
  ResolveContext context = config_.resolve_context(cluster_ != nullptr, realtime_ns());
  if (cluster_) context.node_labels = cluster_->node_labels();
  return context;
}

}  // namespace sonde
