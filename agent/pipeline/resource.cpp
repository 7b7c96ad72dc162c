// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/resource.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>

#include "agent/base/text.h"

namespace sonde {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::array<std::string_view, 7> kOwnerKinds = {
    "deployment", "replicaset", "statefulset", "daemonset", "job", "cronjob", "replicationcontroller"};

// Length of the UTF-8 sequence at the beginning of `text`; 0 if it is none (overlong forms and surrogates are none).
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

class Builder {
 public:
  void add(std::string_view key, std::string_view value) {
    if (!value.empty()) add_attribute(resource_.attributes, std::string(key), clean_text(value));
  }
  void promote(std::string_view key, std::string_view value) {
    if (value.empty()) return;
    add(key, value);
    add_attribute(resource_.promoted, std::string(key), clean_text(value));
  }
  // An empty label is a label.
  void promote_listed(std::string_view prefix, const std::vector<std::string>& keys,
                      const std::map<std::string, std::string>& values) {
    for (const std::string& key : keys) {
      auto found = values.find(key);
      if (found == values.end()) continue;
      const std::string name = clean_text(std::string(prefix) + key, kMaxKeyBytes);
      add_attribute(resource_.attributes, name, clean_text(found->second));
      add_attribute(resource_.promoted, name, clean_text(found->second));
    }
  }
  Resource& resource() { return resource_; }

 private:
  Resource resource_;
};

// 8 hex digits, the same on every machine and in every version (FNV-1a, folded).
std::string hash_of(const AttributeSet& attributes) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  const auto add = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    hash = (hash ^ 0xff) * 0x100000001b3ULL;  // no byte of UTF-8: a border
  };
  for (const Attribute& attribute : attributes) {
    add(attribute.key);
    if (const auto* text = std::get_if<std::string>(&attribute.value)) add(*text);
    if (const auto* number = std::get_if<int64_t>(&attribute.value)) add(std::to_string(*number));
    if (const auto* truth = std::get_if<bool>(&attribute.value)) add(*truth ? "true" : "false");
  }
  return fmt::format("{:08x}", static_cast<uint32_t>(hash ^ hash >> 32));
}

void add_owner(Builder& out, const Owner& owner) {
  const std::string kind = lower(owner.kind);
  if (std::ranges::find(kOwnerKinds, kind) != kOwnerKinds.end()) out.add("k8s." + kind + ".name", owner.name);
}

const std::string& node_of(const Subject& subject, const ResourceOptions& options) {
  return subject.node_name.empty() ? options.node_name : subject.node_name;
}

void promote_workload(Builder& out, const Owner& workload) {
  out.promote("sonde.workload.kind", workload.kind);
  out.promote("sonde.workload.name", workload.name);
}

void add_workload(Builder& out, const Subject& subject, const ResourceOptions& options) {
  const Owner& owner = *workload_of(subject);
  out.promote("k8s.cluster.name", options.cluster_name);
  out.promote("k8s.node.name", node_of(subject, options));
  out.promote("k8s.namespace.name", subject.namespace_name);
  out.promote("k8s.container.name", subject.container_name);
  add_owner(out, owner);
  promote_workload(out, owner);
}

void add_pod(Builder& out, const Subject& subject, const Decision& decision, const ResourceOptions& options,
             StreamScope scope) {
  out.promote("k8s.cluster.name", options.cluster_name);
  out.promote("k8s.node.name", node_of(subject, options));
  out.promote("k8s.namespace.name", subject.namespace_name);
  out.promote("k8s.pod.name", subject.pod_name);
  out.add("k8s.pod.uid", subject.pod_uid);
  if (scope == StreamScope::Container) {
    out.promote("k8s.container.name", subject.container_name);
    if (options.container_id) out.add("container.id", subject.container_id);
    if (options.image) out.add("container.image.name", subject.image);
    if (options.restart_count) {
      add_attribute(out.resource().attributes, "k8s.container.restart_count", int64_t{subject.restart_count});
    }
  }
  for (const Owner& owner : subject.owners) add_owner(out, owner);
  if (const Owner* workload = workload_of(subject)) promote_workload(out, *workload);
  out.promote_listed("k8s.pod.label.", decision.pod_labels, subject.pod_labels);
  out.promote_listed("k8s.pod.annotation.", decision.pod_annotations, subject.pod_annotations);
}

// When all other attributes are there.
std::string instance_of(const Subject& subject, const Resource& resource, const ResourceOptions& options,
                        StreamScope scope) {
  if (scope == StreamScope::Workload) {
    const Owner& owner = *workload_of(subject);
    return fmt::format("{}.{}.{}.{}@{}", subject.namespace_name, owner.kind, owner.name, subject.container_name,
                       node_of(subject, options));
  }
  const std::string container = scope == StreamScope::Container ? "." + subject.container_name : "";
  return fmt::format("{}.{}{}.{}", subject.namespace_name, subject.pod_name, container, hash_of(resource.attributes));
}

