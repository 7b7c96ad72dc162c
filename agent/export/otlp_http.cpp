// SPDX-License-Identifier: Apache-2.0
#include <atomic>

#include "agent/base/clock.h"
#include "agent/export/gzip.h"
#include "agent/export/otlp_sender.h"
#include "agent/export/proxy.h"

namespace sonde {
namespace {

class HttpSender final : public OtlpSender {
 public:
  HttpSender(const OtlpOptions& options, OtlpSignal signal, std::optional<Proxy> proxy,
             std::shared_ptr<HttpTransport> http)
      : options_(options), url_(options.http_url(signal)), proxy_(std::move(proxy)), http_(std::move(http)) {}

  SendResult send(const std::shared_ptr<const std::string>& request) override {
    if (cancelled_)
      return {.verdict = SendResult::Verdict::Retry, .code = "CANCELLED", .message = "the agent is stopping"};
    HttpRequest post;
    post.url = url_;
    post.headers = options_.headers;
    post.headers.emplace_back("content-type", "application/x-protobuf");
    post.headers.emplace_back("user-agent", kOtlpUserAgent);
    if (options_.compression == OtlpCompression::Gzip) {
      if (auto packed = gzip(*request)) {
        post.body = std::move(*packed);
        post.headers.emplace_back("content-encoding", "gzip");
      }
    }
    if (post.body.empty()) post.body = *request;
    post.timeout_ns = options_.timeout_ns;
    post.tls = options_.tls;
    if (proxy_) post.via = {proxy_->host, proxy_->port, proxy_->authorization};
    const uint64_t sent = post.body.size();
    SendResult result = judge_http(http_->post(post), realtime_ns());
    result.sent_bytes = sent;
    if (proxy_ && result.verdict != SendResult::Verdict::Delivered) result.message += ", through " + proxy_->text();
    return result;
  }

  // The transport cannot be interrupted: a running request ends with its timeout.
  void cancel() override { cancelled_ = true; }

 private:
  const OtlpOptions options_;
  const std::string url_;
  const std::optional<Proxy> proxy_;
  const std::shared_ptr<HttpTransport> http_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

Result<std::unique_ptr<OtlpSender>> make_http_sender(const OtlpOptions& options, OtlpSignal signal,
                                                     std::shared_ptr<HttpTransport> http) {
  auto proxy = proxy_for(options, process_environment());
  if (!proxy) return proxy.error();
  return std::unique_ptr<OtlpSender>(
      std::make_unique<HttpSender>(options, signal, std::move(*proxy), std::move(http)));
}

}  // namespace sonde
