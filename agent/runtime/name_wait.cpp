// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/name_wait.h"

#include <algorithm>

#include "agent/base/clock.h"

namespace sonde {
namespace {

// A pod's own status, which names its containers, comes about a second after they begin to run.
constexpr uint64_t kLongest = 10'000'000'000;
constexpr uint64_t kNameLookEvery = 200'000'000;

}  // namespace

NameWait::NameWait(const Enricher* names) : names_(names), started_ns_(boottime_ns()) {}

Subject NameWait::subject_at(const std::string& path, uint64_t cgroup_id) const {
  Subject subject = subject_of(path, cgroup_id, 0);
  if (names_) names_->enrich(subject);
  return subject;
}

bool NameWait::waits(const Subject& subject, uint64_t created_ns) const {
  return names_ && !stopped_ && !names_->complete(subject) && !is_overdue(created_ns, boottime_ns());
}

// What was there before the agent waits from its start.
bool NameWait::is_overdue(uint64_t created_ns, uint64_t now_ns) const {
  return now_ns >= std::max(created_ns, started_ns_) + kLongest;
}

bool NameWait::changed(uint64_t now_ns, bool overdue) {
  if (!names_ || now_ns < next_ns_) return false;
  const uint64_t version = names_->version();
  if (version == version_ && !overdue) return false;
  version_ = version;
  next_ns_ = now_ns + kNameLookEvery;
  return true;
}

}  // namespace sonde
