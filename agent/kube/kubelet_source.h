// SPDX-License-Identifier: Apache-2.0
// The pods from the kubelet's own server: GET https://<node>:10250/pods, which needs `get` of nodes/pods and nothing else.
// (Never nodes/proxy: who has it can run commands in every container.) Asked every few seconds, and at once, but at most
// once a second, while there is a container that it has not reported.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "agent/api/http_client.h"
#include "agent/base/backoff.h"
#include "agent/base/mutex.h"
#include "agent/kube/pod_source.h"

namespace sonde::kube {

// How the kubelet proves who it is. Auto: by the CA, or by being exactly the pinned certificate, whichever there is.
enum class KubeletTls : uint8_t { Auto, Ca, Pin, Insecure };

struct KubeletOptions {
  std::string url;  // https://host:10250
  KubeletTls tls = KubeletTls::Auto;
  std::string ca_file;                 // PEM
  std::string pin_file;                // PEM: the kubelet's serving certificate
  std::string token_file;              // read at each request, since it is replaced while the agent runs; empty: none
  bool send_token_unverified = false;  // with Insecure: the token goes to whoever answers
  uint64_t period_ns = 10'000'000'000;
  uint64_t timeout_ns = 5'000'000'000;
  uint64_t shortest_gap_ns = 1'000'000'000;   // between two requests
  uint64_t longest_wait_ns = 30'000'000'000;  // after failures
  std::function<bool()> looks_for_some = [] { return false; };
};

// host, host:port, an address of IPv6 with or without brackets → https://host:port. Empty: not to be understood.
std::string kubelet_url(const std::string& address);

class KubeletSource final : public PodSource {
 public:
  static constexpr std::size_t kMostBytes = 32 << 20;  // of an answer

  KubeletSource(KubeletOptions options, PodSink& sink);
  ~KubeletSource() override;
  void hurry() override;

 private:
  void run();
  Result<void> ask();
  Result<HttpRequest> request() const;
  bool sends_token() const;
  std::string refusal(const HttpResponse& response) const;

  const KubeletOptions options_;
  PodSink& sink_;
  HttpClient client_{kMostBytes};
  uint64_t last_answer_ = 0;  // hash of the last body that was understood
  Chance chance_;
  Backoff backoff_;
  Mutex mutex_;
  Condition wake_;
  bool hurried_ SONDE_GUARDED_BY(mutex_) = false;
  bool stopping_ SONDE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sonde::kube
