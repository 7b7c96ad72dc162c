// SPDX-License-Identifier: Apache-2.0
// The policies in force on this machine: the default policy and the files of --policies DIR.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/config/config.h"
#include "agent/config/policy_directory.h"
#include "agent/policy/policy.h"

namespace sonde {

// An object of the API server that this agent cannot read.
struct RefusedObject {
  std::string namespace_name, name;
  int64_t generation = 0;
  std::string message;
};

class Policies {
 public:
  static Result<std::unique_ptr<Policies>> open(const Config& config);

  // Looks whether files changed; true if the policies are others now.
  bool refresh();
  void set_config(const Config& config);
  // Those of the API server, each one object as JSON. One that cannot be read (a newer field) leaves its last good
  // version in force and is told by errors().
  void set_objects(const std::vector<std::string>& objects);

  std::vector<Policy> all() const;
  // Files that are wrong, each one sentence: their last good version stays in force.
  std::vector<std::string> errors() const;
  const std::vector<RefusedObject>& refused() const { return refused_; }
  bool is_object(const Policy& policy) const;  // of the API server
  int watch_fd() const;                        // readable when a file changed; -1: ask now and then

 private:
  Policies() = default;
  std::vector<Policy> defaults_;
  std::unique_ptr<PolicyDirectory> directory_;
  struct Known {
    Policy policy;
    uint64_t fingerprint = 0;
  };
  std::map<std::string, Known> objects_;  // by display name
  std::vector<std::string> object_errors_;
  std::vector<RefusedObject> refused_;
};

}  // namespace sonde
