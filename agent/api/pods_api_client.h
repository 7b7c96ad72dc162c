// SPDX-License-Identifier: Apache-2.0
// The kubelet's Pods API (proto/kubelet/pods.proto) over its unix socket, as a client. What the pods are is not known here:
// they pass as the bytes of a core/v1 Pod. One call at a time; stop() from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "agent/base/result.h"

namespace sonde {

enum class PodsApiEvent : uint8_t {
  Listing,  // what follows, up to Synced, is every pod that there is
  Added,
  Modified,
  Deleted,
  Synced,
};

struct PodsApiOptions {
  std::string socket;                         // path
  uint64_t list_timeout_ns = 10'000'000'000;  // until Synced
  uint64_t list_every_ns = 10'000'000'000;    // the stream says nothing of labels that change
  uint64_t tick_ns = 5'000'000'000;           // how often tick() is called while nothing happens
};

class PodsApiClient {
 public:
  explicit PodsApiClient(PodsApiOptions options);
  ~PodsApiClient();

  // Follows the pods until the kubelet ends it or stop(); always ends with an error, a sentence. `tick`: the stream stands
  // and there is no news.
  Error watch(const std::function<void(PodsApiEvent, std::string_view pod)>& take, const std::function<void()>& tick);
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sonde
