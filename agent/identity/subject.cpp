// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/subject.h"

#include "agent/identity/cgroup_path.h"
#include "agent/identity/identity.h"

namespace sonde {

// A container that is started again has a new cgroup with a new id and goes on under its own id. A cgroup that is no
// container's is nothing but its directory: the same path made again is somebody else.
std::string Subject::key() const {
  switch (kind) {
    case SubjectKind::Unattributed: return "unattributed";
    case SubjectKind::Container: return "container:" + container_id;
    case SubjectKind::Cgroup: break;
  }
  return "cgroup:" + std::to_string(cgroup_id) + ":" + cgroup_path;
}

Subject subject_of(const std::string& path, uint64_t cgroup_id, uint64_t created_ns) {
  CgroupPath parsed = parse_cgroup_path(path);
  Subject subject;
  subject.kind = parsed.container_id.empty() ? SubjectKind::Cgroup : SubjectKind::Container;
  subject.cgroup_path = parsed.inside ? parsed.container_path : path;
  subject.cgroup_id = cgroup_id;
  subject.started_ns = created_ns;
  subject.runtime = std::move(parsed.runtime);
  subject.container_id = std::move(parsed.container_id);
  subject.pod_uid = std::move(parsed.pod_uid);
  subject.qos = std::move(parsed.qos);
  return subject;
}

}  // namespace sonde
