// SPDX-License-Identifier: Apache-2.0
// The Kubernetes API server over HTTP, by cpprestsdk. The server's certificate is always verified; token and CA are read
// again for each request, because both are replaced while the agent runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "agent/base/result.h"

namespace sonde::kube {

inline constexpr int kUnauthorized = 401;
inline constexpr int kForbidden = 403;
inline constexpr int kNotFound = 404;
inline constexpr uint64_t kMostRetryAfter = 300'000'000'000;  // a server that says more is asked again after this

struct ApiOptions {
  std::string url;         // https://host:port; http:// only where there is no token
  std::string token_file;  // empty: anonymous
  std::string ca_file;     // PEM; empty: the system's
  std::string user_agent = "sonde-agent";
  bool metadata_only = false;  // lists and watches bring the objects' metadata and nothing else
};

// What every pod is given: KUBERNETES_SERVICE_HOST, _PORT and the files of its service account. Empty url: not in a pod.
ApiOptions in_cluster(const std::function<std::string(const std::string&)>& env,
                      const std::string& secrets = "/var/run/secrets/kubernetes.io/serviceaccount");

struct ApiAnswer {
  int status = 0;  // 0: there was none, see `error`
  std::string body;
  uint64_t retry_after_ns = 0;  // of 429 and 503; 0: not said
  std::string error;            // a sentence if status is not 2xx: the server's own message, or why there was none
  bool ok() const { return status >= 200 && status < 300; }
};

class ApiClient {
 public:
  static constexpr std::size_t kMostBytes = 64 << 20;  // of one answer
  static constexpr std::size_t kMostLine = 8 << 20;    // of one event of a watch

  explicit ApiClient(ApiOptions options);
  ~ApiClient();

  // From any thread; each blocks its caller, at most for `timeout_ns`.
  ApiAnswer get(const std::string& path_and_query, uint64_t timeout_ns);
  ApiAnswer send(const std::string& method, const std::string& path_and_query, const std::string& body,
                 const std::string& content_type, uint64_t timeout_ns);
  // Streams: each line to `take` as it comes, until the server ends it, `idle_ns` without a byte, or take says false.
  ApiAnswer watch(const std::string& path_and_query, uint64_t idle_ns,
                  const std::function<bool(std::string_view)>& take);

  // All calls end at once, also those to come.
  void stop();
  bool stopped() const;
  const ApiOptions& options() const { return options_; }

 private:
  class Impl;
  ApiOptions options_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sonde::kube
