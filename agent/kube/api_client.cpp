// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/api_client.h"

// Boost 1.74 uses std::exchange without including it, so <utility> comes first. cpprestsdk's macro U breaks templates.
// clang-format off
#define _TURN_OFF_PLATFORM_STRING
#include <utility>
#include <cpprest/http_client.h>
#include <cpprest/rawptrstream.h>
// clang-format on
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "agent/base/file.h"
#include "agent/base/json.h"
#include "agent/base/text.h"

namespace sonde::kube {
namespace {

namespace http = web::http;
using http::client::http_client;
using http::client::http_client_config;

// The message of a Status object, else the beginning of whatever came.
std::string message_of(int status, const std::string& body) {
  const auto json = parse_json<nlohmann::json>(body);
  if (json.is_object() && json.contains("message") && json["message"].is_string()) {
    return fmt::format("{} ({})", json["message"].get<std::string>().substr(0, 512), status);
  }
  return fmt::format("the API server answered {}", status);
}

uint64_t retry_after(const http::http_response& response) {
  const auto found = response.headers().find("Retry-After");
  if (found == response.headers().end()) return 0;
  const auto seconds = parse_integer(found->second, 0, 3600);
  return seconds ? static_cast<uint64_t>(*seconds) * 1'000'000'000 : 0;
}

// The body as it comes, until its end or until `take` says false. Waits for one character and takes what came with it:
// read() would wait for all that it is asked for.
void read_body(const http::http_response& response, const std::function<bool(std::string_view)>& take) {
  auto stream = response.body().streambuf();
  std::string chunk(1 << 16, '\0');
  while (stream.getc().get() != std::char_traits<char>::eof()) {
    const std::size_t n = std::clamp<std::size_t>(stream.in_avail(), 1, chunk.size());
    const std::size_t got = stream.getn(reinterpret_cast<uint8_t*>(chunk.data()), n).get();
    if (!take(std::string_view(chunk.data(), got))) return;
  }
}

// False: there is more of it than anybody may send.
bool read_text(const http::http_response& response, std::string& body) {
  read_body(response, [&](std::string_view part) {
    body += part;
    return body.size() <= ApiClient::kMostBytes;
  });
  return body.size() <= ApiClient::kMostBytes;
}

// cpprestsdk's and Asio's exceptions as a sentence.
std::string reason_of(const std::exception& error) {
  std::string text = error.what();
  if (text.find("certificate") != std::string::npos) {
    return "the API server's certificate is not signed by kubernetes.caFile, or not for this name";
  }
  return text.empty() ? "no answer" : text;
}

}  // namespace

ApiOptions in_cluster(const std::function<std::string(const std::string&)>& env, const std::string& secrets) {
  ApiOptions options;
  const std::string host = env("KUBERNETES_SERVICE_HOST"), port = env("KUBERNETES_SERVICE_PORT");
  if (host.empty()) return options;
  // cpprestsdk cannot take an address of IPv6; the name of the service is in every cluster's certificate.
  const std::string name = host.find(':') == std::string::npos ? host : "kubernetes.default.svc";
  options.url = "https://" + name + ":" + (port.empty() ? "443" : port);
  options.token_file = secrets + "/token";
  options.ca_file = secrets + "/ca.crt";
  return options;
}

class ApiClient::Impl {
 public:
  explicit Impl(const ApiOptions& options) : options_(options) {}

  // A client per request: certificates are new each time, and requests are rare.
  http_client make(uint64_t timeout_ns) const {
    http_client_config config;
    config.set_timeout(std::chrono::milliseconds(std::max<uint64_t>(timeout_ns / 1'000'000, 1)));
    config.set_validate_certificates(true);
    config.set_ssl_context_callback([ca = options_.ca_file](boost::asio::ssl::context& context) {
      if (!ca.empty()) context.load_verify_file(ca);
    });
    return {options_.url, config};
  }

