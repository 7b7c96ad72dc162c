// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_client.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <list>
#include <utility>

#include "agent/api/http_connection.h"

namespace sonde {

namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::size_t kMaxIdle = 4;
constexpr auto kMaxIdleTime = std::chrono::seconds(90);  // longer than the usual export period

HttpResponse failed(HttpFailure failure, std::string error) {
  HttpResponse out;
  out.failure = failure;
  out.error = std::move(error);
  return out;
}

bool is_header_text(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

}  // namespace

class HttpClient::Impl {
 public:
  explicit Impl(std::size_t max_response) : max_response_(max_response) {}

  HttpResponse send(http::verb verb, const HttpRequest& request);
  uint64_t opened() const { return opened_; }

 private:
  struct Idle {
    std::string authority;
    bool tls;
    HttpVia via;
    TlsFiles files;
    TlsStamp stamp;
    Clock::time_point since;
    std::unique_ptr<HttpConnection> connection;
  };
  struct Context {
    TlsFiles files;
    TlsStamp stamp;
    std::shared_ptr<boost::asio::ssl::context> context;
  };

  std::unique_ptr<HttpConnection> take_idle(const HttpUrl& url, const HttpVia& via, const TlsFiles& files,
                                            const TlsStamp& stamp);
  Result<std::shared_ptr<boost::asio::ssl::context>> context_for(const TlsFiles& files, const TlsStamp& stamp);

  const std::size_t max_response_;
  boost::asio::io_context loop_{1};  // outlives the connections
  std::list<Idle> idle_;             // newest first
  Context context_;                  // of the last TLS request
  uint64_t opened_ = 0;
};

std::unique_ptr<HttpConnection> HttpClient::Impl::take_idle(const HttpUrl& url, const HttpVia& via,
                                                            const TlsFiles& files, const TlsStamp& stamp) {
  Clock::time_point now = Clock::now();
  std::unique_ptr<HttpConnection> out;
  for (auto entry = idle_.begin(); entry != idle_.end();) {
    bool same =
        entry->authority == url.authority() && entry->tls == url.tls && entry->via == via && entry->files == files;
    bool stale =
        now - entry->since > kMaxIdleTime || !entry->connection->reusable() || (same && !(entry->stamp == stamp));
    if (!stale && !(same && !out)) {
      ++entry;
      continue;
    }
    if (!stale) out = std::move(entry->connection);
    entry = idle_.erase(entry);
  }
  return out;
}

Result<std::shared_ptr<boost::asio::ssl::context>> HttpClient::Impl::context_for(const TlsFiles& files,
                                                                                 const TlsStamp& stamp) {
  if (context_.context && context_.files == files && context_.stamp == stamp) return context_.context;
  Result<std::shared_ptr<boost::asio::ssl::context>> made = make_tls_context(files);
  if (made) context_ = {files, stamp, *made};
  return made;
}

HttpResponse HttpClient::Impl::send(http::verb verb, const HttpRequest& request) {
  Clock::time_point deadline = Clock::now() + std::chrono::nanoseconds(request.timeout_ns);
  Result<HttpUrl> url = parse_http_url(request.url);
  if (!url) return failed(HttpFailure::Other, url.error().message());

  // A proxy that is to pass on a plain request is told all of its address (RFC 9112, 3.2.2).
  const bool passed_on = !request.via.host.empty() && !url->tls;
  HttpConnection::Message message(verb, (passed_on ? "http://" + url->authority() : "") + url->target, 11);
  if (passed_on && !request.via.authorization.empty()) {
    message.set(http::field::proxy_authorization, request.via.authorization);
  }
  message.set(http::field::host, url->host_header());
  message.set(http::field::user_agent, "Sonde/" SONDE_VERSION);
  for (const auto& [name, value] : request.headers) {
    if (name.empty() || !is_header_text(name) || !is_header_text(value))
      return failed(HttpFailure::Other, "the header '" + name + "' contains a line break or a NUL byte");
    message.set(name, value);
  }
  if (verb == http::verb::post) {
    message.body() = request.body;
    message.prepare_payload();
  }

  TlsStamp stamp = url->tls ? stamp_of(request.tls) : TlsStamp();
  const TlsFiles files = url->tls ? request.tls : TlsFiles();
  HttpResponse out;
  std::unique_ptr<HttpConnection> connection = take_idle(*url, request.via, files, stamp);
  if (!connection) {
    std::shared_ptr<boost::asio::ssl::context> context;
    if (url->tls) {
      auto made = context_for(files, stamp);
      if (!made) return failed(HttpFailure::Tls, made.error().message());
      context = *made;
    }
    connection = std::make_unique<HttpConnection>(loop_, *url, request.via, files, std::move(context));
    opened_++;
    if (!connection->open(deadline, out)) return out;
  }
  if (connection->exchange(message, max_response_, deadline, out) && connection->reusable()) {
    idle_.push_front({url->authority(), url->tls, request.via, files, stamp, Clock::now(), std::move(connection)});
    if (idle_.size() > kMaxIdle) idle_.pop_back();
  }
  return out;
}

HttpClient::HttpClient(std::size_t max_response) : impl_(std::make_unique<Impl>(max_response)) {}

HttpClient::~HttpClient() = default;

HttpResponse HttpClient::post(const HttpRequest& request) {
  try {
    return impl_->send(http::verb::post, request);
  } catch (const std::exception& caught) {
    return failed(HttpFailure::Other, std::string("the request failed: ") + caught.what());
  }
}

HttpResponse HttpClient::get(const HttpRequest& request) {
  try {
    return impl_->send(http::verb::get, request);
  } catch (const std::exception& caught) {
    return failed(HttpFailure::Other, std::string("the request failed: ") + caught.what());
  }
}

uint64_t HttpClient::connections_opened() const { return impl_->opened(); }

Result<std::string> get_from_agent(const std::string& address, const std::string& path, uint64_t timeout_ns) {
  constexpr std::size_t kMaxDocument = 64 << 20;
  HttpClient client(kMaxDocument);
  HttpRequest request;
  request.url = "http://" + (address.starts_with(':') ? "127.0.0.1" + address : address) + path;
  request.timeout_ns = timeout_ns;
  HttpResponse response = client.get(request);
  if (response.failure == HttpFailure::Connect)
    return Error("No agent answers on " + address + "; is `sonde agent` running on this machine? (" + response.error +
                 ")");
  if (response.failure != HttpFailure::None)
    return Error("The agent on " + address + " did not answer: " + response.error);
  if (response.status != 200) {
    std::string sentence = response.body.substr(0, response.body.find_last_not_of("\r\n") + 1);
    return Error("The agent on " + address + " answered " + std::to_string(response.status) + ": " + sentence);
  }
  return std::move(response.body);
}

}  // namespace sonde
