// SPDX-License-Identifier: Apache-2.0
// The policies in force on this machine: the default policy and the files of --policies DIR.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/config/config.h"
#include "agent/config/policy_directory.h"
#include "agent/policy/policy.h"

namespace sonde {

class Policies {
 public:
  static Result<std::unique_ptr<Policies>> open(const Config& config);

  // Looks whether files changed; true if the policies are others now.
  bool refresh();
  void set_config(const Config& config);

  std::vector<Policy> all() const;
  // Files that are wrong, each one sentence: their last good version stays in force.
  std::vector<std::string> errors() const;
  int watch_fd() const;  // readable when a file changed; -1: ask now and then

 private:
  Policies() = default;
  std::vector<Policy> defaults_;
  std::unique_ptr<PolicyDirectory> directory_;
};

}  // namespace sonde
