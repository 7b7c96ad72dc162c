// SPDX-License-Identifier: Apache-2.0
// Whose numbers these are, as OTLP Resources: one per container (or pod), one for the node. The rules are in
// docs/ops/metrics.md. Names come from outside and may hold anything: values are made valid UTF-8 and bounded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/identity/subject.h"
#include "agent/pipeline/batch.h"
#include "agent/policy/decision.h"

namespace sonde {

inline constexpr std::size_t kMaxKeyBytes = 384;     // k8s.pod.annotation. and the longest key Kubernetes allows
inline constexpr std::size_t kMaxValueBytes = 1024;  // annotations may be 256 KiB

// Valid UTF-8 of at most `limit` bytes; what is not UTF-8 becomes U+FFFD, what is too long ends in "...".
std::string clean_text(std::string_view text, std::size_t limit = kMaxValueBytes);

// Puts the attribute where it belongs in a set sorted by key; an attribute that is there already stays.
void add_attribute(AttributeSet& set, std::string key, std::variant<std::string, int64_t, bool> value);

// The topmost owner of a pod: the Deployment and not its ReplicaSet, the CronJob and not the Job. A static pod's, which is the
// Node, is none. Null: the pod has none, or it is not known.
const Owner* workload_of(const Subject& subject);

struct ResourceOptions {
  std::string host_name;
  std::string node_name;     // Kubernetes node; empty outside
  std::string cluster_name;  // empty: absent
  std::string instance_id;   // service.instance.id of the agent; empty: host name
  // OTEL_RESOURCE_ATTRIBUTES and the configuration's own. They win on the node's Resource; on containers they fill what
  // is absent (never service.*, which would make all containers of a node one).
  AttributeSet extra;
  // These change under the same identity, so they are opt-in.
  bool container_id = false;
  bool restart_count = false;
  bool image = false;
};

// The owner of a stream's values.
enum class StreamScope : uint8_t {
  Container,
  Pod,       // the containers of a pod together
  Workload,  // those of one name of all pods on this node that have one owner, without the pods' names
};

class ResourceRules {
 public:
  explicit ResourceRules(ResourceOptions options);

  // What is put on a subject's points. The id is 0: the aggregator gives it. In Kubernetes service.instance.id is
  // <namespace>.<pod>.<container>.<h>, where h is a hash of all attributes: an id always means the same Resource.
  // Of a workload it is <namespace>.<kind>.<name>.<container>@<node>, and nothing that differs between its pods is there.
  Resource of(const Subject& subject, const Decision& decision, StreamScope scope) const;
  // What a subject's spans carry: the same, except for service.*, which are the application's by OpenTelemetry's rule for
  // Kubernetes, so that its own spans and these show up as one service: resource.opentelemetry.io/… annotations, the labels
  // app.kubernetes.io/instance and /name, the owner, the pod; outside Kubernetes the container's name or the cgroup's.
  Resource of_spans(const Subject& subject, const Decision& decision) const;
  Resource of_node() const;

 private:
  ResourceOptions options_;
};

}  // namespace sonde
