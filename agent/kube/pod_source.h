// SPDX-License-Identifier: Apache-2.0
// Who knows the pods of this node: kubelet (by its socket or by HTTPS) or API server. A source runs on threads of its own
// from its making to its destruction and keeps trying; what it finds, and why it finds nothing, it tells its sink.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/kube/pod.h"

namespace sonde::kube {

// From any thread, one call at a time.
class PodSink {
 public:
  virtual ~PodSink() = default;
  // Every pod of the node. The first thing that a source says once it works.
  virtual void all(std::vector<Pod> pods) = 0;
  virtual void one(Pod pod) = 0;
  virtual void gone(const std::string& uid) = 0;
  // What was said before holds still.
  virtual void fresh() = 0;
  // One try failed. The reason is a sentence without a full stop that says what to do where something can be done.
  virtual void failed(std::string reason) = 0;
};

class PodSource {
 public:
  virtual ~PodSource() = default;  // waits for its threads
  // There is an unknown container: look now. Any thread; sources that get notified of changes need not implement it.
  virtual void hurry() {}
};

// In the order in which they are preferred.
struct PodSourceEntry {
  std::string name;  // podsApi, kubelet, apiServer
  // Begins to run it. Null: it is not to be used, for the reason in `unused`.
  std::function<std::unique_ptr<PodSource>(PodSink&)> make;
  std::string unused = {};
};

}  // namespace sonde::kube
