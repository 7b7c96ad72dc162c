// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/policies.h"

#include <spdlog/spdlog.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "agent/base/clock.h"
#include "agent/base/json.h"
#include "agent/config/policy_file.h"

namespace sonde {
namespace {

struct ObjectHead {
  std::string name, namespace_name, uid;
  int64_t generation = 0;
  uint64_t created_ns = 0;
};

uint64_t parse_time(const std::string& text) {  // 2026-01-31T10:00:00Z
  tm time{};
  if (!strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &time)) return realtime_ns();
  return static_cast<uint64_t>(timegm(&time)) * 1'000'000'000;
}

ObjectHead head_of(const std::string& object) {
  ObjectHead head;
  const auto json = parse_json<nlohmann::json>(object);
  const auto metadata = json.is_object() ? json.value("metadata", nlohmann::json::object()) : nlohmann::json::object();
  if (!metadata.is_object()) return head;
  const auto text = [&](const char* key) {
    const auto found = metadata.find(key);
    return found != metadata.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  head.name = text("name");
  head.namespace_name = text("namespace");
  head.uid = text("uid");
  head.created_ns = parse_time(text("creationTimestamp"));
  const auto generation = metadata.find("generation");
  if (generation != metadata.end() && generation->is_number_integer()) head.generation = generation->get<int64_t>();
  return head;
}

}  // namespace

Result<std::unique_ptr<Policies>> Policies::open(const Config& config) {
  std::unique_ptr<Policies> policies(new Policies());
  policies->defaults_ = config.default_policies();
  if (!config.policies.empty()) {
    auto directory = PolicyDirectory::open(config.policies);
    if (!directory) return directory.error();
    policies->directory_ = std::move(*directory);
    for (const auto& problem : policies->errors()) spdlog::error("{}", problem);
  }
  return policies;
}

bool Policies::refresh() {
  if (!directory_) return false;
  const auto before = directory_->problems();
  const bool changed = directory_->refresh();
  const auto after = directory_->problems();
  if (after != before) {
    for (const auto& problem : after) spdlog::error("{}", problem);
  }
  return changed;
}

void Policies::set_config(const Config& config) { defaults_ = config.default_policies(); }

void Policies::set_objects(const std::vector<std::string>& objects) {
  std::map<std::string, Known> known;
  object_errors_.clear();
  refused_.clear();
  for (const std::string& object : objects) {
    const ObjectHead head = head_of(object);
    const std::string name = head.namespace_name.empty() ? head.name : head.namespace_name + "/" + head.name;
    const auto before = objects_.find(name);
    PolicyFile file = parse_policies(object, name, head.created_ns);
    if (!file.problems.empty() || file.policies.size() != 1) {
      for (const std::string& problem : file.problems) object_errors_.push_back(problem);
      refused_.push_back({head.namespace_name, head.name, head.generation,
                          file.problems.empty() ? "it is not a single policy" : file.problems.front()});
      if (before != objects_.end()) known.insert(*before);
      continue;
    }
    Known& now = known[name];
    now = {std::move(file.policies[0]), file.fingerprints[0]};
    now.policy.generation = head.generation;
    now.policy.source = head.uid;
    // activeForSeconds counts from the last change of the spec, which the API server does not tell: of a change that was
    // seen, the moment; else the object's creation.
    if (before != objects_.end()) {
      const bool same = before->second.fingerprint == now.fingerprint && before->second.policy.source == head.uid;
      now.policy.created_ns = same ? before->second.policy.created_ns : realtime_ns();
    }
  }
  for (const std::string& error : object_errors_) spdlog::error("{}", error);
  objects_ = std::move(known);
}

std::vector<Policy> Policies::all() const {
  std::vector<Policy> all = defaults_;
  for (const auto& [name, known] : objects_) all.push_back(known.policy);
  if (directory_) all.insert(all.end(), directory_->policies().begin(), directory_->policies().end());
  return all;
}

std::vector<std::string> Policies::errors() const {
  std::vector<std::string> errors = directory_ ? directory_->problems() : std::vector<std::string>();
  errors.insert(errors.end(), object_errors_.begin(), object_errors_.end());
  return errors;
}

bool Policies::is_object(const Policy& policy) const {
  const auto found = objects_.find(display_name(policy));
  return found != objects_.end() && found->second.policy.source == policy.source;
}

int Policies::watch_fd() const { return directory_ ? directory_->watch_fd() : -1; }

}  // namespace sonde