void add_local(Builder& out, const Subject& subject, const ResourceOptions& options, bool pod) {
  out.add("host.name", options.host_name);
  out.promote("k8s.node.name", options.node_name);
  if (!subject.pod_uid.empty()) out.promote("k8s.pod.uid", subject.pod_uid);
  if (pod && !subject.pod_uid.empty()) {
    out.add("service.instance.id", subject.pod_uid);
  } else if (!subject.container_id.empty()) {
    out.promote("container.id", subject.container_id);
    out.promote("container.name", subject.container_name);
    out.add("service.instance.id", subject.container_id);
    // Nothing but 64 digits tells that it is a container: where it is may be all that a reader can go by.
    if (subject.runtime.empty() && subject.pod_uid.empty()) out.promote("sonde.cgroup.path", subject.cgroup_path);
  } else {
    out.promote("sonde.cgroup.path", subject.cgroup_path);
    out.add("service.instance.id", options.host_name + ":" + subject.cgroup_path);  // paths are alike on all hosts
  }
}

std::string_view value_of(const std::map<std::string, std::string>& values, const std::string& key) {
  const auto found = values.find(key);
  return found == values.end() ? std::string_view() : found->second;
}

std::string service_of(const Subject& subject) {
  for (const char* label : {"app.kubernetes.io/instance", "app.kubernetes.io/name"}) {
    if (const std::string_view value = value_of(subject.pod_labels, label); !value.empty()) return std::string(value);
  }
  if (const Owner* workload = workload_of(subject)) return workload->name;
  if (!subject.pod_name.empty()) return subject.pod_name;
  if (!subject.container_name.empty()) return subject.container_name;
  if (!subject.container_id.empty()) return subject.container_id;
  const std::string_view path = subject.cgroup_path;
  const std::string_view last = path.substr(path.rfind('/') + 1);
  return last.empty() ? "unknown_service" : std::string(last);
}

}  // namespace

std::string clean_text(std::string_view text, std::size_t limit) {
  std::string out;
  out.reserve(std::min(text.size(), limit));
  constexpr std::string_view kCut = "...";
  const bool cut = text.size() > limit && limit > kCut.size();
  const std::size_t room = cut ? limit - kCut.size() : limit;
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    const std::string_view next = length ? text.substr(0, length) : kReplacement;
    if (out.size() + next.size() > room) break;
    out += next;
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  if (cut) out += kCut;
  return out;
}

void add_attribute(AttributeSet& set, std::string key, std::variant<std::string, int64_t, bool> value) {
  auto place = std::ranges::lower_bound(set, key, {}, &Attribute::key);
  if (place != set.end() && place->key == key) return;
  set.insert(place, {std::move(key), std::move(value)});
}

const Owner* workload_of(const Subject& subject) {
  return subject.owners.empty() || subject.owners.back().kind == "Node" ? nullptr : &subject.owners.back();
}

ResourceRules::ResourceRules(ResourceOptions options) : options_(std::move(options)) {}

Resource ResourceRules::of(const Subject& subject, const Decision& decision, StreamScope scope) const {
  Builder out;
  out.add("service.name", "sonde");
  const bool local = subject.pod_name.empty();
  if (local) {
    add_local(out, subject, options_, scope == StreamScope::Pod);
  } else if (scope == StreamScope::Workload) {
    add_workload(out, subject, options_);
  } else {
    add_pod(out, subject, decision, options_, scope);
  }
  Resource& resource = out.resource();
  for (const Attribute& attribute : options_.extra) {
    if (!attribute.key.starts_with("service.")) add_attribute(resource.attributes, attribute.key, attribute.value);
  }
  if (!local) out.add("service.instance.id", instance_of(subject, resource, options_, scope));
  return std::move(resource);
}

Resource ResourceRules::of_spans(const Subject& subject, const Decision& decision) const {
  Builder out;
  const auto chosen = [&](std::string_view attribute) {
    return value_of(subject.pod_annotations, "resource.opentelemetry.io/" + std::string(attribute));
  };
  out.add("service.name", chosen("service.name"));
  out.add("service.name", service_of(subject));
  out.add("service.namespace", chosen("service.namespace"));
  out.add("service.namespace", subject.namespace_name);
  out.add("service.version", chosen("service.version"));
  out.add("service.version", value_of(subject.pod_labels, "app.kubernetes.io/version"));
  out.add("service.instance.id", chosen("service.instance.id"));
  if (!subject.pod_name.empty() && !subject.container_name.empty()) {
    out.add("service.instance.id",
            fmt::format("{}.{}.{}", subject.namespace_name, subject.pod_name, subject.container_name));
  }
  for (const Attribute& attribute : of(subject, decision, StreamScope::Container).attributes) {
    add_attribute(out.resource().attributes, attribute.key, attribute.value);  // what is there already stays
  }
  return std::move(out.resource());
}

Resource ResourceRules::of_node() const {
  Resource resource;
  for (const Attribute& attribute : options_.extra) add_attribute(resource.attributes, attribute.key, attribute.value);
  Builder out;
  out.resource() = std::move(resource);
  out.add("service.name", "sonde-agent");
  out.add("service.version", SONDE_VERSION);
  out.add("service.instance.id", !options_.instance_id.empty() ? options_.instance_id
                                 : !options_.node_name.empty() ? options_.node_name
                                                               : options_.host_name);
  out.promote("k8s.cluster.name", options_.cluster_name);
  out.promote("k8s.node.name", options_.node_name);
  out.add("host.name", options_.host_name);
  return std::move(out.resource());
}

}  // namespace sonde
