// SPDX-License-Identifier: Apache-2.0
// The pods from the kubelet's Pods API: a stream on a unix socket that only root can open, so there is nothing to verify
// and no token.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "agent/api/pods_api_client.h"
#include "agent/base/backoff.h"
#include "agent/base/worker.h"
#include "agent/kube/pod_source.h"

namespace sonde::kube {

struct PodsApiSourceOptions {
  PodsApiOptions api;
  uint64_t shortest_wait_ns = 1'000'000'000;  // after failures; doubled each time
  uint64_t longest_wait_ns = 30'000'000'000;
};

class PodsApiSource final : public PodSource {
 public:
  PodsApiSource(PodsApiSourceOptions options, PodSink& sink);
  ~PodsApiSource() override;

 private:
  void run();
  Error follow();
  void take(PodsApiEvent event, std::string_view bytes);

  const PodsApiSourceOptions options_;
  PodSink& sink_;
  PodsApiClient client_;
  bool worked_ = false;                // the stream that stands, or stood last, has listed all pods
  bool synced_ = false;                // no list is under way
  std::map<std::string, Pod> listed_;  // while one is, by UID
  uint64_t skipped_ = 0;
  Backoff backoff_;
  Worker worker_;
};

}  // namespace sonde::kube
