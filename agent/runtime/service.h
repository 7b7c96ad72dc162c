// SPDX-License-Identifier: Apache-2.0
// What an agent that measures and an idle one have in common for whoever runs them.
#pragma once

#include <memory>
#include <string>

namespace sonde {

struct Status;

class Service {
 public:
  virtual ~Service() = default;

  // From any thread or signal handler.
  virtual void stop() = 0;
  virtual void hurry() = 0;  // SIGHUP: reads the configuration again, or looks now whether the node can be measured

  // From any thread.
  virtual std::shared_ptr<const Status> status() const = 0;
  std::string status_json() const;
  std::string policies_json() const;
};

}  // namespace sonde
