// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/policies.h"

#include <spdlog/spdlog.h>

namespace sonde {

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

std::vector<Policy> Policies::all() const {
  std::vector<Policy> all = defaults_;
  if (directory_) all.insert(all.end(), directory_->policies().begin(), directory_->policies().end());
  return all;
}

std::vector<std::string> Policies::errors() const {
  return directory_ ? directory_->problems() : std::vector<std::string>();
}

int Policies::watch_fd() const { return directory_ ? directory_->watch_fd() : -1; }

}  // namespace sonde