  Result<http::http_request> request(const std::string& method, const std::string& path,
                                     const char* metadata_kind) const {
    http::http_request request(method);
    request.set_request_uri(web::uri(path));
    std::string accept = "application/json";
    if (options_.metadata_only) accept += ";as=" + std::string(metadata_kind) + ";g=meta.k8s.io;v=v1";
    request.headers().add("Accept", accept);
    request.headers().add("User-Agent", options_.user_agent);
    if (!options_.token_file.empty()) {
      auto token = read_small_file(options_.token_file);
      if (!token) return token.error();
      request.headers().add("Authorization", "Bearer " + std::string(trim(*token)));
    }
    return request;
  }

  // One request. When it goes out of scope the connection is closed, however much the server still has to send:
  // cpprestsdk would go on reading into memory.
  class Call {
   public:
    explicit Call(const Impl& client) : source_(linked(client.stop_.get_token())) {}
    ~Call() { source_.cancel(); }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    pplx::cancellation_token token() const { return source_.get_token(); }

   private:
    static pplx::cancellation_token_source linked(pplx::cancellation_token token) {
      return pplx::cancellation_token_source::create_linked_source(token);
    }
    pplx::cancellation_token_source source_;
  };
  void stop() {
    stopped_ = true;
    stop_.cancel();
  }
  bool stopped() const { return stopped_; }

 private:
  const ApiOptions& options_;
  pplx::cancellation_token_source stop_;
  std::atomic<bool> stopped_{false};
};

ApiClient::ApiClient(ApiOptions options) : options_(std::move(options)), impl_(std::make_unique<Impl>(options_)) {}
ApiClient::~ApiClient() = default;

void ApiClient::stop() { impl_->stop(); }
bool ApiClient::stopped() const { return impl_->stopped(); }

ApiAnswer ApiClient::get(const std::string& path, uint64_t timeout_ns) { return send("GET", path, "", "", timeout_ns); }

ApiAnswer ApiClient::send(const std::string& method, const std::string& path, const std::string& body,
                          const std::string& content_type, uint64_t timeout_ns) {
  ApiAnswer answer;
  try {
    auto request = impl_->request(method, path, "PartialObjectMetadataList");
    if (!request) return {.error = request.error().message()};
    if (!body.empty()) request->set_body(body, content_type);
    http_client client = impl_->make(timeout_ns);
    const Impl::Call call(*impl_);
    const http::http_response response = client.request(*request, call.token()).get();
    answer.status = response.status_code();
    answer.retry_after_ns = retry_after(response);
    if (!read_text(response, answer.body)) return {.error = "the answer is too large"};
    if (!answer.ok()) answer.error = message_of(answer.status, answer.body);
  } catch (const std::exception& error) {
    return {.error = reason_of(error)};
  }
  return answer;
}

ApiAnswer ApiClient::watch(const std::string& path, uint64_t idle_ns,
                           const std::function<bool(std::string_view)>& take) {
  ApiAnswer answer;
  try {
    auto request = impl_->request("GET", path, "PartialObjectMetadata");
    if (!request) return {.error = request.error().message()};
    http_client client = impl_->make(idle_ns);
    const Impl::Call call(*impl_);
    const http::http_response response = client.request(*request, call.token()).get();
    answer.status = response.status_code();
    answer.retry_after_ns = retry_after(response);
    if (!answer.ok()) {
      if (read_text(response, answer.body))
        answer.error = message_of(answer.status, answer.body);
      else
        answer = {.status = answer.status, .error = "the answer is too large"};
      return answer;
    }
    std::string line;
    bool too_large = false;
    read_body(response, [&](std::string_view part) {
      for (std::size_t end; (end = part.find('\n')) != std::string_view::npos; part.remove_prefix(end + 1)) {
        line.append(part.substr(0, end));
        if (!line.empty() && !take(line)) return false;
        line.clear();
      }
      line.append(part);
      too_large = line.size() > kMostLine;
      return !too_large && !impl_->stopped();
    });
    if (too_large) return {.error = "an event of the watch is too large"};
  } catch (const std::exception& error) {
    answer.error = reason_of(error);  // the status stays: the stream had begun
  }
  return answer;
}

}  // namespace sonde::kube
