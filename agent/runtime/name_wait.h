// SPDX-License-Identifier: Apache-2.0
// How long a decision waits for the name of a pod. Knows nothing of slots. For the agent's loop.
#pragma once

#include <cstdint>
#include <string>

#include "agent/identity/identity.h"
#include "agent/identity/subject.h"

namespace sonde {

class NameWait {
 public:
  // names: null where cgroup paths are all that will ever be known.
  explicit NameWait(const Enricher* names);

  // With what is known of its pod now.
  Subject subject_at(const std::string& path, uint64_t cgroup_id) const;
  // More will be known of a subject that is not decided yet, and there is still time. created_ns: CLOCK_BOOTTIME.
  bool waits(const Subject& subject, uint64_t created_ns) const;
  bool is_overdue(uint64_t created_ns, uint64_t now_ns) const;
  // Names or labels changed since this was last true, or `overdue`: something waits no longer. True at most every 200 ms.
  bool changed(uint64_t now_ns, bool overdue);
  bool may_return(const Subject& subject) const { return names_ && names_->may_return(subject); }
  // From now on nothing waits.
  void stop() { stopped_ = true; }
  bool has_names() const { return names_ != nullptr; }

 private:
  const Enricher* names_;
  const uint64_t started_ns_;
  bool stopped_ = false;
  uint64_t version_ = 0;
  uint64_t next_ns_ = 0;
};

}  // namespace sonde
